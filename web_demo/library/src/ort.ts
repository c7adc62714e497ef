/** ONNX files in ONNX Runtime Web, on the CPU. */
import * as ort from "onnxruntime-web/wasm";
import { MaskConverError, reasonOf } from "./errors.js";
import type { ModelFile } from "./model_file.js";
import type { InputTensor } from "./preprocess.js";
import { hasRelaxedSimd, type Output, type Outputs, type Runtime, type Wish } from "./runtime.js";

declare const ORT_VERSION: string;

export async function openOrt({ name, bytes, card }: ModelFile, wish: Wish): Promise<Runtime> {
  if (wish.backend === "webgpu")
    throw new MaskConverError("ONNX Runtime runs on the CPU here; WebGPU takes .tflite files");
  ort.env.wasm.wasmPaths = wish.wasm;
  ort.env.wasm.numThreads = wish.threads;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(bytes).catch((error: unknown) => {
    throw new MaskConverError(`${name}: ONNX Runtime cannot load it (${reasonOf(error)}); convert it again`);
  });
  const dtype = card.inputType === "uint8" ? "uint8" : "float32";
  const shape = [1, ...card.inputSize, 3];
  const [input] = session.inputMetadata;
  if (
    input?.isTensor !== true ||
    [input.name, input.type, ...input.shape].join() !== ["image", dtype, ...shape].join()
  ) {
    throw new MaskConverError(`${name}: its input does not fit its card; convert it again`);
  }

  async function run(image: InputTensor): Promise<Outputs> {
    const outputs = await session.run({ image: new ort.Tensor(dtype, image as Float32Array, shape) });
    return new Map(
      Object.entries(outputs).map(([key, tensor]) => [
        key,
        { shape: tensor.dims, data: tensor.data as Output["data"] },
      ]),
    );
  }

  const got = {
    runtime: "onnx",
    version: ORT_VERSION,
    backend: "wasm",
    threads: wish.threads,
    relaxedSimd: hasRelaxedSimd(),
    gpu: null,
  } as const;
  return { got, run };
}
