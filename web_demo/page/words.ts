/** What the page says in words. */
import type { PanopticResult } from "@maskconver/web";
import type { Loaded } from "./engine.js";
import type { Measurement } from "./measure.js";
import { percent } from "./report.js";
import type { Settings } from "./settings.js";
import { byPhoto, driftInTurn, spread } from "./spread.js";
import { summarize } from "./statistics.js";

const RUNTIMES = { auto: "any runtime", litert: "LiteRT.js", onnx: "ONNX Runtime Web" };
const BACKENDS = { auto: "any processor", wasm: "CPU", webgpu: "WebGPU" };

export function describeGot({ model, runtime, backend, threads }: Settings, { segmenter, notes }: Loaded): string {
  const { got } = segmenter;
  const count = threads === "auto" ? "threads as they fit" : plural(threads, "thread");
  const asked = [model === "auto" ? "any model" : model, RUNTIMES[runtime], BACKENDS[backend], count].join(", ");
  const gpu =
    got.gpu === null
      ? ""
      : ` (${[got.gpu.vendor, got.gpu.architecture].filter(Boolean).join(" ")}${got.gpu.software ? ", a program on the CPU" : ""})`;
  const where = got.backend === "webgpu" ? `WebGPU${gpu}` : `CPU, ${plural(got.threads, "thread")}`;
  const found = `${segmenter.model.name}, ${RUNTIMES[got.runtime]} ${got.version}, ${where}`;
  return [`Asked: ${asked}. Got: ${found}.`, ...[...notes, ...segmenter.notes].map((note) => `Note: ${note}.`)].join(
    " ",
  );
}

export function describeResult({ size, timings, segments }: PanopticResult, software: boolean, first: boolean): string {
  const [height, width] = size;
  const what = `${plural(segments.length, "segment")} at ${width}x${height}`;
  if (software) return `${what}. The GPU is a program on the CPU here, so its times are not shown.`;
  const { decode, preprocess, invoke, merge } = timings;
  const total = decode + preprocess + invoke + merge;
  return `${what} in ${ms(total)}: decode ${ms(decode)}, resize ${ms(preprocess)}, model ${ms(invoke)}, merge ${ms(merge)}${first ? " (a first run is slow)" : ""}`;
}

export function describeAgreement(agreement: number | null): string {
  if (agreement === null) return "There is no expected answer to compare with.";
  return `The answer agrees with the expected one in ${percent(agreement)} of the photograph's pixels.`;
}

/** Rows of the table of times: what, and how long. */
export function describeTimes({ samples, names, firstInvokeMs, loadMs }: Measurement): [string, string][] {
  const photos = byPhoto(names, samples);
  const { median, p90, worst, worstPhoto } = spread(photos);
  const { min, count } = summarize(samples.invoke);
  const stages = Object.entries(samples).filter(([stage]) => stage !== "invoke");
  return [
    ["Model, median of the photographs", ms(median)],
    ["Model, their 90th percentile", ms(p90)],
    ["Model, slowest photograph", `${ms(worst)}, ${worstPhoto}`],
    ["Model, shortest run", ms(min)],
    ["Runs", `${count} of ${plural(names.length, "photograph")}`],
    ["First run", ms(firstInvokeMs)],
    ["Loading", ms(loadMs)],
    ["Last quarter against first", percent(driftInTurn(samples.invoke, photos))],
    ...stages.map(([stage, times]): [string, string] => [
      `${stage[0]?.toUpperCase()}${stage.slice(1)}, median`,
      ms(summarize(times).p50),
    ]),
  ];
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}
