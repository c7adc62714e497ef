/** Timings of several photographs taken in turn; the same as the Python package computes. */
import { drift, percentile, type Statistics, summarize } from "./statistics.js";

export const STAGES = ["decode", "preprocess", "invoke", "merge"] as const;

/** Milliseconds of every run, by stage. */
export type Samples = Readonly<Record<(typeof STAGES)[number], readonly number[]>>;

/** One photograph, as it stands in a report. */
export interface PhotoTiming {
  readonly photo: string;
  readonly invoke: Statistics;
  readonly samples_ms: readonly number[];
  /** Medians. */
  readonly stages: Readonly<Record<string, number>>;
}

/** Milliseconds over photographs, of which each counts by its median. */
export interface Spread {
  readonly median: number;
  readonly p90: number;
  readonly worst: number;
  readonly worstPhoto: string;
}

/** Run `i` was of photograph `i` modulo their number. */
export function byPhoto(names: readonly string[], samples: Samples): PhotoTiming[] {
  return names.map((photo, own) => {
    const part = (times: readonly number[]) => times.filter((_, i) => i % names.length === own);
    const invoke = part(samples.invoke);
    const medians = STAGES.map((stage) => [stage, summarize(part(samples[stage])).p50] as const);
    return { photo, invoke: summarize(invoke), samples_ms: invoke, stages: Object.fromEntries(medians) };
  });
}

export function spread(photos: readonly PhotoTiming[]): Spread {
  const slowestFirst = [...photos].sort((a, b) => b.invoke.p50 - a.invoke.p50);
  const sorted = slowestFirst.map(({ invoke }) => invoke.p50).reverse();
  const worst = percentile(sorted, 1);
  return {
    median: percentile(sorted, 0.5),
    p90: percentile(sorted, 0.9),
    worst,
    worstPhoto: slowestFirst[0]?.photo ?? "",
  };
}

/** As `drift`, with each run against its photograph's median. */
export function driftInTurn(samples: readonly number[], photos: readonly PhotoTiming[]): number {
  return drift(samples.map((time, i) => time / (photos[i % photos.length] as PhotoTiming).invoke.p50));
}
