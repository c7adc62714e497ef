import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseCard } from "../../library/src/card.js";
import { MaskConverError } from "../../library/src/errors.js";
import { readModel } from "../../library/src/model_file.js";
import { widenWeights } from "../../library/src/widen.js";
import { OUT } from "./fixtures.js";

const NAMES = ["masks.tflite", "masks.onnx", "heads.tflite", "heads.onnx"];
const files = new Map(NAMES.map((name) => [name, new Uint8Array(readFileSync(`${OUT}fixtures/tiny/${name}`))]));
const card = JSON.parse(readFileSync(`${OUT}fixtures/card.json`, "utf8")) as Record<string, unknown>;

/** What is refused is refused in one line that begins with the file's name. */
function refusal(work: () => unknown): string | null {
  try {
    work();
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(MaskConverError);
    const { message } = error as MaskConverError;
    expect(message).toMatch(/^x: [^\n]+$/);
    expect(message.length).toBeLessThan(400);
    return message;
  }
}

const open = (bytes: Uint8Array<ArrayBuffer>) => readModel(bytes, "x");

describe.each(NAMES)("%s", (name) => {
  const file = files.get(name) as Uint8Array<ArrayBuffer>;

  test("says what it is", () => {
    const model = open(file);
    expect(model.format).toBe(name.split(".")[1]);
    expect(model.card.level).toBe(name.split(".")[0]);
    expect(model.card.inputSize).toEqual([96, 96]);
    expect(model.card.categories.length).toBeGreaterThan(0);
    expect(model.tail === null).toBe(model.card.level !== "heads");
  });

  test("cut off anywhere it is refused, or read where only what is behind the card is lost", () => {
    const step = Math.ceil(file.length / 400);
    for (let length = 0; length < file.length; length += step) refusal(() => open(file.slice(0, length)));
    for (let length = 0; length < 64; length++) expect(refusal(() => open(file.slice(0, length)))).not.toBeNull();
  });

  test("with any byte of its tables changed it is refused or read", () => {
    const random = generator(1);
    const damaged = file.slice();
    for (let round = 0; round < 3000; round++) {
      const changed: number[] = [];
      for (let i = 0; i <= round % 4; i++) {
        // Most of the changes hit the beginning and the end, where offsets are.
        const near = Math.floor(random() ** 4 * file.length);
        const at = random() < 0.5 ? near : file.length - 1 - near;
        damaged[at] = [0, 255, 128, 1, Math.floor(random() * 256)][round % 5] as number;
        changed.push(at);
      }
      refusal(() => open(damaged));
      for (const at of changed) damaged[at] = file[at] as number;
    }
  });
});

