/** Latency on this device, on the photographs that come with the page. */
import type { PanopticResult, Segmenter } from "@maskconver/web";
import { agreement, type ExpectedMap } from "./models.js";
import type { Samples } from "./spread.js";

const WARMUP = 3;
export const RUNS = 30;
export const MIN_SECONDS = 5;

export interface Photograph {
  readonly name: string;
  readonly picture: Blob;
}

export interface Measurement {
  readonly loadMs: number;
  readonly firstInvokeMs: number;
  readonly warmup: number;
  /** Of the photographs, which the runs took in turn. */
  readonly names: readonly string[];
  readonly samples: Samples & { readonly draw: readonly number[] };
  /** With the expected map of the first photograph; null where none is known. */
  readonly agreement: number | null;
}

export interface MeasureOptions {
  /** The built-in one first, which stands alone for loading and for the answer. */
  readonly photos: readonly [Photograph, ...Photograph[]];
  readonly expected: ExpectedMap | null;
  /** Draws the result, so that drawing is timed as well. */
  readonly draw: (result: PanopticResult, name: string) => void;
  readonly onAgreement: (agreement: number | null) => void;
  readonly onRun: (done: number, expected: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Warm up, then time at least 30 runs and 5 seconds, every photograph equally often. Throws where the page was hidden
 * meanwhile, or stopped.
 */
export async function measure(segmenter: Segmenter, loadMs: number, options: MeasureOptions): Promise<Measurement> {
  const { photos, expected, draw, onAgreement, onRun, signal } = options;
  const samples = { decode: [], preprocess: [], invoke: [], merge: [], draw: [] } as Record<
    keyof Measurement["samples"],
    number[]
  >;
  const take = (run: number) => photos[run % photos.length] as Photograph;
  const first = await segmenter.segment(photos[0].picture);
  const agreed = expected === null ? null : agreement(first.categoryMap(), first.size, expected);
  onAgreement(agreed);
  const warmup = Math.max(WARMUP, photos.length);
  for (let i = 0; i < warmup; i++) {
    if (signal.aborted) throw signal.reason;
    await segmenter.segment(take(i).picture);
  }
  const start = performance.now();
  const seconds = () => (performance.now() - start) / 1000;
  const least = Math.ceil(RUNS / photos.length) * photos.length;
  let done = 0;
  while (done < least || done % photos.length > 0 || seconds() < MIN_SECONDS) {
    if (signal.aborted) throw signal.reason;
    const { name, picture } = take(done);
    const result = await segmenter.segment(picture);
    const drawing = performance.now();
    draw(result, name);
    const times = { ...result.timings, draw: performance.now() - drawing };
    for (const [stage, time] of Object.entries(times)) samples[stage as keyof typeof times].push(time);
    done++;
    onRun(done, Math.max(least, Math.round((done * MIN_SECONDS) / Math.max(seconds(), 0.001))));
  }
  if (signal.aborted) throw signal.reason;
  const names = photos.map(({ name }) => name);
  return { loadMs, firstInvokeMs: first.timings.invoke, warmup, names, samples, agreement: agreed };
}
