import { defineConfig } from "@playwright/test";
import { LAUNCH } from "./tests/browser/base.js";

export default defineConfig({
  testDir: "tests/browser",
  outputDir: "out/browser",
  workers: 1,
  timeout: 180_000,
  // Loading a model on a busy machine takes seconds.
  expect: { timeout: 60_000 },
  reporter: "list",
  use: { launchOptions: LAUNCH, viewport: { width: 360, height: 740 } },
});
