/** The library without a bundler: answers of every kind of model against Python's. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type * as Web from "@maskconver/web";
import { expect, test } from "./base.js";
import { Fixture, type Stored } from "../unit/fixtures.js";

declare const web: typeof Web;

interface Answer {
  classes: Stored<"int32">;
  scores: Stored<"float32">;
  mask_logits?: Stored<"float32">;
  panoptic: Stored<"int32">;
  labels: string[];
}

const PHOTO = fileURLToPath(new URL("../../../maskconver_mobile/demo/astronaut.jpg", import.meta.url));
const fixture = new Fixture<Record<string, Answer>>("answers");
const photo = readFileSync(PHOTO).toString("base64");

/** Run a model in the page; arrays come back as plain ones. */
async function run(page: import("@playwright/test").Page, model: string, options: Web.LoadOptions) {
  return page.evaluate(
    async ([address, base64, wanted]) => {
      const segmenter = await web.Segmenter.load(address, wanted);
      const picture = await (await fetch(`data:image/jpeg;base64,${base64}`)).blob();
      const outputs = await segmenter.run(picture);
      const result = await segmenter.segment(picture);
      const { png, annotation } = await result.toCoco(7, "astronaut.png");
      segmenter.close();
      return {
        got: segmenter.got,
        notes: segmenter.notes,
        card: segmenter.card,
        outputs: Object.fromEntries(
          ["classes", "scores", "mask_logits"].map((name) => [name, Array.from(outputs.get(name)?.data ?? [])]),
        ),
        panoptic: Array.from(result.panopticMap),
        labels: result.segments.map(({ label }) => label),
        timings: result.timings,
        coco: { annotation, png: Array.from(new Uint8Array(await png.arrayBuffer())) },
      };
    },
    [`/models/${model}`, photo, options] as const,
  );
}

function agreement(map: number[], expected: Int32Array): number {
  expect(map.length).toBe(expected.length);
  return map.filter((id, i) => id === expected[i]).length / map.length;
}

const EXACT = [
  "float32.tflite",
  "masks.onnx",
  "heads.tflite",
  "heads.onnx",
  "panoptic.tflite",
  "panoptic.onnx",
  "normalized.tflite",
];
/** Of other families. A pixel of their small canvases is 36 of the photograph, and one is nearly a tie. */
const FAMILIES = ["semantic_masks.tflite", "semantic_panoptic.onnx", "levels_masks.tflite", "levels_panoptic.onnx"];
const HALVED = ["float16.tflite", "float16.onnx"];

test.beforeEach(async ({ page, host }) => {
  await page.goto(`${host.url}/blank/`);
  await page.waitForFunction(() => "web" in window);
});

for (const model of [...EXACT, ...FAMILIES, ...HALVED]) {
  test(`${model} gives Python's answer`, async ({ page }) => {
    const answer = fixture.cases[model] as Answer;
    const found = await run(page, model, { backend: "wasm" });
    expect(found.notes).toEqual([]);
    expect(found.got).toMatchObject({ backend: "wasm", runtime: model.endsWith(".onnx") ? "onnx" : "litert" });
    expect(found.outputs.classes).toEqual(Array.from(fixture.array(answer.classes)));
    fixture
      .array(answer.scores)
      .forEach((score, i) => expect(Math.abs((found.outputs.scores?.[i] ?? 9) - score)).toBeLessThan(1e-5));
    if (answer.mask_logits !== undefined) {
      const logits = fixture.array(answer.mask_logits);
      const worst = logits.reduce(
        (most, logit, i) => Math.max(most, Math.abs(logit - (found.outputs.mask_logits?.[i] ?? 1e9))),
        0,
      );
      const largest = logits.reduce((most, logit) => Math.max(most, Math.abs(logit)), 1);
      expect(worst).toBeLessThan(1e-4 * largest);
    }
    const least = FAMILIES.includes(model) ? 0.9995 : 0.9999;
    expect(agreement(found.panoptic, fixture.array(answer.panoptic))).toBeGreaterThanOrEqual(least);
    expect(found.labels).toEqual(answer.labels);
  });
}

test("int8.tflite gives Python's answer", async ({ page }) => {
  const answer = fixture.cases["int8.tflite"] as Answer;
  const found = await run(page, "int8.tflite", {});
  expect(found.got).toMatchObject({ runtime: "litert", backend: "wasm" });
  expect(agreement(found.panoptic, fixture.array(answer.panoptic))).toBeGreaterThanOrEqual(0.999);
  expect(found.labels).toEqual(answer.labels);
  expect(Object.values(found.timings).every((ms) => ms >= 0)).toBe(true);
  const { segments_info } = found.coco.annotation;
  expect(segments_info.map(({ area }) => area).reduce((sum, area) => sum + area, 0)).toBe(
    found.panoptic.filter((id) => id > 0).length,
  );
  expect(found.coco.png.slice(1, 4)).toEqual([80, 78, 71]);
});

test("threads are used where the page is isolated, and missed in one line where it is not", async ({
  page,
  plainHost,
}) => {
  const load = (model: string, threads: number) =>
    page.evaluate(
      async ([address, count]) => {
        const segmenter = await web.Segmenter.load(address, { threads: count });
        const { size } = await segmenter.segment(new ImageData(64, 48));
        segmenter.close();
        return { size, threads: segmenter.got.threads, notes: segmenter.notes };
      },
      [`/models/${model}`, threads] as const,
    );
  const size = [48, 64];
  for (const model of ["int8.tflite", "float16.onnx"]) {
    expect(await load(model, 2)).toEqual({ size, threads: 2, notes: [] });
    expect(await load(model, 1)).toEqual({ size, threads: 1, notes: [] });
  }
  await page.goto(`${plainHost.url}/blank/`);
  await page.waitForFunction(() => "web" in window);
  const notes = ["2 threads need a cross-origin isolated page; one thread is used"];
  for (const model of ["int8.tflite", "float16.onnx"])
    expect(await load(model, 2)).toEqual({ size, threads: 1, notes });
});

