/** What all tests in the browser have in common: a host, and a page that may talk to it alone. */
import { fileURLToPath } from "node:url";
import { test as plain, type Page } from "@playwright/test";
import { Host } from "./host.js";

interface Fixtures {
  /** The page's address on a host that isolates it. */
  demo: string;
  /** The same on a host that sets no headers. */
  plainDemo: string;
  /** Addresses on other hosts that the page asked for; the browser cannot reach them, and the test fails. */
  foreign: string[];
}

interface Shared {
  host: Host;
  plainHost: Host;
}

export const test = plain.extend<Fixtures, Shared>({
  host: [
    async ({}, use) => {
      const host = await new Host(true).start();
      await use(host);
      await host.stop();
    },
    { scope: "worker" },
  ],
  plainHost: [
    async ({}, use) => {
      const host = await new Host(false).start();
      await use(host);
      await host.stop();
    },
    { scope: "worker" },
  ],
  demo: async ({ host }, use) => use(`${host.url}/some/folder/`),
  plainDemo: async ({ plainHost }, use) => use(`${plainHost.url}/some/folder/`),
  foreign: [
    async ({ context, host, plainHost }, use) => {
      const asked: string[] = [];
      const own = [host.url, plainHost.url, "blob:", "data:"];
      context.on("request", (request) => {
        if (!own.some((start) => request.url().startsWith(start))) asked.push(request.url());
      });
      await use(asked);
      plain.expect(asked).toEqual([]);
    },
    { auto: true },
  ],
});

/** The interpreter that has maskconver_mobile. */
export const PYTHON = process.env.PYTHON ?? fileURLToPath(new URL("../../../.venv/bin/python", import.meta.url));

export const LAUNCH = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"],
};

export { expect } from "@playwright/test";

/** Wait for an answer, and give the labels of its segments. */
export async function segmentLabels(page: Page, timeout = 60_000): Promise<string[]> {
  await page
    .getByRole("status")
    .filter({ hasText: / segments? at / })
    .waitFor({ timeout });
  return page.locator("#segments button").allInnerTexts();
}
