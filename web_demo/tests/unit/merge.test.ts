import { expect, test } from "vitest";
import type { Category, Size } from "../../library/src/card.js";
import { segmentColors } from "../../library/src/colors.js";
import { Letterbox } from "../../library/src/letterbox.js";
import { type MergeRule, merge, type Proposals } from "../../library/src/merge.js";
import { panopticOf } from "../../library/src/panoptic.js";
import { difference, Fixture, type Stored } from "./fixtures.js";

interface Case {
  logits: Stored<"float32">;
  scores: Stored<"float32">;
  classes: Stored<"int32">;
  image: Size | null;
  canvas: Size | null;
  rule: Record<"object_mask_threshold" | "overlap_threshold" | "small_area_threshold", number> & {
    output_size: Size;
    hard_sigmoid: boolean;
    rescale: boolean;
    things: number[];
  };
  categories: Stored<"int32">;
  instances: Stored<"int32">;
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
  colors: [number, number[]][];
}

const fixture = new Fixture<{ labels: Category[]; cases: Case[] }>("merge");

const proposalsOf = ({ logits, scores, classes }: Case): Proposals => {
  const [height, width, count] = logits.shape as [number, number, number];
  const [values, found] = [fixture.array(logits), fixture.array(scores)];
  return { height, width, count, logits: values, scores: found, classes: fixture.array(classes) };
};

const ruleOf = ({ rule }: Case): MergeRule => ({
  objectMaskThreshold: rule.object_mask_threshold,
  overlapThreshold: rule.overlap_threshold,
  smallAreaThreshold: rule.small_area_threshold,
  outputSize: rule.output_size,
  hardSigmoid: rule.hard_sigmoid,
  rescalePredictions: rule.rescale,
  things: new Set(rule.things),
});

const boxOf = ({ image, canvas }: Case) => (image === null || canvas === null ? null : Letterbox.fit(image, canvas));

const { labels, cases } = fixture.cases;

test.each(cases.map((entry, i) => [i, entry] as const))("case %i equals Python in every pixel", (_, entry) => {
  const maps = merge(proposalsOf(entry), boxOf(entry), ruleOf(entry));
  expect([...maps.size]).toEqual(entry.categories.shape);
  expect(difference(maps.categories, fixture.array(entry.categories))).toBe(-1);
  expect(difference(maps.instances, fixture.array(entry.instances))).toBe(-1);
  const { map, segments } = panopticOf(maps, fixture.array(entry.classes), fixture.array(entry.scores), labels);
  expect(difference(map, fixture.array(entry.panoptic))).toBe(-1);
  expect(segments.map((s) => [s.id, s.categoryId, s.label, s.isThing, s.area, ...s.bbox])).toEqual(
    entry.segments.map((s) => [s.id, s.category_id, s.label, s.is_thing, s.area, ...s.bbox]),
  );
  segments.forEach((segment, i) => expect(segment.score).toBeCloseTo(entry.segments[i]?.score ?? -1, 6));
  expect([...segmentColors(segments, labels)]).toEqual(entry.colors);
});

const RULE = { ...ruleOf(cases[0] as Case), overlapThreshold: 0, smallAreaThreshold: 0, outputSize: [32, 32] } as const;

function flat(logit: number, scores: number[], first = logit): Proposals {
  const [height, width, count] = [4, 4, scores.length];
  const logits = new Float32Array(height * width * count).fill(logit).fill(first, 0, count);
  return {
    height,
    width,
    count,
    logits,
    scores: Float32Array.from(scores),
    classes: Int32Array.from(scores, (_, i) => i + 1),
  };
}

test.each([
  ["the first of equals wins", flat(30, [0.4, 0.8, 0.8]), 2],
  ["masks far below zero fall to the best score", flat(-2000, [0.4, 0.8], 1), 2],
  ["masks that float32 takes for zero too", flat(-200, [0.4, 0.8], 1), 2],
])("%s", (_, proposals, winner) => {
  const { categories } = merge(proposals, null, RULE);
  expect(new Set(categories)).toEqual(new Set([winner]));
});

test("no proposal, or only bad numbers, is an empty map", () => {
  for (const proposals of [flat(1, []), flat(1, [0]), flat(Number.NaN, [Number.NaN])]) {
    expect(new Set(merge(proposals, null, RULE).categories)).toEqual(new Set([0]));
  }
  expect(merge(flat(Number.NaN, [0.9]), null, RULE).categories.length).toBe(32 * 32);
});

test("category 0 is a class where the label set has it, else void", () => {
  const maps = { size: [1, 3], categories: Int32Array.of(0, 0, 2), instances: new Int32Array(3) } as const;
  const road: Category = { id: 0, name: "road", isThing: false, color: [0, 0, 0] };
  const sky: Category = { ...road, id: 2, name: "sky" };
  const found = [[road, sky], [sky]].map((set) => panopticOf(maps, Int32Array.of(2), Float32Array.of(0.9), set));
  expect(found.map(({ map }) => [...map])).toEqual([
    [1, 1, 2],
    [0, 0, 1],
  ]);
  expect(found.map(({ segments }) => segments.map(({ label }) => label))).toEqual([["sky", "road"], ["sky"]]);
});
