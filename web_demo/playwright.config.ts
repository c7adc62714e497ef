import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: "tests/browser",
  outputDir: "out/browser",
  workers: 1,
  timeout: 120_000,
  reporter: "list",
  use: {
    launchOptions: { executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] },
    viewport: { width: 360, height: 740 },
  },
});
