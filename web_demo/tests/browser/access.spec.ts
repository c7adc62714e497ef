/** For everyone: axe, small screens, large enough targets, dark and light; and the pictures of the documentation. */
import { mkdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { AxeResults } from "axe-core";
import { expect, segmentLabels, test } from "./base.js";

const AXE = readFileSync(new URL("../../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const SCREENS = fileURLToPath(new URL("../../out/screens/", import.meta.url));
const SIZES = [
  [320, 568],
  [360, 740],
  [740, 360],
  [1280, 800],
] as const;
const TARGET = 44;

for (const colorScheme of ["light", "dark"] as const) {
  test(`no findings of axe, ${colorScheme}`, async ({ page, demo }) => {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    for (const path of ["", "about.html"]) {
      await page.goto(demo + path);
      if (path === "") await segmentLabels(page);
      await page.evaluate(AXE);
      const found = await page.evaluate(async () =>
        (window as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run(),
      );
      expect(found.violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([]);
    }
  });
}

for (const [width, height] of SIZES) {
  test(`fits ${width}x${height}`, async ({ page, demo }) => {
    await page.setViewportSize({ width, height });
    await page.goto(demo);
    await segmentLabels(page);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    const targets = page.locator(
      "button:visible, select:visible, input[type=range]:visible, label.button:visible, a:visible",
    );
    expect(await targets.count()).toBeGreaterThan(15);
    for (const target of await targets.all()) {
      const box = await target.boundingBox();
      expect(Math.min(box?.height ?? 0, box?.width ?? 0), await target.innerText()).toBeGreaterThanOrEqual(TARGET);
    }
    mkdirSync(SCREENS, { recursive: true });
    await page.screenshot({ path: `${SCREENS}${width}x${height}.jpg`, type: "jpeg", quality: 70 });
  });
}

test("every control is reached with the keyboard", async ({ page, demo }) => {
  await page.goto(demo);
  await segmentLabels(page);
  const wanted = await page.locator("button:visible:enabled, select:visible, input").count();
  const reached = new Set<string>();
  for (let i = 0; i < wanted + 5; i++) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200) ?? ""));
  }
  expect(reached.size).toBeGreaterThanOrEqual(wanted);
});
