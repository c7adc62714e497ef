/** Reads what `fixtures.py` wrote. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const OUT = fileURLToPath(new URL("../../out/", import.meta.url));
const KINDS = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array };

export interface Stored<K extends keyof typeof KINDS> {
  dtype: K;
  shape: number[];
  at: number;
}

export class Fixture<T> {
  readonly cases: T;
  private readonly bytes: Uint8Array;

  constructor(name: string) {
    this.cases = JSON.parse(readFileSync(`${OUT}fixtures/${name}.json`, "utf8")) as T;
    this.bytes = new Uint8Array(readFileSync(`${OUT}fixtures/${name}.bin`));
  }

  array<K extends keyof typeof KINDS>({ dtype, shape, at }: Stored<K>): InstanceType<(typeof KINDS)[K]> {
    const count = shape.reduce((product, side) => product * side, 1);
    return new KINDS[dtype](this.bytes.buffer as ArrayBuffer, at, count) as InstanceType<(typeof KINDS)[K]>;
  }
}

/** The first index where two arrays differ, -1 if they are equal in every value. */
export function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return i;
  return -1;
}
