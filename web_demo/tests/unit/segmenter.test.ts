/** A runtime that hangs is ended, in one line. */
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Segmenter } from "../../library/src/segmenter.js";
import { OUT } from "./fixtures.js";

const MODEL = new File([readFileSync(`${OUT}fixtures/tiny/masks.tflite`)], "x.tflite");
const LINE = "x.tflite: gave no answer for 3 minutes and was stopped; use another model or runtime";
const OPTIONS = { engine: "engine/", backend: "wasm", threads: 1 } as const;

/** Answers `answers` requests, and hangs at the next one. */
class HangingWorker {
  static answers = 0;
  static started: HangingWorker[] = [];
  onmessage: (event: { data: unknown }) => void = () => {};
  ended = false;
  asked = 0;

  constructor() {
    HangingWorker.started.push(this);
  }

  postMessage({ id }: { id: number }): void {
    if (this.asked++ < HangingWorker.answers) queueMicrotask(() => this.onmessage({ data: { id, answer: {} } }));
  }

  terminate(): void {
    this.ended = true;
  }
}

beforeEach(() => {
  HangingWorker.started = [];
  vi.stubGlobal("Worker", HangingWorker);
  vi.stubGlobal("ImageBitmap", class {});
  vi.stubGlobal("location", new URL("https://here.example/demo/"));
  vi.stubGlobal("crossOriginIsolated", false);
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
});
afterEach(() => void vi.useRealTimers());

test("while it loads", async () => {
  HangingWorker.answers = 0;
  const loading = Segmenter.load(MODEL, OPTIONS).catch(String);
  await vi.waitFor(() => expect(HangingWorker.started[0]?.asked).toBe(1));
  vi.advanceTimersByTime(179_000);
  expect(HangingWorker.started[0]?.ended).toBe(false);
  vi.advanceTimersByTime(1000);
  expect(await loading).toBe(`MaskConverError: ${LINE}`);
  expect(HangingWorker.started.map(({ ended }) => ended)).toEqual([true]);
});

test("while it runs, with all that waits behind it", async () => {
  HangingWorker.answers = 1;
  const segmenter = await Segmenter.load(MODEL, OPTIONS);
  vi.advanceTimersByTime(3_600_000);
  expect(HangingWorker.started[0]?.ended).toBe(false);
  const picture = new Blob(["picture"]);
  const answers = [1, 2].map(() => segmenter.run(picture).catch(String));
  await vi.waitFor(() => expect(HangingWorker.started[0]?.asked).toBe(3));
  vi.advanceTimersByTime(180_000);
  expect(await Promise.all(answers)).toEqual([`MaskConverError: ${LINE}`, `MaskConverError: ${LINE}`]);
  expect(HangingWorker.started[0]?.ended).toBe(true);
  await expect(segmenter.run(picture)).rejects.toThrow(LINE);
  expect(vi.getTimerCount()).toBe(0);
});
