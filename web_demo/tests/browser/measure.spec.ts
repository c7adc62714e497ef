/** A measurement, and what Python makes of its report. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Page } from "@playwright/test";
import { expect, PYTHON, segmentLabels, test } from "./base.js";

const PHOTOS = [
  "astronaut",
  "apollo11_crew",
  "camera",
  "chelsea",
  "china",
  "coffee",
  "flower",
  "grace_hopper",
  "rocket",
].map((name) => `${name}.jpg`);
const OUT = fileURLToPath(new URL("../../out/reports/", import.meta.url));

const benchmark = (...values: string[]) =>
  execFileSync(PYTHON, ["-m", "maskconver_mobile", "benchmark", ...values], { cwd: OUT, encoding: "utf8" });

async function saveReport(page: Page, name: string): Promise<string> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Save the report" }).click(),
  ]);
  mkdirSync(OUT, { recursive: true });
  writeFileSync(OUT + name, readFileSync(await download.path()));
  return readFileSync(OUT + name, "utf8");
}

test("a link measures after one tap, and Python reads the report", async ({ page, demo, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  // Chrome's rule; what is shared becomes the title.
  await context.addInitScript(() => {
    navigator.canShare = (data) =>
      data?.files?.every(({ name, type }) => /\.txt$/.test(name) && type === "text/plain") ?? false;
    navigator.share = async (data) => void (document.title = (await data?.files?.[0]?.text()) ?? "");
  });
  await page.goto(`${demo}#model=int8&backend=wasm&threads=2&run=1`);
  const button = page.getByRole("button", { name: "Measure", exact: true });
  await expect(button).toBeFocused({ timeout: 60_000 });
  await page.keyboard.press("Enter");
  await expect(page.getByRole("status")).toContainText("The answer agrees with the expected one in ");
  await expect(page.getByRole("status")).toHaveText("Measured", { timeout: 120_000 });
  await expect(page.locator("#agreement")).toContainText(/in (100\.0|99\.\d+)%/);
  await expect(page.locator("#times")).toContainText("Model, median");
  await page.getByRole("button", { name: "Copy" }).click();
  const text = await saveReport(page, "web.json");
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(text);
  await page.getByRole("button", { name: "Share" }).click();
  await expect(page).toHaveTitle(/"schema"/);
  expect(JSON.parse(await page.title())).toEqual(JSON.parse(text));
  const { schema, results, machines } = JSON.parse(text) as {
    schema: number;
    results: (Record<string, unknown> & { samples_ms: number[]; photos: { photo: string; samples_ms: number[] }[] })[];
    machines: Record<string, unknown>[];
  };
  expect(results[0]).toMatchObject({
    model: "int8.tflite",
    runtime: "litert.js",
    runner: "browser",
    accelerator: "cpu",
    threads: 2,
  });
  expect(schema).toBe(2);
  const [{ samples_ms, photos } = { samples_ms: [], photos: [] }] = results;
  expect(samples_ms.length).toBeGreaterThanOrEqual(35);
  expect(photos.map(({ photo }) => photo)).toEqual(PHOTOS);
  for (const [i, { samples_ms: own }] of photos.entries())
    expect(own).toEqual(samples_ms.filter((_, run) => run % PHOTOS.length === i));
  expect(machines[0]).toMatchObject({
    emulated: false,
    environment: { isolated: true, agreement: expect.any(Number) },
  });
  expect(benchmark("compare", "web.json", "web.json")).toContain("no difference");
  benchmark("report", "web.json", "--output", "web.html");
  const html = readFileSync(`${OUT}web.html`, "utf8");
  expect(html).toContain("int8.tflite, litert.js, 2 threads");
  expect(html).toContain("<td>chelsea.jpg</td>");
  expect(html).toContain("all stages together, over photographs");
});

test("a page that is hidden meanwhile measures nothing", async ({ page, demo }) => {
  await page.goto(demo);
  await segmentLabels(page);
  await page.getByRole("button", { name: "Measure", exact: true }).click();
  await expect(page.getByRole("status")).toContainText("runs");
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { value: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await expect(page.getByRole("alert")).toHaveText("the page was hidden, which spoils the times; measure again");
  await expect(page.locator("#measured")).toBeHidden();
});
