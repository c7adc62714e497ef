/** Where things are. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const LIBRARY = join(ROOT, "library");
export const REPOSITORY = join(ROOT, "..");
export const DEMO = join(REPOSITORY, "maskconver_mobile/demo");

/** The folder of an installed package. */
export function packageFolder(name) {
  const folders = createRequire(import.meta.url)
    .resolve.paths(name)
    .map((path) => join(path, name));
  return folders.find((folder) => existsSync(join(folder, "package.json")));
}

export function versionOf(name) {
  return JSON.parse(readFileSync(join(packageFolder(name), "package.json"), "utf8")).version;
}
