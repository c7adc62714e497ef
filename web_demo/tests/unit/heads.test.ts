import { expect, test } from "vitest";
import { readNpz } from "../../library/src/npz.js";
import { finishHeads, type HeadMap, readTail } from "../../library/src/tail.js";
import { difference, Fixture, type Stored } from "./fixtures.js";

type Name = "heatmap" | "embeddings" | "pixels" | "scores" | "logits";
const fixture = new Fixture<Record<Name, Stored<"float32">> & { tail: Stored<"uint8">; classes: Stored<"int32"> }>(
  "heads",
);
const stored = fixture.cases;
const archive = fixture.array(stored.tail);

const mapOf = (name: Name): HeadMap => ({
  shape: stored[name].shape as [number, number, number],
  data: fixture.array(stored[name]),
});

test("the host's half of the network gives Python's proposals", () => {
  const tail = readTail(archive);
  const found = finishHeads(mapOf("heatmap"), mapOf("embeddings"), mapOf("pixels"), tail, stored.scores.shape[0] ?? 0);
  expect(difference(found.classes, fixture.array(stored.classes))).toBe(-1);
  fixture.array(stored.scores).forEach((score, i) => expect(found.scores[i]).toBeCloseTo(score, 6));
  const logits = fixture.array(stored.logits);
  expect(found.logits.length).toBe(logits.length);
  logits.forEach((logit, i) => expect(Math.abs((found.logits[i] as number) - logit)).toBeLessThan(1e-4));
});

test("too few peaks are filled up", () => {
  const heatmap = { shape: [2, 2, 1], data: Float32Array.of(-9, 5, -9, -9) } as const;
  const flat = { shape: [2, 2, 8], data: new Float32Array(32) } as const;
  const { scores, classes } = finishHeads(heatmap, flat, flat, readTail(archive), 3);
  expect(Array.from(scores, (score) => score > 0.5)).toEqual([true, false, false]);
  expect([...scores.slice(1)]).toEqual([0, 0]);
  expect([...classes]).toEqual([0, 0, 0]);
});

test("a damaged archive throws and never hangs", () => {
  expect(readNpz(archive).size).toBe(5);
  for (let length = 0; length < archive.length; length += 7) expect(() => readTail(archive.slice(0, length))).toThrow();
  for (let at = 0; at < archive.length; at++) {
    const damaged = archive.slice();
    damaged[at] = (damaged[at] as number) ^ 255;
    try {
      expect(readTail(damaged).kernels.length).toBe(128);
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
    }
  }
});
