/** What the two inference runtimes have in common. */
import type { ModelFile } from "./model_file.js";
import type { InputTensor } from "./preprocess.js";

export type RuntimeName = "litert" | "onnx";
export type Backend = "wasm" | "webgpu";

/** What a worker is asked to load a model with. */
export interface Wish {
  readonly backend: Backend;
  readonly threads: number;
  /** Address of the folder with the runtimes' WebAssembly files, with a slash at its end. */
  readonly wasm: string;
}

/** What was got. */
export interface Got {
  readonly runtime: RuntimeName;
  readonly version: string;
  readonly backend: Backend;
  readonly threads: number;
  readonly relaxedSimd: boolean;
  readonly gpu: GpuInfo | null;
}

export interface GpuInfo {
  readonly vendor: string;
  readonly architecture: string;
  /** It is a program on the CPU, whose times say nothing about a GPU. */
  readonly software: boolean;
}

export interface Output {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

export type Outputs = ReadonlyMap<string, Output>;

/** A loaded model. */
export interface Runtime {
  readonly got: Got;
  run(image: InputTensor): Promise<Outputs>;
}

export type Open = (model: ModelFile, wish: Wish) => Promise<Runtime>;

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render|software/i;

/** The GPU that WebGPU offers here, null if there is none. */
export async function findGpu(): Promise<GpuInfo | null> {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (!adapter) return null;
  // Older browsers have no `info`, or the flag elsewhere.
  const { info, isFallbackAdapter } = adapter as { info?: GPUAdapterInfo; isFallbackAdapter?: boolean };
  const { vendor = "", architecture = "", description = "" } = info ?? {};
  const fallback = info?.isFallbackAdapter || isFallbackAdapter;
  return {
    vendor,
    architecture,
    software: fallback === true || SOFTWARE.test(`${vendor} ${architecture} ${description}`),
  };
}

/** Whether the engine has relaxed SIMD: the smallest module with one such instruction. */
export function hasRelaxedSimd(): boolean {
  const head = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0];
  return WebAssembly.validate(new Uint8Array([...head, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11]));
}
