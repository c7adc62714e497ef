/** Builds the library: one ES module with types, and the folder `engine` with the workers and the runtimes. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

export const ROOT = fileURLToPath(new URL("..", import.meta.url));
const LIBRARY = join(ROOT, "library");
const WASM = {
  "@litertjs/core": [
    "wasm/litert_wasm_internal",
    "wasm/litert_wasm_compat_internal",
    "wasm/litert_wasm_threaded_internal",
  ].flatMap((name) => [`${name}.js`, `${name}.wasm`]),
  "onnxruntime-web": ["dist/ort-wasm-simd-threaded.mjs", "dist/ort-wasm-simd-threaded.wasm"],
};
const WORKERS = { litert_worker: "litert_worker.ts", ort_worker: "ort_worker.ts" };

/** The folder of an installed package. */
export function packageFolder(name) {
  const { paths } = createRequire(import.meta.url).resolve;
  return join(paths(name).find((path) => existsPackage(join(path, name))), name);
}

function existsPackage(folder) {
  try {
    return readFileSync(join(folder, "package.json")).length > 0;
  } catch {
    return false;
  }
}

export function versionOf(name) {
  return JSON.parse(readFileSync(join(packageFolder(name), "package.json"), "utf8")).version;
}

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
  await build({
    ...common,
    build: { lib: { entry: "src/index.ts", formats: ["es"], fileName: () => "index.js" }, outDir: "dist", target: "es2022" },
  });
  for (const [name, entry] of Object.entries(WORKERS)) {
    await build({
      ...common,
      define: { ...common.define, "import.meta.url": "self.location.href" },
      build: {
        // LiteRT loads its script with importScripts, which module workers do not have.
        lib: { entry: `src/${entry}`, formats: ["iife"], name, fileName: () => `${name}.js` },
        outDir: "dist/engine",
        emptyOutDir: false,
        target: "es2022",
        minify: true,
      },
    });
  }
  mkdirSync(join(LIBRARY, "dist/engine/wasm"), { recursive: true });
  for (const [name, files] of Object.entries(WASM)) {
    for (const file of files) {
      copyFileSync(join(packageFolder(name), file), join(LIBRARY, "dist/engine/wasm", file.split("/").pop()));
    }
  }
  const compiler = join(dirname(packageFolder("typescript")), ".bin/tsc");
  execFileSync(compiler, ["-p", join(LIBRARY, "tsconfig.json")], { stdio: "inherit" });
}
