/** Numbers that describe a row of timings; the same as the Python package computes. */

export interface Statistics {
  readonly count: number;
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly max: number;
  readonly p25: number;
  readonly p50: number;
  readonly p75: number;
  readonly p90: number;
  readonly p95: number;
}

/** Describe timings; percentiles interpolate linearly between neighbors. */
export function summarize(samples: readonly number[]): Statistics {
  const sorted = [...samples].sort((a, b) => a - b);
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  const variance = sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / sorted.length;
  return {
    count: sorted.length,
    mean,
    std: Math.sqrt(variance),
    min: percentile(sorted, 0),
    max: percentile(sorted, 1),
    p25: percentile(sorted, 0.25),
    p50: percentile(sorted, 0.5),
    p75: percentile(sorted, 0.75),
    p90: percentile(sorted, 0.9),
    p95: percentile(sorted, 0.95),
  };
}

/** Median of the last quarter over median of the first: above 1 where the device slowed down. */
export function drift(samples: readonly number[]): number {
  const quarter = Math.floor(samples.length / 4);
  return quarter === 0 ? 1 : summarize(samples.slice(-quarter)).p50 / summarize(samples.slice(0, quarter)).p50;
}

/** Of sorted numbers. */
export function percentile(sorted: readonly number[], share: number): number {
  const place = share * (sorted.length - 1);
  const low = sorted[Math.floor(place)] ?? Number.NaN;
  const high = sorted[Math.ceil(place)] ?? Number.NaN;
  return low + (high - low) * (place - Math.floor(place));
}
