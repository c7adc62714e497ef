/** A loaded model, in a worker of its own. */
import type { ModelCard } from "./card.js";
import { MaskConverError, reasonOf } from "./errors.js";
import { fetchModel, type Progress } from "./fetch_model.js";
import { type Format, type ModelFile, readModel } from "./model_file.js";
import type { Answers, Numbered, Reply, Request, Source } from "./protocol.js";
import { PanopticResult } from "./result.js";
import { type Backend, findGpu, type Got, type Outputs, type RuntimeName, type Wish } from "./runtime.js";

export interface LoadOptions {
  /** Which runtime the file must fit: LiteRT.js takes .tflite files, ONNX Runtime Web .onnx. By default as it is. */
  readonly runtime?: RuntimeName | "auto";
  /** By default the CPU for integer models and for .onnx files, and a real GPU for the rest where there is one. */
  readonly backend?: Backend | "auto";
  /** Of the CPU; by default one per core, up to four. More than one needs a cross-origin isolated page. */
  readonly threads?: number;
  /** Address of the folder with the workers and the runtimes; by default `engine/` beside this module. */
  readonly engine?: string | URL;
  readonly onProgress?: Progress;
}

/** Whatever shows a picture. */
export type ImageInput = Source | HTMLImageElement | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas;

export interface SegmentOptions {
  /** The answer has at most so many pixels on its longer side; a larger image is merged at that size. */
  readonly maxSide?: number;
}

const RUNTIMES: Record<Format, RuntimeName> = { tflite: "litert", onnx: "onnx" };
const WORKERS: Record<RuntimeName, Record<Backend, string>> = {
  litert: { wasm: "litert_worker.js", webgpu: "litert_worker.js" },
  onnx: { wasm: "ort_worker.js", webgpu: "ort_webgpu_worker.js" },
};
const INTEGER = /int8|int16/;
const MAX_SIDE = 1280;
/**
 * A worker that gives no answer for so long hangs, and is ended. It is long, for loading fetches the runtime, and a GPU
 * compiles the graph at the first run.
 */
const PATIENCE_MINUTES: Record<Backend, number> = { wasm: 3, webgpu: 15 };

export class Segmenter {
  private readonly waiting = new Map<number, { resolve: (answer: never) => void; reject: (error: Error) => void }>();
  private next = 0;
  private clock: ReturnType<typeof setInterval> | undefined;
  private failure: MaskConverError | null = null;
  /** What runs the model. */
  got!: Got;

