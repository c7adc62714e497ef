/** The models that come with the page, and which one to take. */
import type { RuntimeName } from "@maskconver/web";
import type { Settings } from "./settings.js";

/** A category map as runs of category and length, row after row. */
export interface ExpectedMap {
  readonly size: readonly [number, number];
  readonly runs: readonly number[];
}

export interface ListedModel {
  readonly name: string;
  /** Address relative to the page. Beside it, with `.json` at its end, is the expected map of the built-in photograph. */
  readonly url: string;
  readonly label: string;
}

export function runtimeOf(url: string): RuntimeName {
  return url.endsWith(".onnx") ? "onnx" : "litert";
}

/**
 * The models to try, in order: the one asked for, or the one for the processor; then the first of the other runtime.
 * `notes` says where it is not what was asked for.
 */
export function candidates(
  models: readonly ListedModel[],
  settings: Settings,
): { order: ListedModel[]; notes: string[] } {
  const notes: string[] = [];
  const fits = models.filter(({ url }) => settings.runtime === "auto" || runtimeOf(url) === settings.runtime);
  let first = models.find(({ name }) => name === settings.model);
  if (first === undefined && settings.model !== "auto") notes.push(`there is no model ${settings.model} here`);
  if (first !== undefined && !fits.includes(first)) {
    notes.push(`${first.name} is not for this runtime; another model is used`);
    first = undefined;
  }
  // Integers gain nothing on a GPU, where they are another calculation.
  const suits = settings.backend === "webgpu" ? fits.find(({ name }) => !name.startsWith("int")) : undefined;
  first ??= suits ?? fits[0] ?? models[0];
  if (first === undefined) return { order: [], notes };
  const taken = runtimeOf(first.url);
  const other = models.find(({ url }) => runtimeOf(url) !== taken);
  return { order: other === undefined ? [first] : [first, other], notes };
}

/** Share of pixels whose category is the expected one; null for a map of another size. */
export function agreement(map: Int32Array, size: readonly [number, number], expected: ExpectedMap): number | null {
  if (size[0] !== expected.size[0] || size[1] !== expected.size[1]) return null;
  let [at, equal] = [0, 0];
  for (let i = 0; i + 1 < expected.runs.length; i += 2) {
    const end = Math.min(map.length, at + (expected.runs[i + 1] as number));
    for (; at < end; at++) if (map[at] === expected.runs[i]) equal++;
  }
  return equal / map.length;
}
