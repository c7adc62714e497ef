/** ONNX files in ONNX Runtime Web. Its builds for the CPU and for WebGPU have one interface. */
import type * as Ort from "onnxruntime-web/wasm";
import { MaskConverError, reasonOf } from "./errors.js";
import type { ModelFile } from "./model_file.js";
import type { InputTensor } from "./preprocess.js";
import { type Backend, findGpu, hasRelaxedSimd, type Open, type Output, type Outputs } from "./runtime.js";

declare const ORT_VERSION: string;

/** Opens models with one build, on the processor that it is for. */
export function ortOpener(ort: typeof Ort, backend: Backend): Open {
  return async ({ name, bytes, card }: ModelFile, wish) => {
    const gpu = backend === "webgpu" ? await findGpu() : null;
    if (backend === "webgpu" && gpu === null) throw new MaskConverError("this browser offers no WebGPU adapter");
    const threads = backend === "wasm" ? wish.threads : 1;
    ort.env.wasm.wasmPaths = wish.wasm;
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = "error";
    const options = { executionProviders: [backend] };
    const session = await ort.InferenceSession.create(bytes, options).catch((error: unknown) => {
      throw new MaskConverError(`${name}: ONNX Runtime cannot load it (${reasonOf(error)}); convert it again`);
    });
    const dtype = card.inputType === "uint8" ? "uint8" : "float32";
    const shape = [1, ...card.inputSize, 3];
    const [input] = session.inputMetadata;
    const found = input?.isTensor === true ? [input.name, input.type, ...input.shape] : [];
    if (found.join() !== ["image", dtype, ...shape].join()) {
      throw new MaskConverError(`${name}: its input does not fit its card; convert it again`);
    }

    async function run(image: InputTensor): Promise<Outputs> {
      const outputs = await session.run({ image: new ort.Tensor(dtype, image as Float32Array, shape) });
      const entries = Object.entries(outputs).map(async ([key, tensor]): Promise<[string, Output]> => {
        const data = (await tensor.getData(true)) as Output["data"];
        return [key, { shape: tensor.dims, data }];
      });
      return new Map(await Promise.all(entries));
    }

    const relaxedSimd = hasRelaxedSimd();
    return { got: { runtime: "onnx", version: ORT_VERSION, backend, threads, relaxedSimd, gpu }, run };
  };
}