  private constructor(
    private readonly worker: Worker,
    readonly model: ModelFile,
    /** Why something else was got than was asked for, one line each. */
    readonly notes: readonly string[],
    private readonly patienceMinutes: number,
  ) {
    worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      const call = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      this.watch();
      if ("error" in data) call?.reject(new MaskConverError(data.error));
      else call?.resolve(data.answer as never);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.fail(`the worker failed (${event.message || "its script cannot be loaded"})`);
    };
  }

  /**
   * Load a model file: its address, or the file itself. What cannot be had is replaced, and `notes` says so: WebGPU by
   * the CPU, several threads by one.
   */
  static async load(model: string | URL | Blob, options: LoadOptions = {}): Promise<Segmenter> {
    const { name, bytes } = await fetchModel(model, options.onProgress);
    const file = readModel(bytes, name);
    const runtime = RUNTIMES[file.format];
    if (options.runtime !== undefined && options.runtime !== "auto" && options.runtime !== runtime) {
      throw new MaskConverError(`${name}: runtime ${options.runtime} does not take .${file.format} files`);
    }
    const engine =
      options.engine === undefined ? new URL("engine/", moduleUrl()) : new URL(options.engine, location.href);
    const notes: string[] = [];
    const threads = options.threads ?? Math.min(4, navigator.hardwareConcurrency || 1);
    const wishes = await plan(file, options.backend ?? "auto", threads, new URL("wasm/", engine).href);
    for (const [i, wish] of wishes.entries()) {
      const worker = new Worker(new URL(WORKERS[runtime][wish.backend], engine));
      const segmenter = new Segmenter(worker, file, notes, PATIENCE_MINUTES[wish.backend]);
      try {
        segmenter.got = await segmenter.ask<"load">({ kind: "load", name, bytes, wish });
        if (wish.backend === "wasm" && threads > 1 && !crossOriginIsolated) {
          notes.push(`${threads} threads need a cross-origin isolated page; one thread is used`);
        }
        return segmenter;
      } catch (error) {
        segmenter.close();
        if (i === wishes.length - 1) throw error;
        notes.push(`${describe(wish)} did not work: ${reasonOf(error)}`);
      }
    }
    throw new MaskConverError(`${name}: nothing to run it with`);
  }

  get card(): ModelCard {
    return this.model.card;
  }

  /** Panoptic segmentation of one image. */
  async segment(image: ImageInput, options: SegmentOptions = {}): Promise<PanopticResult> {
    const source = await sourceOf(image);
    const answer = await this.ask<"segment">({ kind: "segment", source, maxSide: options.maxSide ?? MAX_SIDE });
    return new PanopticResult(answer, this.card.categories);
  }

  /** The graph's own outputs for an image, by tensor name; for level `heads` also what follows from them. */
  async run(image: ImageInput): Promise<Outputs> {
    return this.ask<"run">({ kind: "run", source: await sourceOf(image) });
  }

  /** End the worker and free its memory. */
  close(): void {
    this.end("the segmenter was closed");
  }

  private end(reason: string): void {
    this.fail(reason);
    this.worker.terminate();
  }

  private fail(reason: string): void {
    this.failure ??= new MaskConverError(reason);
    for (const call of this.waiting.values()) call.reject(this.failure);
    this.waiting.clear();
    this.watch();
  }

  /** Wait for the next answer, if there is one to come. Seconds are counted one by one, so that sleep does not count. */
  private watch(): void {
    clearInterval(this.clock);
    if (this.waiting.size === 0) return;
    const minutes = this.patienceMinutes;
    let left = 60 * minutes;
    this.clock = setInterval(() => {
      if (--left > 0) return;
      this.end(
        `${this.model.name}: gave no answer for ${minutes} minutes and was stopped; use another model or runtime`,
      );
    }, 1000);
  }

  private ask<K extends Request["kind"]>(request: Extract<Request, { kind: K }>): Promise<Answers[K]> {
    if (this.failure !== null) return Promise.reject(this.failure);
    const id = this.next++;
    const message: Numbered<Request> = { ...request, id };
    const transfer = "source" in request && request.source instanceof ImageBitmap ? [request.source] : [];
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      if (this.waiting.size === 1) this.watch();
      this.worker.postMessage(message, transfer);
    });
  }
}

/** What to try, in order. */
async function plan(file: ModelFile, backend: Backend | "auto", threads: number, wasm: string): Promise<Wish[]> {
  const wishes: Wish[] = [{ backend: "wasm", threads: 1, wasm }];
  if (threads > 1 && crossOriginIsolated) wishes.unshift({ backend: "wasm", threads, wasm });
  const gpu = backend === "webgpu" || (backend === "auto" && (await gpuIsBetter(file)));
  return gpu ? [{ backend: "webgpu", threads: 1, wasm }, ...wishes] : wishes;
}

async function gpuIsBetter({ format, card }: ModelFile): Promise<boolean> {
  if (format !== "tflite" || INTEGER.test(card.recipe)) return false;
  const gpu = await findGpu();
  return gpu !== null && !gpu.software;
}

function describe({ backend, threads }: Wish): string {
  return backend === "webgpu" ? "WebGPU" : `the CPU with ${threads} thread${threads > 1 ? "s" : ""}`;
}

async function sourceOf(image: ImageInput): Promise<Source> {
  if (image instanceof Blob || image instanceof ImageData) return image;
  // A bitmap is handed over to the worker, so that the caller's own must be copied.
  return createImageBitmap(image, { colorSpaceConversion: "none", imageOrientation: "from-image" });
}

/** Where this module lies; spelled so that bundlers do not take it for an asset. */
function moduleUrl(): string {
  return import.meta.url;
}
