/** Builds the page: static files for any host and any folder, with everything it needs beside it. */
import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { build } from "vite";
import { creditsHtml, licensesHtml } from "./licenses.js";
import { DEMO, LIBRARY, ROOT } from "./paths.js";

const OUT = join(ROOT, "dist");
const DATA = join(ROOT, "out/data");
/** Of some static hosts, for one file. */
const MAX_FILE_BYTES = 25 * 2 ** 20;
const HEADERS = `/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
  Cross-Origin-Resource-Policy: same-origin
  X-Content-Type-Options: nosniff
  Referrer-Policy: no-referrer
${["engine", "models", "assets"].map((folder) => `/${folder}/*\n  Cache-Control: public, max-age=31536000, immutable\n`).join("")}/models/models.json
  Cache-Control: no-cache
`;

export async function buildPage() {
  const engine = `engine/${hashOf(join(LIBRARY, "dist/engine"))}/`;
  await build({
    root: join(ROOT, "page"),
    configFile: false,
    logLevel: "warn",
    base: "./",
    define: { ENGINE: JSON.stringify(engine) },
    plugins: [
      {
        name: "about",
        transformIndexHtml: (html) =>
          html.replace("<!-- credits -->", creditsHtml).replace("<!-- licenses -->", licensesHtml),
      },
    ],
    build: {
      outDir: OUT,
      emptyOutDir: true,
      target: "es2022",
      modulePreload: { polyfill: false },
      rollupOptions: { input: ["index.html", "about.html"].map((file) => join(ROOT, "page", file)) },
    },
  });
  cpSync(join(LIBRARY, "dist/engine"), join(OUT, engine), { recursive: true });
  copyModels();
  cpSync(join(DATA, "small"), join(OUT, "photos/small"), { recursive: true });
  for (const folder of [DEMO, join(DEMO, "photos")]) {
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".jpg")))
      cpSync(join(folder, file), join(OUT, "photos", file));
  }
  await buildServiceWorker();
  writeFileSync(join(OUT, "_headers"), HEADERS);
  writeFileSync(join(OUT, ".nojekyll"), "");
  for (const file of filesIn(OUT)) {
    if (statSync(join(OUT, file)).size > MAX_FILE_BYTES)
      throw new Error(`${file}: larger than 25 MiB, which some hosts refuse`);
  }
}

/** Model files and their answers go under the model's hash, so that they may be kept for good; the list names them. */
function copyModels() {
  const listed = JSON.parse(readFileSync(join(DATA, "models.json"), "utf8"));
  const models = listed.map(({ file, ...rest }) => {
    const url = `models/${digest(readFileSync(join(DATA, file)))}/${file}`;
    for (const suffix of ["", ".json"]) cpSync(join(DATA, file + suffix), join(OUT, url + suffix));
    return { ...rest, url };
  });
  writeFileSync(join(OUT, "models/models.json"), JSON.stringify(models));
}

async function buildServiceWorker() {
  const files = [...filesIn(OUT), "service_worker.js"];
  const shell = files.filter((file) => /\.html$|^assets\/|models\.json$|^photos\/(small\/|astronaut)/.test(file));
  await build({
    root: join(ROOT, "page"),
    configFile: false,
    logLevel: "warn",
    define: { FILES: JSON.stringify(files), SHELL: JSON.stringify(shell) },
    build: {
      lib: { entry: "service_worker.ts", formats: ["iife"], name: "worker", fileName: () => "service_worker.js" },
      outDir: OUT,
      emptyOutDir: false,
      target: "es2022",
      minify: true,
    },
  });
}

/** Names of all files below a folder, relative to it. */
function filesIn(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

function hashOf(folder) {
  return digest(...filesIn(folder).map((file) => readFileSync(join(folder, file))));
}

function digest(...contents) {
  const hash = createHash("sha256");
  for (const content of contents) hash.update(content);
  return hash.digest("hex").slice(0, 8);
}
