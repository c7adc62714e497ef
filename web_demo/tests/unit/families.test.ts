/** Model files of other families: semantic, of several levels, of inputs that are not square. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { readModel } from "../../library/src/model_file.js";
import { segmentPicture } from "../../library/src/pipeline.js";
import { preprocess } from "../../library/src/preprocess.js";
import type { Got, Output, Runtime } from "../../library/src/runtime.js";
import { difference, Fixture, OUT, type Stored } from "./fixtures.js";

interface Case {
  name: string;
  card: Record<"inputSize" | "outputSize", number[]> & Record<"numInstances" | "numClasses", number>;
  image: Stored<"uint8">;
  tensor: Stored<"float32">;
  outputs: Record<string, Stored<"float32" | "int32">>;
  categories: Stored<"int32">;
  panoptic: Stored<"int32">;
  segments: {
    id: number;
    category_id: number;
    label: string;
    is_thing: boolean;
    score: number;
    area: number;
    bbox: number[];
  }[];
}

const fixture = new Fixture<Case[]>("families");

test("the cases are what they are for", () => {
  const named = (name: string) => fixture.cases.filter((entry) => entry.name.startsWith(name));
  const categories = (name: string) => named(name).map((entry) => new Set(fixture.array(entry.categories)));
  expect(categories("semantic").map((found) => found.has(0) && found.size > 2)).toEqual([true, true]);
  expect(named("levels").map(({ segments }) => segments.some((s) => s.is_thing))).toEqual([true, true]);
  for (const { card } of fixture.cases) expect(card.inputSize[0]).not.toBe(card.inputSize[1]);
});

describe.each(fixture.cases.map((entry) => [entry.name, entry] as const))("%s", (name, entry) => {
  const model = readModel(new Uint8Array(readFileSync(`${OUT}fixtures/families/${name}`)), name);
  const [height, width] = entry.image.shape as [number, number, number];
  const pixels = { data: fixture.array(entry.image), height, width, channels: 3 } as const;

  test("has Python's card and input", () => {
    expect(model.card).toMatchObject(entry.card);
    expect(difference(preprocess(pixels, model.card).tensor, fixture.array(entry.tensor))).toBe(-1);
  });

  test("gives Python's segments", async () => {
    const outputs = new Map(
      Object.entries(entry.outputs).map(([key, stored]): [string, Output] => [
        key,
        { shape: stored.shape, data: fixture.array(stored) },
      ]),
    );
    const runtime: Runtime = { got: {} as Got, run: () => Promise.resolve(outputs) };
    const picture = { pixels, shown: { height, width } as ImageData };
    const { map, segments } = await segmentPicture(model, runtime, picture, 0);
    expect(difference(map, fixture.array(entry.panoptic))).toBe(-1);
    const categoryOf = new Map(segments.map(({ id, categoryId }) => [id, categoryId]));
    const categories = map.map((id) => categoryOf.get(id) ?? 0);
    expect(difference(categories, fixture.array(entry.categories))).toBe(-1);
    expect(segments.map((s) => [s.id, s.categoryId, s.label, s.isThing, s.area, ...s.bbox])).toEqual(
      entry.segments.map((s) => [s.id, s.category_id, s.label, s.is_thing, s.area, ...s.bbox]),
    );
    segments.forEach((segment, i) => expect(segment.score).toBeCloseTo(entry.segments[i]?.score ?? -1, 6));
  });
});
