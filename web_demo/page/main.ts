/** The page: what its parts tell each other. */
import type { PanopticResult } from "@maskconver/web";
import { Camera } from "./camera.js";
import { altersPixels } from "./device.js";
import { element, make, save } from "./dom.js";
import { load, type Loaded } from "./engine.js";
import { prepare } from "./isolation.js";
import type { Photograph } from "./measure.js";
import { Measuring } from "./measuring.js";
import type { ListedModel } from "./models.js";
import { addressOf, readSettings, type Settings, writeSettings } from "./settings.js";
import { fetchSample, SAMPLES, watchSources } from "./sources.js";
import { View } from "./view.js";
import { describeGot, describeResult, megabytes } from "./words.js";

const CHOICES = ["model", "runtime", "backend", "threads"] as const;
const STREAM_PAUSE_MS = 1000;

const view = new View();
const camera = new Camera(onFrame, onCameraEnd);
const measuring = new Measuring(show, say, () => queue(measureNow));
let models: readonly ListedModel[] = [];
let settings: Settings = readSettings(location.hash);
let loaded: Loaded | null = null;
let ownModel: File | null = null;
let photo: Blob | null = null;
let photoName = "";
/** The last photograph that was segmented, which stands in for one that cannot be. */
let readable: readonly [Blob, string] | null = null;
/** What the picture on the page is called. */
let shownName = "";
/** Ends the wait for the user's word about a model on another host. */
let refuse = () => {};
/** Whether the next answer is the model's first. */
let first = true;
let builtIn: Blob | null = null;
/** When a frame of the camera was last put into words. */
let told = 0;
let work: Promise<void> = Promise.resolve();
/** How often settings were changed. */
let changes = 0;

/** One thing after the other; what goes wrong is said, and the next thing is done all the same. */
function queue(task: () => Promise<void>): void {
  work = work.then(async () => {
    measuring.enable(false);
    await task().catch(complain);
    measuring.enable(loaded !== null);
  });
}

function say(words: string): void {
  element("status", "any").textContent = words;
}

function complain(error: unknown): void {
  warn(error instanceof Error ? error.message : String(error));
  say("");
}

function warn(words: string): void {
  const warning = element("warning", "any");
  warning.textContent = words;
  warning.hidden = words === "";
}

async function loadModel(): Promise<void> {
  const address = addressOf(settings.model, location.href);
  if (ownModel === null && address !== null && address.origin !== location.origin && !(await consent(address))) return;
  camera.stop();
  loaded?.segmenter.close();
  loaded = null;
  element("got", "any").textContent = "";
  const progress = element("progress", "progress");
  progress.hidden = false;
  say("Loading the model");
  try {
    loaded = await load(models, settings, ownModel, (done, total) => {
      if (total > 0) progress.value = done / total;
      else progress.removeAttribute("value");
      say(`Loading the model: ${megabytes(done)}${total > 0 ? ` of ${megabytes(total)}` : ""}`);
    });
    first = true;
    showGot(loaded);
  } finally {
    progress.hidden = true;
  }
}

/** Nothing is fetched from another host unless the user says so. */
function consent(address: URL): Promise<boolean> {
  element("consent-text", "any").textContent =
    `The address names a model on ${address.host}. Fetching it tells that host that you are here.`;
  element("consent", "any").hidden = false;
  say("Waiting for your word about the model");
  return new Promise((resolve) => {
    const answer = (yes: boolean) => {
      element("consent", "any").hidden = true;
      resolve(yes);
    };
    refuse = () => answer(false);
    element("consent-yes", "button").onclick = () => answer(true);
  });
}

function showGot(found: Loaded): void {
  const model = ownModel?.name ?? settings.model;
  element("got", "any").textContent = describeGot({ ...settings, model }, found);
}

async function segmentPhoto(): Promise<void> {
  if (loaded === null || photo === null) return;
  say("Segmenting");
  const [picture, name] = [photo, photoName];
  try {
    const result = await loaded.segmenter.segment(picture);
    readable = [picture, name];
    show(result, name);
    tell(result);
  } catch (error) {
    if (photo === picture && readable !== null) [photo, photoName] = readable;
    throw error;
  }
}

function show(result: PanopticResult, name: string): void {
  shownName = name;
  view.show(result);
}

function tell(result: PanopticResult): void {
  for (const id of ["save-picture", "save-coco", "save-map"]) element(id, "button").disabled = false;
  say(describeResult(result, loaded?.segmenter.got.gpu?.software === true, first));
  first = false;
}

async function measureNow(): Promise<void> {
  if (loaded === null || builtIn === null) return;
  camera.stop();
  warn("");
  const [own, ...others] = SAMPLES;
  const fetched = await Promise.all(
    others.map(async ({ file }) => ({ name: nameOf(file), picture: await fetchSample(file).catch(() => null) })),
  );
  const there = fetched.filter((photo): photo is Photograph => photo.picture !== null);
  const remarks =
    there.length < others.length
      ? [`measured on ${there.length + 1} of ${SAMPLES.length} photographs; the others cannot be fetched`]
      : [];
  await measuring.run(loaded, settings, [{ name: nameOf(own.file), picture: builtIn }, ...there], remarks, (fresh) => {
    loaded = fresh;
    showGot(fresh);
  });
}

