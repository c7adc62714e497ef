/** The loaded model of the page, with its settings and what to do when something cannot be had. */
import { type LoadOptions, type Progress, Segmenter } from "@maskconver/web";
import { candidates, type ListedModel, runtimeOf } from "./models.js";
import { addressOf, type Settings } from "./settings.js";

declare const ENGINE: string;

/** Where a model comes from. */
type Origin = { readonly source: string | URL | Blob; readonly answer: string | null };

export interface Loaded {
  readonly segmenter: Segmenter;
  readonly loadMs: number;
  /** Address of what Python says of the built-in photograph; null for models that do not come with the page. */
  readonly answer: string | null;
  /** Where it is not the model that was asked for, one line each; the segmenter has notes of its own. */
  readonly notes: readonly string[];
}

/** Load what the settings or the user's own file say. Throws one line. */
export async function load(
  models: readonly ListedModel[],
  settings: Settings,
  own: Blob | null,
  onProgress: Progress,
): Promise<Loaded> {
  const address = addressOf(settings.model, location.href);
  if (own !== null || address !== null)
    return open({ source: own ?? (address as URL), answer: null }, settings, [], onProgress);
  const { order, notes } = candidates(models, settings);
  for (const [i, model] of order.entries()) {
    try {
      return await open({ source: model.url, answer: `${model.url}.json` }, settings, notes, onProgress);
    } catch (error) {
      if (i === order.length - 1) throw error;
      notes.push(
        `${model.name} with ${runtimeOf(model.url) === "litert" ? "LiteRT.js" : "ONNX Runtime Web"} did not work: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
  throw new Error("this page has no model; build it with `make web`");
}

/** The same model in a fresh worker, so that loading and the first run can be timed. */
export async function reload({ segmenter, answer, notes }: Loaded, settings: Settings): Promise<Loaded> {
  const source = new File([segmenter.model.bytes], segmenter.model.name);
  segmenter.close();
  return open({ source, answer }, settings, notes, () => {});
}

async function open(
  origin: Origin,
  settings: Settings,
  notes: readonly string[],
  onProgress: Progress,
): Promise<Loaded> {
  const { backend, threads } = settings;
  const options: LoadOptions = { backend, engine: ENGINE, onProgress, ...(threads === "auto" ? {} : { threads }) };
  const start = performance.now();
  const segmenter = await Segmenter.load(origin.source, options);
  return { segmenter, loadMs: performance.now() - start, answer: origin.answer, notes };
}
