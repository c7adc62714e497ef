/** TFLite files in LiteRT.js. */
import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";
import { MaskConverError, reasonOf } from "./errors.js";
import type { ModelFile } from "./model_file.js";
import type { InputTensor } from "./preprocess.js";
import { findGpu, hasRelaxedSimd, type Output, type Outputs, type Runtime, type Wish } from "./runtime.js";
import { widenWeights } from "./widen.js";

declare const LITERT_VERSION: string;
const HOST_MEMORY = 1;

export async function openLiteRt({ name, bytes, card }: ModelFile, wish: Wish): Promise<Runtime> {
  const gpu = wish.backend === "webgpu" ? await findGpu() : null;
  if (wish.backend === "webgpu" && gpu === null) throw new MaskConverError("this browser offers no WebGPU adapter");
  const threads = wish.backend === "wasm" ? wish.threads : 1;
  const relaxedSimd = hasRelaxedSimd();
  const kind = threads > 1 ? "_threaded" : relaxedSimd ? "" : "_compat";
  // In a worker the runtime cannot find out where its script came from.
  Object.assign(globalThis, {
    Module: {
      locateFile: (file: string) => wish.wasm + file,
      mainScriptUrlOrBlob: `${wish.wasm}litert_wasm${kind}_internal.js`,
    },
  });
  await loadLiteRt(wish.wasm, { threads: threads > 1 });
  const options = {
    accelerator: wish.backend,
    cpuOptions: { numThreads: threads },
    gpuOptions: { precision: "fp32" },
  } as const;
  const compile = async () => loadAndCompile(wish.backend === "wasm" ? widenWeights(bytes) : bytes, options);
  const model = await compile().catch((error: unknown) => {
    throw new MaskConverError(`${name}: LiteRT cannot load it (${reasonOf(error)}); convert it again`);
  });
  const [input] = model.getInputDetails();
  const wanted = [card.inputType === "uint8" ? "uint8" : "float32", 1, ...card.inputSize, 3].join();
  if (input === undefined || [input.dtype, ...input.shape].join() !== wanted) {
    throw new MaskConverError(`${name}: its input does not fit its card; convert it again`);
  }
  const onHost = (input.supportedBufferTypes as ReadonlySet<number>).has(HOST_MEMORY);

  async function run(image: InputTensor): Promise<Outputs> {
    let tensor = new Tensor(image, [1, ...card.inputSize, 3]);
    if (!onHost) tensor = await tensor.moveTo("webgpu");
    const outputs = await model.run({ image: tensor });
    tensor.delete();
    const read = async (output: Tensor): Promise<Output> => {
      // The copy outlives the runtime's memory, which moves when it grows.
      const data = (await output.data()).slice() as Output["data"];
      return { shape: Array.from(output.type.layout.dimensions), data };
    };
    try {
      const names = Object.keys(outputs);
      const found = await Promise.all(names.map((key) => read(outputs[key] as Tensor)));
      return new Map(names.map((key, i) => [key, found[i] as Output]));
    } finally {
      for (const output of Object.values(outputs)) output.delete();
    }
  }

  const got = { runtime: "litert", version: LITERT_VERSION, backend: wish.backend, threads, relaxedSimd, gpu } as const;
  return { got, run };
}
