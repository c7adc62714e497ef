/** The page as a visitor meets it. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Page } from "@playwright/test";
import { Fixture } from "../unit/fixtures.js";
import { expect, segmentLabels, test } from "./base.js";

const { cases: answers } = new Fixture<Record<string, { labels: string[] }>>("answers");
const photos = fileURLToPath(new URL("../../../maskconver_mobile/demo/photos/", import.meta.url));
const models = fileURLToPath(new URL("../../out/fixtures/models/", import.meta.url));
const status = (page: Page) => page.getByRole("status");
const got = (page: Page) => page.locator("#got");
const canvasOf = (page: Page) =>
  page.locator("canvas").evaluate((canvas: HTMLCanvasElement) => {
    const { data } = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height) ?? { data: [] };
    return `${canvas.width}x${canvas.height} ${Array.from(data).reduce((sum, value, i) => (sum + value * ((i % 9973) + 1)) % 1e9, 0)}`;
  });

/** Give files as a drop or a paste would. */
async function give(page: Page, kind: "drop" | "paste", file: string, type: string): Promise<void> {
  const content = readFileSync(file).toString("base64");
  await page.evaluate(
    ([event, base64, name, mime]) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([bytes], name, { type: mime }));
      const given =
        event === "drop"
          ? new DragEvent("drop", { dataTransfer: data, bubbles: true })
          : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
      document.body.dispatchEvent(given);
    },
    [kind, content, file.split("/").pop() as string, type] as const,
  );
}

test("a sample is segmented without a click, with little to load", async ({ page, demo, host }) => {
  host.sent.length = 0;
  await page.goto(demo);
  expect(await segmentLabels(page)).toEqual(answers["int8.tflite"]?.labels);
  await expect(got(page)).toContainText("Got: int8.tflite, LiteRT.js");
  await expect(page.locator("canvas")).toHaveAttribute("aria-label", /^Picture with 5 segments: table-merged \d/);
  const names = new Set(host.sent.map(({ path }) => path));
  const bytes = [...names]
    .filter((path) => !path.endsWith(".tflite"))
    .map((path) => host.sent.find((file) => file.path === path)?.bytes ?? 0);
  expect(bytes.reduce((sum, count) => sum + count, 0)).toBeLessThan(10_000_000);
});

test("photographs come from the samples, a file, a drop and a paste", async ({ page, demo }) => {
  await page.goto(demo);
  await segmentLabels(page);
  await page.getByRole("button", { name: "Cat" }).click();
  await expect(status(page)).toContainText("at 451x300");
  await page.locator("#file").setInputFiles(`${photos}coffee.jpg`);
  await expect(status(page)).toContainText("at 600x400");
  await give(page, "drop", `${photos}rocket.jpg`, "image/jpeg");
  await expect(status(page)).toContainText("at 640x427");
  await give(page, "paste", `${photos}camera.jpg`, "image/jpeg");
  await expect(status(page)).toContainText("at 512x512");
  await page.locator("#file").setInputFiles({ name: "no.jpg", mimeType: "image/jpeg", buffer: Buffer.from("no") });
  await expect(page.getByRole("alert")).toHaveText(
    "no.jpg: is no image that this browser can read; save it again as JPEG or PNG",
  );
  await page.getByLabel("Threads").selectOption("1");
  await expect(status(page)).toContainText("at 512x512");
  await expect(page.getByRole("alert")).toBeHidden();
});

test("a segment is highlighted by its row, by keyboard, and on the picture", async ({ page, demo }) => {
  await page.goto(demo);
  await segmentLabels(page);
  const whole = await canvasOf(page);
  const row = page.locator("#segments button").nth(1);
  await row.click();
  await page.mouse.move(0, 0);
  await expect(row).toHaveAttribute("aria-pressed", "true");
  const one = await canvasOf(page);
  expect(one).not.toBe(whole);
  await row.focus();
  await page.keyboard.press("Enter");
  await expect(row).toHaveAttribute("aria-pressed", "false");
  expect(await canvasOf(page)).toBe(whole);
  const box = await page.locator("canvas").boundingBox();
  await page.locator("canvas").click({ position: { x: (box?.width ?? 0) * 0.4, y: (box?.height ?? 0) * 0.25 } });
  await expect(page.locator("#segments button", { hasText: "person" })).toHaveAttribute("aria-pressed", "true");
  await page.getByLabel("Opacity").fill("0");
  expect(await canvasOf(page)).not.toBe(one);
});

test("the runtimes and threads are chosen with a plain switch, and kept in the address", async ({ page, demo }) => {
  await page.goto(demo);
  await segmentLabels(page);
  await page.getByLabel("Runtime").selectOption("onnx");
  await expect(got(page)).toContainText("Got: float16.onnx, ONNX Runtime Web");
  expect(await segmentLabels(page)).toEqual(answers["float16.onnx"]?.labels);
  await page.getByLabel("Threads").selectOption("1");
  await expect(got(page)).toContainText("CPU, 1 thread.");
  expect(new URL(page.url()).hash).toBe("#runtime=onnx&threads=1");
  await page.getByLabel("Model", { exact: true }).selectOption("int8");
  await expect(got(page)).toContainText("Note: int8 is not for this runtime; another model is used.");
  await page.goto(`${demo}#model=float32&threads=2`);
  await expect(got(page)).toContainText("Got: float32.tflite, LiteRT.js 2.5.3, CPU, 2 threads.");
});

