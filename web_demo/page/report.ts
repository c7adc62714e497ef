/** A measurement as the JSON that `maskconver-mobile benchmark` writes and its `compare` reads. */
import type { Device } from "./device.js";
import type { Loaded } from "./engine.js";
import { type Measurement, MIN_SECONDS, RUNS } from "./measure.js";
import type { Settings } from "./settings.js";
import { byPhoto, driftInTurn } from "./spread.js";
import { summarize } from "./statistics.js";

const SCHEMA = 2;
/** Below it the answer is not the model's, and a time of it is worth nothing. */
const AGREES = 0.98;
const THROTTLED = 1.1;
const RUNTIMES = { litert: "litert.js", onnx: "onnxruntime-web" } as const;

export type Report = ReturnType<typeof reportOf>;

export function reportOf(
  { segmenter, notes }: Pick<Loaded, "segmenter" | "notes">,
  settings: Settings,
  device: Device,
  found: Measurement,
) {
  const { got, card, model } = segmenter;
  const photos = byPhoto(found.names, found.samples);
  const slower = driftInTurn(found.samples.invoke, photos);
  const software = got.backend === "webgpu" && got.gpu?.software === true;
  const warnings = [...notes, ...segmenter.notes];
  if (found.agreement !== null && found.agreement < AGREES) {
    warnings.push(`only ${percent(found.agreement)} of the photograph's pixels have the expected category`);
  }
  if (slower > THROTTLED) warnings.push(`slowed down by ${percent(slower - 1)} from its first quarter to its last`);
  const result = {
    machine: device.id,
    model: model.name,
    sha256: device.sha256,
    size_bytes: model.bytes.length,
    runtime: RUNTIMES[got.runtime],
    runner: "browser",
    threads: got.threads,
    invoke: summarize(found.samples.invoke),
    input_size: card.inputSize,
    recipe: `${card.level}, ${card.target}, ${card.recipe}`,
    runtime_version: got.version,
    accelerator: got.backend === "webgpu" ? "gpu" : "cpu",
    cores: "",
    half_precision: false,
    samples_ms: found.samples.invoke,
    photos,
    load_cold_ms: found.loadMs,
    load_warm_ms: null,
    first_invoke_ms: found.firstInvokeMs,
    peak_rss_kib: null,
    rss_before_load_kib: null,
    drift: slower,
    ratio_to_first: null,
    stages: Object.fromEntries(Object.entries(found.samples).map(([stage, times]) => [stage, summarize(times)])),
    profile: null,
    verification: null,
    conditions: {},
    warnings,
  };
  const machine = {
    id: device.id,
    emulated: software,
    environment: {
      ...device.environment,
      isolated: crossOriginIsolated,
      relaxed_simd: got.relaxedSimd,
      gpu: got.gpu,
      asked: { runtime: settings.runtime, backend: settings.backend, threads: settings.threads },
      got: { runtime: got.runtime, backend: got.backend, threads: got.threads },
      agreement: found.agreement,
    },
    error: "",
    warnings: software ? ["its GPU is a program on the CPU"] : [],
  };
  return {
    schema: SCHEMA,
    created: new Date().toISOString().replace(/\.\d+Z$/, "+00:00"),
    settings: {
      page: location.origin + location.pathname,
      model: settings.model,
      runs: RUNS,
      warmup: found.warmup,
      min_seconds: MIN_SECONDS,
    },
    machines: [machine],
    results: [result],
    complete: true,
  };
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0.995 && share < 1 ? 2 : 1)}%`;
}
