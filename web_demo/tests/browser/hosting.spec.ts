/** On hosts that set no headers, and without a network. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, PYTHON, segmentLabels, test } from "./base.js";

const DEMO = fileURLToPath(new URL("../../", import.meta.url));

test("a host without headers: the page isolates itself and has threads", async ({ page, plainDemo }) => {
  await page.goto(plainDemo);
  const labels = await segmentLabels(page);
  expect(labels.length).toBe(5);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  await expect(page.locator("#got")).toContainText(/CPU, [2-4] threads\./);
});

test("a host without headers, and a browser without service workers: one thread, and the page says so", async ({
  page,
  plainDemo,
  context,
}) => {
  await context.addInitScript(() => Object.defineProperty(navigator, "serviceWorker", { value: undefined }));
  await page.goto(`${plainDemo}#threads=2`);
  expect((await segmentLabels(page)).length).toBe(5);
  await expect(page.locator("#got")).toContainText(
    "CPU, 1 thread. Note: 2 threads need a cross-origin isolated page; one thread is used.",
  );
});

for (const kind of ["demo", "plainDemo"] as const) {
  test(`offline after the first visit (${kind})`, async ({ page, context, demo, plainDemo }) => {
    await page.goto({ demo, plainDemo }[kind]);
    const labels = await segmentLabels(page);
    await context.setOffline(true);
    await page.reload();
    expect(await segmentLabels(page)).toEqual(labels);
    await expect(page.locator("#got")).toContainText("Got: int8.tflite");
    await page.getByRole("button", { name: "Cat" }).click();
    await expect(page.getByRole("alert")).toContainText("chelsea.jpg: cannot be fetched");
    await page.getByRole("link", { name: "Licenses" }).click();
    await expect(page.getByRole("heading", { name: "Software inside" })).toBeVisible();
  });
}

test("`maskconver-mobile web --https` isolates the page, with a model of one's own", async ({ browser }) => {
  const options = ["--https", "--port", "0", "--site", "dist", "--model", "out/fixtures/models/panoptic.tflite"];
  const server = spawn(PYTHON, ["-m", "maskconver_mobile", "web", ...options], {
    cwd: DEMO,
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const said = await new Promise<string>((resolve) => {
      let text = "";
      server.stdout.on("data", (part: Buffer) => (text += part).includes("Ctrl-C ends") && resolve(text));
    });
    const [, port, hash] = /https:\/\/[\d.]+:(\d+)\/(#\S+)/.exec(said) ?? [];
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    await page.goto(`https://localhost:${port}/${hash}`);
    await segmentLabels(page);
    expect(await page.evaluate(() => crossOriginIsolated && isSecureContext)).toBe(true);
    await expect(page.locator("#got")).toContainText(/Got: panoptic\.tflite, LiteRT\.js .*, CPU, [2-4] threads\./);
    await context.close();
  } finally {
    server.kill();
  }
});
