/** Builds the library: one ES module with types, and the folder `engine` with the workers and the runtimes. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { build, minifySync } from "vite";
import { licensesText } from "./licenses.js";
import { LIBRARY, packageFolder, ROOT, versionOf } from "./paths.js";

const WORKERS = ["litert_worker", "ort_worker", "ort_webgpu_worker"];
const LITERT = ["litert_wasm_internal", "litert_wasm_compat_internal", "litert_wasm_threaded_internal"];
// The build with JSPI is the only one with WebGPU that is small enough for every host.
const ORT = ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.jspi"];
const WASM = {
  "@litertjs/core": LITERT.flatMap((name) => [`wasm/${name}.js`, `wasm/${name}.wasm`]),
  "onnxruntime-web": ORT.flatMap((name) => [`dist/${name}.mjs`, `dist/${name}.wasm`]),
};
const common = {
  root: LIBRARY,
  configFile: false,
  logLevel: "warn",
  // Without it a second copy of ONNX Runtime's wasm file is bundled.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser", "production"] },
  define: {
    LITERT_VERSION: JSON.stringify(versionOf("@litertjs/core")),
    ORT_VERSION: JSON.stringify(versionOf("onnxruntime-web")),
  },
};

export async function buildLibrary() {
  const lib = { entry: "src/index.ts", formats: ["es"], fileName: () => "index.js" };
  await build({ ...common, build: { lib, outDir: "dist", target: "es2022" } });
  for (const name of WORKERS) {
    // LiteRT loads its script with importScripts, which module workers do not have.
    const worker = { entry: `src/${name}.ts`, formats: ["iife"], name, fileName: () => `${name}.js` };
    await build({
      ...common,
      define: { ...common.define, "import.meta.url": "self.location.href" },
      build: { lib: worker, outDir: "dist/engine", emptyOutDir: false, target: "es2022", minify: true },
    });
  }
  const wasm = join(LIBRARY, "dist/engine/wasm");
  mkdirSync(wasm, { recursive: true });
  for (const [name, files] of Object.entries(WASM)) {
    for (const file of files) copyRuntime(join(packageFolder(name), file), join(wasm, basename(file)));
  }
  writeFileSync(join(LIBRARY, "dist/LICENSES.txt"), licensesText());
  const compiler = join(dirname(packageFolder("typescript")), ".bin/tsc");
  execFileSync(compiler, ["-p", join(LIBRARY, "tsconfig.json")], { stdio: "inherit" });
}

/** Scripts are shortened by comments and spaces alone: code inside LiteRT's WebAssembly calls them by name. */
function copyRuntime(from, to) {
  if (!from.endsWith(".js")) return copyFileSync(from, to);
  const options = { module: false, compress: false, mangle: false };
  const { code, errors } = minifySync(basename(from), readFileSync(from, "utf8"), options);
  if (errors.length > 0) throw new Error(`${from}: ${errors[0].message}`);
  writeFileSync(to, code);
}

/** The package for other pages: a tarball in `out`. */
export function packLibrary() {
  const folder = join(ROOT, "out");
  mkdirSync(folder, { recursive: true });
  execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], {
    cwd: LIBRARY,
    stdio: ["ignore", "ignore", "inherit"],
  });
}