test("WebGPU is replaced by the CPU where there is none, and the notes say so", async ({ page }) => {
  for (const model of ["int8.tflite", "float16.onnx"]) {
    const found = await run(page, model, { backend: "webgpu", threads: 1 });
    expect(found.got.backend).toBe("wasm");
    expect(found.notes).toHaveLength(1);
    expect(found.notes[0]).toMatch(/^WebGPU did not work: .*WebGPU/);
  }
});

test("what is wrong is one line", async ({ page }) => {
  const errorOf = (body: string) =>
    page.evaluate(async (source) => {
      const work = new Function("web", `return (async () => { ${source} })()`) as (
        library: typeof Web,
      ) => Promise<unknown>;
      return work(web).then(
        () => "no error",
        (error: Error) => `${error.name}: ${error.message}`,
      );
    }, body);
  const load = 'const segmenter = await web.Segmenter.load("/models/int8.tflite");';
  const cases: [string, RegExp][] = [
    ['await web.Segmenter.load("/models/none.tflite")', /none\.tflite: localhost:\d+ answers 404; check the address$/],
    ['await web.Segmenter.load("/blank/index.html")', /index\.html: is a web page and no model; check its address$/],
    [
      'await web.Segmenter.load("/models/int8.tflite", { runtime: "onnx" })',
      /int8\.tflite: runtime onnx does not take \.tflite files$/,
    ],
    ['await web.Segmenter.load("/models/int8.tflite", { engine: "/nowhere/" })', /the worker failed/],
    [
      "await web.Segmenter.load(new Blob([new Uint8Array(9)]))",
      /model: is neither a TFLite nor an ONNX model, or is truncated or overwritten$/,
    ],
    [
      `${load} await segmenter.segment(new File(["no"], "a.jpg"))`,
      /a\.jpg: is no image that this browser can read; save it again as JPEG or PNG$/,
    ],
    [`${load} segmenter.close(); await segmenter.segment(new ImageData(9, 9))`, /the segmenter was closed$/],
  ];
  for (const [body, message] of cases) {
    const said = await errorOf(body);
    expect(said).toMatch(/^MaskConverError: [^\n]+$/);
    expect(said).toMatch(message);
  }
});

test("a damaged graph behind a good card is refused in one line", async ({ page }) => {
  const said = await page.evaluate(async () => {
    const bytes = new Uint8Array(await (await fetch("/models/masks.onnx")).arrayBuffer());
    bytes.fill(7, 2000, 4000);
    return web.Segmenter.load(new File([bytes], "bad.onnx")).then(String, String);
  });
  expect(said).toMatch(/^MaskConverError: bad\.onnx: [^\n]+; convert it again$/);
});

test("images of every kind, and large ones at 1280 pixels", async ({ page }) => {
  const sizes = await page.evaluate(async () => {
    const segmenter = await web.Segmenter.load("/models/int8.tflite");
    const canvas = Object.assign(document.createElement("canvas"), { width: 60, height: 40 });
    canvas.getContext("2d")?.fillRect(0, 0, 30, 40);
    const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve));
    const image = Object.assign(new Image(), { src: canvas.toDataURL() });
    await image.decode();
    const large = new OffscreenCanvas(2560, 100);
    large.getContext("2d");
    const inputs = [canvas, blob as Blob, image, new ImageData(60, 40), await createImageBitmap(canvas), large];
    const found = [];
    for (const input of inputs) found.push((await segmenter.segment(input)).size);
    found.push((await segmenter.segment(large, { maxSide: 5000 })).size);
    segmenter.close();
    return found;
  });
  expect(sizes).toEqual([...Array.from({ length: 5 }, () => [40, 60]), [50, 1280], [100, 2560]]);
});

test("pictures of every kind have Python's pixels", async ({ page }) => {
  const pictures = new Fixture<Record<string, Stored<"uint8">>>("pictures");
  const names = Object.keys(pictures.cases);
  const decoded = await page.evaluate(async (files) => {
    const segmenter = await web.Segmenter.load("/models/int8.tflite");
    const found: Record<string, { size: readonly number[]; rgb: number[] }> = {};
    for (const name of files) {
      const { image, size } = await segmenter.segment(await (await fetch(`/pictures/${name}`)).blob());
      found[name] = { size, rgb: Array.from(image.data).filter((_, i) => i % 4 < 3) };
    }
    segmenter.close();
    return found;
  }, names);
  for (const name of names) {
    const stored = pictures.cases[name] as Stored<"uint8">;
    expect(decoded[name]?.size, name).toEqual(stored.shape.slice(0, 2));
    const expected = pictures.array(stored);
    const worst = expected.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - (decoded[name]?.rgb[i] ?? 999))),
      0,
    );
    // Browsers keep transparent pixels multiplied by their opacity, which rounds once more.
    expect(worst, name).toBeLessThanOrEqual(name === "transparent.png" ? 1 : 0);
  }
});

test("every model has its test", () => {
  expect(Object.keys(fixture.cases).sort()).toEqual([...EXACT, ...FAMILIES, ...HALVED, "int8.tflite"].sort());
});
