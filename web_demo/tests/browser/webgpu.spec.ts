/** One run on a GPU that is a program: the answer counts, and no time is shown. */
import { Fixture } from "../unit/fixtures.js";
import { expect, LAUNCH, segmentLabels, test } from "./base.js";

const { cases: answers } = new Fixture<Record<string, { labels: string[] }>>("answers");
test.use({
  launchOptions: { ...LAUNCH, args: [...LAUNCH.args, "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] },
});

test("LiteRT.js on WebGPU gives the CPU's answer, without times", async ({ page, demo }) => {
  await page.goto(`${demo}#backend=webgpu`);
  expect(await segmentLabels(page, 170_000)).toEqual(answers["float16.tflite"]?.labels);
  await expect(page.locator("#got")).toContainText(
    /Got: float16\.tflite, LiteRT\.js .*, WebGPU \(google swiftshader, a program on the CPU\)\.$/,
  );
  await expect(page.getByRole("status")).not.toContainText(" ms");
  await expect(page.getByRole("status")).toContainText("its times are not shown");
});

test("ONNX Runtime on WebGPU gives the CPU's answer too", async ({ page, demo }) => {
  test.setTimeout(420_000);
  await page.goto(`${demo}#runtime=onnx&backend=webgpu`);
  expect(await segmentLabels(page, 400_000)).toEqual(answers["float16.onnx"]?.labels);
  await expect(page.locator("#got")).toContainText(
    /Got: float16\.onnx, ONNX Runtime Web .*, WebGPU \(.*, a program on the CPU\)\.$/,
  );
});

test("a program is not chosen by itself", async ({ page, demo }) => {
  await page.goto(`${demo}#model=float32`);
  await segmentLabels(page);
  await expect(page.locator("#got")).toContainText(/LiteRT\.js .*, CPU, \d threads?\.$/);
});