function nameOf(file: string): string {
  return file.replace(/.*\//, "");
}

async function onFrame(video: HTMLVideoElement): Promise<void> {
  if (loaded === null) return;
  try {
    const result = await loaded.segmenter.segment(video);
    if (!camera.running) return;
    shownName = "camera";
    const rarely = performance.now() - told > STREAM_PAUSE_MS;
    view.show(result, rarely);
    if (!rarely) return;
    told = performance.now();
    tell(result);
  } catch (error) {
    if (!camera.running) return;
    camera.stop();
    complain(error);
  }
}

function onCameraEnd(): void {
  element("camera", "button").setAttribute("aria-pressed", "false");
  element("turn", "button").hidden = true;
}

async function startCamera(): Promise<void> {
  needModel();
  warn("");
  await camera.start();
  element("camera", "button").setAttribute("aria-pressed", "true");
  element("turn", "button").hidden = !(await camera.several());
}

/** Settings as the page shows them, in the address too. */
function apply(changed: Settings): void {
  settings = changed;
  for (const id of CHOICES) {
    const [select, value] = [element(id, "select"), String(settings[id])];
    if (!Array.from(select.options, (option) => option.value).includes(value))
      select.append(make("option", { value }, value));
    select.value = value;
  }
  history.replaceState(null, "", writeSettings(settings));
}

function changeSettings(): void {
  const chosen = Object.fromEntries(CHOICES.map((id) => [id, element(id, "select").value]));
  ownModel = null;
  apply(readSettings(new URLSearchParams(chosen).toString()));
  restart();
}

/** Load what the settings say now; what they said before is left out if it has not been started. */
function restart(): void {
  refuse();
  const change = ++changes;
  queue(async () => {
    if (change !== changes) return;
    warn("");
    await loadModel();
    await segmentPhoto();
  });
}

function takePicture(picture: Blob, name: string): void {
  warn("");
  camera.stop();
  [photo, photoName] = [picture, name];
  queue(async () => {
    needModel();
    await segmentPhoto();
  });
}

function needModel(): void {
  if (loaded === null) throw new Error("no model is loaded; choose one of the list, or give your own");
}

async function saveCoco(what: "annotation" | "png"): Promise<void> {
  const result = view.shown;
  if (result === null || loaded === null) return;
  const stem = shownName.replace(/\.\w+$/, "").replace(/\W+/g, "_") || "picture";
  const [height, width] = result.size;
  const { png, annotation } = await result.toCoco(1, `${stem}.png`);
  if (what === "png") return save(png, `${stem}.png`);
  const categories = loaded.segmenter.card.categories.map(({ id, name, isThing, color }) => ({
    id,
    name,
    isthing: Number(isThing),
    color,
  }));
  const images = [{ id: 1, file_name: shownName, height, width }];
  save(new Blob([JSON.stringify({ images, annotations: [annotation], categories })]), `${stem}.json`);
}

async function savePicture(): Promise<void> {
  const picture = await view.toBlob();
  if (picture !== null) save(picture, "segments.png");
}

async function start(): Promise<void> {
  await prepare();
  if (altersPixels())
    warn("This browser alters the pixels that a page reads, to protect privacy. Answers will differ a little.");
  [models, builtIn] = await Promise.all([
    fetch("models/models.json").then((response) => response.json() as Promise<ListedModel[]>),
    fetchSample(SAMPLES[0].file),
  ]);
  const options = models.map(({ name, label }) => make("option", { value: name }, label));
  element("model", "select").replaceChildren(make("option", { value: "auto" }, "automatic"), ...options);
  apply(settings);
  [photo, photoName] = [builtIn, nameOf(SAMPLES[0].file)];
  await loadModel();
}

watchSources(
  takePicture,
  (file) => {
    ownModel = file;
    restart();
  },
  complain,
);
for (const id of CHOICES) element(id, "select").addEventListener("change", changeSettings);
addEventListener("hashchange", () => {
  ownModel = null;
  apply(readSettings(location.hash));
  restart();
});
element("consent-no", "button").addEventListener("click", () => {
  apply({ ...settings, model: "auto" });
  restart();
});
element("camera", "button").addEventListener("click", () => (camera.running ? camera.stop() : queue(startCamera)));
element("turn", "button").addEventListener("click", () => queue(() => camera.turn()));
element("save-picture", "button").addEventListener("click", () => void savePicture());
element("save-coco", "button").addEventListener("click", () => void saveCoco("annotation"));
element("save-map", "button").addEventListener("click", () => void saveCoco("png"));
queue(start);
queue(segmentPhoto);
queue(async () => {
  if (!settings.run) return;
  say("Tap Measure to start");
  setTimeout(() => measuring.focus());
});