test("WebGPU that is not there is replaced, and the page says so", async ({ page, demo }) => {
  await page.goto(`${demo}#backend=webgpu`);
  await segmentLabels(page);
  await expect(got(page)).toContainText(
    /Asked: any model, any runtime, WebGPU.*Got: float16\.tflite, LiteRT\.js .* CPU.*Note: WebGPU did not work: /,
  );
});

test("when a runtime fails the other one is used, and the page says so", async ({ page, demo, context }) => {
  await context.addInitScript(() => Object.defineProperty(navigator, "serviceWorker", { value: undefined }));
  await context.route("**/litert_wasm*", (route) => route.abort());
  await page.goto(demo);
  expect(await segmentLabels(page)).toEqual(answers["float16.onnx"]?.labels);
  await expect(got(page)).toContainText(
    /Got: float16\.onnx, ONNX Runtime Web.*Note: int8 with LiteRT\.js did not work: (?!MaskConverError)/,
  );
});

test("a model of one's own comes by file, or by address after consent", async ({ page, demo, plainHost }) => {
  await page.goto(demo);
  await segmentLabels(page);
  await page.locator("#model-file").setInputFiles(`${models}heads.onnx`);
  await expect(got(page)).toContainText("Got: heads.onnx");
  expect(await segmentLabels(page)).toEqual(answers["heads.onnx"]?.labels);
  await page
    .locator("#model-file")
    .setInputFiles({ name: "bad.tflite", mimeType: "", buffer: Buffer.from("bad model") });
  await expect(page.getByRole("alert")).toHaveText(
    "bad.tflite: is neither a TFLite nor an ONNX model, or is truncated or overwritten",
  );

  plainHost.sent.length = 0;
  await page.goto(`${demo}#model=${encodeURIComponent(`${plainHost.url}/models/panoptic.tflite`)}`);
  await expect(page.getByText("The address names a model on localhost")).toBeVisible();
  expect(plainHost.sent).toEqual([]);
  await page.getByRole("button", { name: "Fetch it" }).click();
  await expect(got(page)).toContainText("Got: panoptic.tflite");
  expect(await segmentLabels(page)).toEqual(answers["panoptic.tflite"]?.labels);

  plainHost.sent.length = 0;
  await page.goto(`${demo}#model=${encodeURIComponent(`${plainHost.url}/models/heads.tflite`)}`);
  await page.getByRole("button", { name: "Use this page's model" }).click();
  await expect(got(page)).toContainText("Got: int8.tflite");
  expect(plainHost.sent).toEqual([]);
});

test("hasty changes load the last choice alone", async ({ page, demo, host }) => {
  await page.goto(demo);
  await segmentLabels(page);
  host.sent.length = 0;
  await page.getByLabel("Model", { exact: true }).evaluate((select: HTMLSelectElement) => {
    for (const name of ["float32", "float16", "onnx"]) {
      select.value = name;
      select.dispatchEvent(new Event("change"));
    }
  });
  await expect(got(page)).toContainText("Got: float16.onnx");
  expect(host.sent.map(({ path }) => path).filter((path) => path.endsWith(".tflite"))).toEqual([]);
});

test("without a model the page says so", async ({ page, demo }) => {
  await page.goto(`${demo}#model=none.tflite`);
  await expect(page.getByRole("alert")).toContainText("none.tflite: localhost:");
  await page.getByRole("button", { name: "Cat" }).click();
  await expect(page.getByRole("alert")).toHaveText("no model is loaded; choose one of the list, or give your own");
  await page.getByLabel("Model", { exact: true }).selectOption("int8");
  await expect(status(page)).toContainText("at 451x300");
  await expect(page.getByRole("alert")).toBeHidden();
});

test("the picture and both COCO files can be saved", async ({ page, demo }) => {
  await page.goto(demo);
  const labels = await segmentLabels(page);
  const saved = async (name: string) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name }).click()]);
    return { name: download.suggestedFilename(), content: readFileSync(await download.path()) };
  };
  const picture = await saved("Save picture");
  expect(picture.content.subarray(1, 4).toString()).toBe("PNG");
  const coco = await saved("Save COCO JSON");
  const { annotations, categories, images } = JSON.parse(coco.content.toString()) as {
    annotations: { file_name: string; segments_info: { category_id: number }[] }[];
    categories: { id: number; name: string }[];
    images: unknown;
  };
  expect(
    annotations[0]?.segments_info.map((entry) => categories.find(({ id }) => id === entry.category_id)?.name),
  ).toEqual(labels);
  expect(images).toEqual([{ id: 1, file_name: "astronaut.jpg", height: 512, width: 512 }]);
  const map = await saved("Save COCO map");
  expect(map.name).toBe(annotations[0]?.file_name);
  expect([map.content.readUInt32BE(16), map.content.readUInt32BE(20)]).toEqual([512, 512]);
});
