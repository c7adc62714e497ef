import { readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import type { Segmenter } from "@maskconver/web";
import { agreement, candidates, type ListedModel } from "../../page/models.js";
import type { Measurement } from "../../page/measure.js";
import { reportOf } from "../../page/report.js";
import { addressOf, readSettings, writeSettings } from "../../page/settings.js";
import { byPhoto, driftInTurn, spread } from "../../page/spread.js";
import { drift, summarize } from "../../page/statistics.js";
import { OUT } from "./fixtures.js";

const AUTO = { model: "auto", runtime: "auto", backend: "auto", threads: "auto", run: false } as const;

describe("settings", () => {
  test.each([
    ["", AUTO],
    ["#model=int8&backend=wasm&threads=4&run=1", { ...AUTO, model: "int8", backend: "wasm", threads: 4, run: true }],
    ["#runtime=onnx", { ...AUTO, runtime: "onnx" }],
    ["#backend=tpu&threads=-1&runtime=x&run=yes&more=1", AUTO],
    ["#threads=1e9", AUTO],
  ])("%s", (hash, expected) => {
    expect(readSettings(hash)).toEqual(expected);
    expect(readSettings(writeSettings(readSettings(hash)))).toEqual(expected);
  });

  test("names are told from addresses", () => {
    const base = "https://here.example/demo/";
    expect(addressOf("int8", base)).toBeNull();
    expect(addressOf("own/a.tflite", base)?.href).toBe("https://here.example/demo/own/a.tflite");
    expect(addressOf("https://there.example/a.onnx", base)?.host).toBe("there.example");
    for (const none of ["data:,a.onnx", "javascript:alert(1).onnx", "file:///a.onnx", "http://"])
      expect(addressOf(none, base), none).toBeNull();
  });
});

describe("models", () => {
  const listed: ListedModel[] = ["int8.tflite", "float16.tflite", "onnx.onnx"].map((url) => ({
    name: url.split(".")[0] as string,
    url,
    label: url,
  }));
  const order = (settings: object) => candidates(listed, { ...AUTO, ...settings }).order.map(({ name }) => name);

  test("what is taken, and what is tried when it fails", () => {
    expect(order({})).toEqual(["int8", "onnx"]);
    expect(order({ backend: "webgpu" })).toEqual(["float16", "onnx"]);
    expect(order({ runtime: "onnx" })).toEqual(["onnx", "int8"]);
    expect(order({ model: "float16", backend: "wasm" })).toEqual(["float16", "onnx"]);
    expect(candidates([], AUTO).order).toEqual([]);
  });

  test("what is not as asked is said", () => {
    const notes = (settings: object) => candidates(listed, { ...AUTO, ...settings }).notes;
    expect(notes({})).toEqual([]);
    expect(notes({ model: "none" })).toEqual(["there is no model none here"]);
    expect(notes({ model: "int8", runtime: "onnx" })).toEqual(["int8 is not for this runtime; another model is used"]);
  });

  test("agreement is the share of equal pixels", () => {
    const expected = { size: [2, 3], runs: [7, 4, 0, 2] } as const;
    expect(agreement(Int32Array.of(7, 7, 7, 7, 0, 0), [2, 3], expected)).toBe(1);
    expect(agreement(Int32Array.of(7, 7, 0, 7, 0, 7), [2, 3], expected)).toBeCloseTo(4 / 6);
    expect(agreement(Int32Array.of(7, 7, 7, 7, 0, 0), [3, 2], expected)).toBeNull();
  });
});

test("statistics are those of Python", () => {
  const cases = JSON.parse(readFileSync(`${OUT}fixtures/statistics.json`, "utf8")) as {
    samples: number[];
    drift: number;
    statistics: Record<string, number>;
  }[];
  expect(cases.length).toBeGreaterThan(3);
  for (const { samples, statistics, drift: slower } of cases) {
    const found = summarize(samples) as unknown as Record<string, number>;
    expect(Object.keys(found).sort()).toEqual(Object.keys(statistics).sort());
    for (const [name, value] of Object.entries(statistics)) expect(found[name], name).toBeCloseTo(value, 9);
    expect(drift(samples)).toBeCloseTo(slower, 9);
  }
});

test("photographs are described as in Python", () => {
  const cases = JSON.parse(readFileSync(`${OUT}fixtures/spread.json`, "utf8")) as {
    names: string[];
    samples: number[];
    drift: number;
    medians: number[];
    spread: { median: number; p90: number; worst: number; worst_photo: string };
  }[];
  expect(cases.length).toBeGreaterThan(2);
  for (const { names, samples, medians, ...expected } of cases) {
    const photos = byPhoto(names, { decode: samples, preprocess: samples, invoke: samples, merge: samples });
    const found = spread(photos);
    expect(photos.map(({ photo }) => photo)).toEqual(names);
    photos.forEach(({ invoke }, i) => expect(invoke.p50).toBeCloseTo(medians[i] as number, 9));
    expect(found.worstPhoto).toBe(expected.spread.worst_photo);
    expect(found.median).toBeCloseTo(expected.spread.median, 9);
    expect(found.p90).toBeCloseTo(expected.spread.p90, 9);
    expect(found.worst).toBeCloseTo(expected.spread.worst, 9);
    expect(driftInTurn(samples, photos)).toBeCloseTo(expected.drift, 9);
  }
});

describe("report", () => {
  vi.stubGlobal("crossOriginIsolated", true);
  vi.stubGlobal("location", new URL("https://here.example/demo/#run=1"));
  // Two photographs, of which one takes twice as long; the last runs took three times as long.
  const invoke = [10, 20, 10, 20, 10, 20, 30, 60];
  const [decode, preprocess, merge, draw] = [1, 2, 3, 4].map((time) => invoke.map(() => time)) as number[][];
  const samples = { decode, preprocess, invoke, merge, draw } as Measurement["samples"];
  const device = { id: "Pixel 8, Chrome 141", sha256: "0", environment: { cores: 8 } };
  const make = (backend: "wasm" | "webgpu", software: boolean, agreed: number | null) => {
    const gpu = backend === "webgpu" ? { vendor: "v", architecture: "a", software } : null;
    const card = { inputSize: [256, 256], level: "masks", target: "cpu", recipe: "int8" };
    const got = { runtime: "litert", version: "2", backend, threads: 1, relaxedSimd: true, gpu };
    const segmenter = { got, card, model: { name: "int8.tflite", bytes: new Uint8Array(9) }, notes: ["a note"] };
    return reportOf({ segmenter: segmenter as unknown as Segmenter, notes: ["another model"] }, AUTO, device, {
      loadMs: 5,
      firstInvokeMs: 50,
      warmup: 3,
      names: ["a.jpg", "b.jpg"],
      samples,
      agreement: agreed,
    });
  };

  test("a program's times are marked as no GPU's", () => {
    expect(make("webgpu", true, 1).machines[0]).toMatchObject({
      emulated: true,
      warnings: ["its GPU is a program on the CPU"],
    });
    expect(make("webgpu", false, 1).machines[0]).toMatchObject({ emulated: false, warnings: [] });
    expect(make("wasm", false, 1).results[0]).toMatchObject({
      accelerator: "cpu",
      runtime: "litert.js",
      recipe: "masks, cpu, int8",
    });
  });

  test("every photograph has its times", () => {
    const { photos, stages, samples_ms } = make("wasm", false, 1).results[0] ?? {};
    expect(samples_ms).toEqual(invoke);
    expect(Object.keys(stages ?? {})).toEqual(["decode", "preprocess", "invoke", "merge", "draw"]);
    expect(photos?.map(({ photo, samples_ms }) => [photo, samples_ms])).toEqual([
      ["a.jpg", [10, 10, 10, 30]],
      ["b.jpg", [20, 20, 20, 60]],
    ]);
    expect(photos?.[1]?.stages).toEqual({ decode: 1, preprocess: 2, invoke: 20, merge: 3 });
  });

  test("wrong answers and slowing down are told", () => {
    expect(make("wasm", false, 0.5).results[0]?.warnings).toEqual([
      "another model",
      "a note",
      "only 50.0% of the photograph's pixels have the expected category",
      "slowed down by 200.0% from its first quarter to its last",
    ]);
    expect(make("wasm", false, null).results[0]?.warnings.join()).not.toContain("expected");
  });
});
