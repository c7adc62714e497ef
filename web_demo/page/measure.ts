/** Latency on this device, on the built-in photograph. */
import type { PanopticResult, Segmenter } from "@maskconver/web";
import { agreement, type ExpectedMap } from "./models.js";

export const WARMUP = 3;
export const RUNS = 30;
export const MIN_SECONDS = 5;
export const STAGES = ["decode", "preprocess", "invoke", "merge", "draw"] as const;

export type Samples = Readonly<Record<(typeof STAGES)[number], readonly number[]>>;

export interface Measurement {
  readonly loadMs: number;
  readonly firstInvokeMs: number;
  readonly samples: Samples;
  /** With the expected map of the photograph; null where none is known. */
  readonly agreement: number | null;
}

export interface MeasureOptions {
  readonly photo: Blob;
  readonly expected: ExpectedMap | null;
  /** Draws the result, so that drawing is timed as well. */
  readonly draw: (result: PanopticResult) => void;
  readonly onAgreement: (agreement: number | null) => void;
  readonly onRun: (done: number, expected: number) => void;
  readonly signal: AbortSignal;
}

/** Warm up, then time at least 30 runs and 5 seconds. Throws where the page was hidden meanwhile, or stopped. */
export async function measure(segmenter: Segmenter, loadMs: number, options: MeasureOptions): Promise<Measurement> {
  const { photo, expected, draw, onAgreement, onRun, signal } = options;
  const samples = { decode: [], preprocess: [], invoke: [], merge: [], draw: [] } as Record<keyof Samples, number[]>;
  const first = await segmenter.segment(photo);
  const agreed = expected === null ? null : agreement(first.categoryMap(), first.size, expected);
  onAgreement(agreed);
  for (let i = 0; i < WARMUP; i++) await segmenter.segment(photo);
  const start = performance.now();
  const seconds = () => (performance.now() - start) / 1000;
  let done = 0;
  while (done < RUNS || seconds() < MIN_SECONDS) {
    if (signal.aborted) throw signal.reason;
    const result = await segmenter.segment(photo);
    const drawing = performance.now();
    draw(result);
    const times = { ...result.timings, draw: performance.now() - drawing };
    for (const stage of STAGES) samples[stage].push(times[stage]);
    done++;
    onRun(done, Math.max(RUNS, Math.round((done * MIN_SECONDS) / Math.max(seconds(), 0.001))));
  }
  if (signal.aborted) throw signal.reason;
  return { loadMs, firstInvokeMs: first.timings.invoke, samples, agreement: agreed };
}
