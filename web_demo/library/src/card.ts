/** The model card: what a model file says of itself, as JSON inside the file. */
import { MaskConverError } from "./errors.js";

export const CARD_KEY = "maskconver_card";
export const TAIL_KEY = "maskconver_tail";
const SCHEMAS = [1, 2];
const LEVELS = ["heads", "masks", "panoptic"] as const;
const INPUT_TYPES = ["uint8", "pixels", "float32"] as const;
const MAX_SIDE = 1 << 14;

export type Level = (typeof LEVELS)[number];
export type InputType = (typeof INPUT_TYPES)[number];
/** (height, width) in pixels, as everywhere in this library. */
export type Size = readonly [number, number];
export type Triple = readonly [number, number, number];

/** One class of the label set; `id` is the value that stands in category maps. */
export interface Category {
  readonly id: number;
  readonly name: string;
  readonly isThing: boolean;
  readonly color: Triple;
}

/** Everything a reader of a model file needs besides its tensors. */
export interface ModelCard {
  readonly name: string;
  /** Where the graph ends. */
  readonly level: Level;
  readonly target: string;
  readonly recipe: string;
  readonly inputSize: Size;
  /** `uint8` takes rounded RGB pixels, `pixels` the same unrounded in float32, `float32` takes `(pixel - mean) / std`. */
  readonly inputType: InputType;
  readonly mean: Triple;
  readonly std: Triple;
  /** Of the canvas on which proposals are merged. */
  readonly outputSize: Size;
  readonly numInstances: number;
  readonly numClasses: number;
  readonly objectMaskThreshold: number;
  readonly overlapThreshold: number;
  readonly smallAreaThreshold: number;
  readonly hardSigmoid: boolean;
  /** Masks are merged at the picture's size, else on the canvas as it is. */
  readonly rescalePredictions: boolean;
  readonly halfPrecision: boolean;
  /** The label set. Where one has id 0 there are no things: that class is real, and what is left over gets it. */
  readonly categories: readonly Category[];
  readonly source: Readonly<Record<string, string>>;
}

/** Read a card; `file` names its origin in errors. */
export function parseCard(text: string, file: string): ModelCard {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    throw new MaskConverError(`${file}: its model card is not readable; convert it again`);
  }
  const schema = isRecord(raw) ? raw.schema : undefined;
  if (typeof schema === "number" && schema > Math.max(...SCHEMAS)) {
    throw new MaskConverError(`${file}: its model card has schema ${schema}, newer than this page; update the page`);
  }
  try {
    if (!isRecord(raw) || !SCHEMAS.includes(schema as number))
      throw new TypeError(`schema ${String(schema).slice(0, 40)}`);
    const card = cardOf(raw);
    if (card.level === "heads" && !isPlain(raw.heads)) {
      throw new MaskConverError(`${file}: heads of several levels are not run here; convert it with --level masks`);
    }
    return card;
  } catch (error) {
    if (error instanceof MaskConverError) throw error;
    const reason = error instanceof TypeError ? error.message : "unexpected content";
    throw new MaskConverError(`${file}: its model card is malformed (${reason}); convert it again`);
  }
}

function cardOf(raw: Record<string, unknown>): ModelCard {
  return {
    name: text(raw, "name"),
    level: oneOf(raw, "level", LEVELS),
    target: text(raw, "target"),
    recipe: text(raw, "recipe"),
    inputSize: size(raw, "input_size"),
    inputType: oneOf(raw, "input_type", INPUT_TYPES),
    mean: triple(raw.mean, "mean", finite),
    std: triple(raw.std, "std", (value) => finite(value) && value > 0),
    outputSize: size(raw, "output_size"),
    numInstances: count(raw.num_instances, "num_instances"),
    numClasses: count(raw.num_classes, "num_classes"),
    objectMaskThreshold: number(raw, "object_mask_threshold"),
    overlapThreshold: number(raw, "overlap_threshold"),
    smallAreaThreshold: number(raw, "small_area_threshold"),
    hardSigmoid: raw.hard_sigmoid === true,
    rescalePredictions: raw.rescale_predictions !== false,
    halfPrecision: raw.half_precision === true,
    categories: categories(raw.categories),
    source: Object.fromEntries(
      Object.entries(isRecord(raw.source) ? raw.source : {}).map(([key, value]) => [key, String(value)]),
    ),
  };
}

/** Whether the way from the heads on is that of a single map, a product and a relu, the only one here. */
function isPlain(heads: unknown): boolean {
  if (heads === undefined) return true;
  const one = isRecord(heads) && Array.isArray(heads.levels) && heads.levels.length === 0;
  return one && heads.combination === "product" && heads.activation === "relu";
}

function categories(raw: unknown): Category[] {
  if (!Array.isArray(raw) || raw.length > MAX_SIDE) throw new TypeError("categories");
  const found = raw.map((entry: unknown, position) => {
    const where = `category ${position}`;
    if (!isRecord(entry)) throw new TypeError(where);
    const color = triple(
      entry.color,
      `${where} color`,
      (value) => Number.isInteger(value) && value >= 0 && value < 256,
    );
    const id = entry.id === 0 ? 0 : count(entry.id, `${where} id`);
    return { id, name: text(entry, "name"), isThing: entry.is_thing === true, color };
  });
  if (found.some(({ id }) => id === 0) && found.some(({ isThing }) => isThing))
    throw new TypeError("things beside id 0");
  return found;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(raw: Record<string, unknown>, key: string): string {
  const value = raw[key];
  if (typeof value !== "string") throw new TypeError(key);
  return value;
}

function oneOf<T extends string>(raw: Record<string, unknown>, key: string, known: readonly T[]): T {
  const found = known.find((value) => value === raw[key]);
  if (found === undefined) throw new TypeError(`${key} ${String(raw[key]).slice(0, 40)}`);
  return found;
}

function finite(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function number(raw: Record<string, unknown>, key: string): number {
  const value = raw[key];
  if (!finite(value)) throw new TypeError(key);
  return value;
}

function count(value: unknown, key: string): number {
  if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > MAX_SIDE) throw new TypeError(key);
  return value as number;
}

function size(raw: Record<string, unknown>, key: string): Size {
  const value = raw[key];
  if (!Array.isArray(value) || value.length !== 2) throw new TypeError(key);
  return [count(value[0], key), count(value[1], key)];
}

function triple(value: unknown, key: string, valid: (part: number) => boolean): Triple {
  if (!Array.isArray(value) || value.length !== 3 || !value.every((part) => finite(part) && valid(part))) {
    throw new TypeError(key);
  }
  return [value[0], value[1], value[2]];
}