describe("weights of float16", () => {
  const read = (name: string) => new Uint8Array(readFileSync(`${OUT}fixtures/tiny/${name}.tflite`));
  const half = read("half");

  test("become float32 and are read without a detour", () => {
    const wide = widenWeights(half);
    expect(half.length).toBeLessThan(0.7 * read("masks").length);
    expect(wide.length).toBeGreaterThan(half.length + 2 * (read("masks").length - half.length) * 0.9);
    expect(readModel(wide, "x").card).toEqual(readModel(half, "x").card);
    expect(widenWeights(wide)).toBe(wide);
    expect(widenWeights(read("masks")).length).toBe(read("masks").length);
  });

  test("in a damaged file are refused or widened, and never take more memory than they may", () => {
    const random = generator(2);
    const damaged = half.slice();
    for (let round = 0; round < 600; round++) {
      const at = Math.floor(random() ** 4 * half.length);
      damaged[round % 2 ? at : half.length - 1 - at] = Math.floor(random() * 256);
      try {
        expect(widenWeights(damaged).length).toBeLessThan(5 * half.length);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
      if (round % 4 === 3) damaged.set(half);
    }
  });
});

test("other files are named for what they are", () => {
  const encode = (text: string) => new TextEncoder().encode(text);
  expect(refusal(() => open(new Uint8Array()))).toContain("has 0 bytes");
  expect(refusal(() => open(encode("<!doctype html>")))).toContain("is a web page and no model");
  expect(refusal(() => open(encode("\x1c\0\0\0ORTM")))).toContain(".ort file");
  expect(refusal(() => open(encode("\x1c\0\0\0TFL3")))).toContain("is a damaged TFLite model");
  expect(refusal(() => open(encode("not a model at all")))).toContain("is neither a TFLite nor an ONNX model");
  expect(refusal(() => open(Uint8Array.of(8, 7)))).toContain("carries no model card");
});

test("a protobuf with endless numbers or lengths ends", () => {
  for (const bytes of [
    [255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255],
    [0x72, 255, 255, 255, 255, 255, 255, 255, 255, 127],
    [0x0b],
  ]) {
    expect(refusal(() => open(Uint8Array.from(bytes)))).toContain("is neither");
  }
  expect(refusal(() => open(new Uint8Array(1 << 20)))).toContain("is neither");
});

describe("card", () => {
  const read = (changes: object) => parseCard(JSON.stringify({ ...card, ...changes }), "x");

  test("both schemas are read", () => {
    expect(read({}).halfPrecision).toBe(false);
    const second = read({ schema: 2, input_type: "pixels", half_precision: true });
    expect([second.inputType, second.halfPrecision]).toEqual(["pixels", true]);
    expect(second.mean).toEqual([123.675, 116.28, 103.53]);
  });

  test("what an int8 file says of its quality is passed over", () => {
    const verdict = { images: 12, held_aside: true, agreement: 0.9, stable_agreement: null, snr_db: { scores: 31.5 } };
    expect(read({ verdict })).toEqual(read({}));
  });

  test("a newer schema asks for a newer page", () => {
    expect(refusal(() => read({ schema: 3 }))).toContain("schema 3, newer than this page");
  });

  const ARITHMETIC = ["hard_sigmoid", "half_precision", "rescale_predictions", "heads"];
  const OPTIONAL = ["source", "tools", "passes", "roles", "joined", "verdict", ...ARITHMETIC];
  test.each(Object.keys(card).filter((key) => !OPTIONAL.includes(key)))("without a good %s it is refused", (key) => {
    for (const value of [null, undefined, {}, [], [1, 2, 3, 4], -1, true, "x".repeat(10_000)]) {
      if (typeof value === "string" && typeof card[key] === "string" && !["level", "input_type"].includes(key))
        continue;
      if (value === -1 && key.endsWith("threshold")) continue;
      if (Array.isArray(value) && value.length === 0 && key === "categories") continue;
      expect(refusal(() => read({ [key]: value }))).toContain("malformed");
    }
  });

  test("a semantic model has no things, and class 0", () => {
    const road = { id: 0, name: "road", is_thing: false, color: [1, 2, 3] };
    const found = read({ categories: [road], rescale_predictions: false });
    expect([found.categories[0]?.id, found.rescalePredictions]).toEqual([0, false]);
    expect(refusal(() => read({ categories: [road, { ...road, id: 1, is_thing: true }] }))).toContain("malformed");
  });

  test("heads of several levels are refused", () => {
    const rule = { levels: [], combination: "product", activation: "relu" };
    expect(refusal(() => read({ level: "heads", heads: rule }))).toBeNull();
    for (const other of [{ levels: [[4, 4]] }, { combination: "sum" }, { activation: "gelu" }, { levels: 3 }]) {
      expect(refusal(() => read({ level: "heads", heads: { ...rule, ...other } }))).toContain("--level masks");
    }
  });

  test.each(["", "{", "null", "[]", "7", '"card"', "[".repeat(100_000)])("%.12s is no card", (text) => {
    expect(refusal(() => parseCard(text, "x"))).not.toBeNull();
  });

  test.each([
    { id: 0 },
    { id: 1.5 },
    { id: 1e9 },
    { name: 3 },
    { color: [1, 2] },
    { color: [1, 2, 256] },
    { color: ["1", 2, 3] },
  ])("a category with %o is refused", (change) => {
    const good = { id: 1, name: "cat", is_thing: true, color: [1, 2, 3] };
    expect(read({ categories: [good] }).categories.length).toBe(1);
    expect(refusal(() => read({ categories: [{ ...good, ...change }] }))).toContain("malformed");
  });
});

/** Random numbers in 0..1, the same in every run (mulberry32). */
function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let value = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}
