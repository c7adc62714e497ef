import { describe, expect, test } from "vitest";
import type { InputType, Size, Triple } from "../../library/src/card.js";
import { Letterbox, restore } from "../../library/src/letterbox.js";
import { preprocess } from "../../library/src/preprocess.js";
import { difference, Fixture, type Stored } from "./fixtures.js";

const fixture = new Fixture<{
  mean: Triple;
  std: Triple;
  cases: { image: Stored<"uint8">; canvas: Size; tensors: Record<InputType, Stored<"uint8" | "float32">> }[];
  boxes: { image: Size; canvas: Size; scaled: Size; extent: Size }[];
}>("preprocess");
const { mean, std, cases, boxes } = fixture.cases;

test("there are cases enough", () => {
  expect(cases.length).toBeGreaterThanOrEqual(20);
  expect(boxes.length).toBeGreaterThan(900);
});

describe.each(["uint8", "pixels", "float32"] as const)("input type %s", (inputType) => {
  test.each(cases.map((entry) => [entry.image.shape.slice(0, 2).join("x"), entry] as const))(
    "%s equals Python's tensor in every bit",
    (_, { image, canvas, tensors }) => {
      const [height, width] = image.shape as [number, number, number];
      const pixels = { data: fixture.array(image), height, width, channels: 3 } as const;
      const { tensor } = preprocess(pixels, { inputSize: canvas, inputType, mean, std });
      const expected = fixture.array(tensors[inputType]);
      expect(tensor.constructor).toBe(expected.constructor);
      expect(difference(tensor, expected)).toBe(-1);
    },
  );
});

test("a fourth channel changes nothing", () => {
  const { image, canvas } = cases[8] as (typeof cases)[number];
  const [height, width] = image.shape as [number, number, number];
  const rgb = fixture.array(image);
  const rgba = Uint8Array.from({ length: height * width * 4 }, (_, i) =>
    i % 4 < 3 ? (rgb[Math.floor(i / 4) * 3 + (i % 4)] ?? 0) : 255,
  );
  const card = { inputSize: canvas, inputType: "uint8", mean, std } as const;
  const three = preprocess({ data: rgb, height, width, channels: 3 }, card).tensor;
  const four = preprocess({ data: rgba, height, width, channels: 4 }, card).tensor;
  expect(difference(four, three)).toBe(-1);
});

test("letterboxes equal Python's", () => {
  const found = boxes.map(({ image, canvas }) => Letterbox.fit(image, canvas));
  expect(found.map((box) => box.scaledSize)).toEqual(boxes.map((box) => box.scaled));
  expect(found.map((box) => box.extent)).toEqual(boxes.map((box) => box.extent));
});

test("restoring drops the padding and takes the nearest sample", () => {
  const letterbox = Letterbox.fit([2, 4], [4, 4]);
  const map = Int32Array.from({ length: 16 }, (_, i) => i);
  expect([...restore(map, [4, 4], letterbox)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect([...restore(map, [4, 4], letterbox.withImage([1, 2]))]).toEqual([5, 7]);
});
