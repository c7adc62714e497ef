/** The one path of every image: pixels -> tensor -> graph -> merge -> segments. */
import type { ModelCard } from "./card.js";
import type { Picture } from "./decode.js";
import { MaskConverError } from "./errors.js";
import type { Letterbox } from "./letterbox.js";
import { type Maps, merge, onCanvas, type Proposals, restoreMaps, ruleOf } from "./merge.js";
import type { ModelFile } from "./model_file.js";
import { type Panoptic, panopticOf } from "./panoptic.js";
import { preprocess } from "./preprocess.js";
import type { Output, Outputs, Runtime } from "./runtime.js";
import { finishHeads, type HeadMap } from "./tail.js";

export type Timings = Record<"decode" | "preprocess" | "invoke" | "merge", number>;

export interface Answer extends Panoptic {
  readonly timings: Timings;
}

/** Segment a picture; `decodeMs` is what decoding took. The answer has the size of what is shown. */
export async function segmentPicture(
  model: ModelFile,
  runtime: Runtime,
  picture: Picture,
  decodeMs: number,
): Promise<Answer> {
  const { card } = model;
  const times = [performance.now()];
  const { tensor, letterbox } = preprocess(picture.pixels, card);
  times.push(performance.now());
  const outputs = finish(model, await runtime.run(tensor));
  times.push(performance.now());
  const shown = letterbox.withImage([picture.shown.height, picture.shown.width]);
  const { maps, classes, scores } = mapsOf(outputs, card, letterbox, shown, model.name);
  const panoptic = panopticOf(maps, classes, scores, card.categories);
  times.push(performance.now());
  const [preprocessMs = 0, invokeMs = 0, mergeMs = 0] = times.slice(1).map((time, i) => time - (times[i] as number));
  return { ...panoptic, timings: { decode: decodeMs, preprocess: preprocessMs, invoke: invokeMs, merge: mergeMs } };
}

/** The graph's outputs; those of level `heads` with what follows from them. */
export function finish({ card, tail, name }: ModelFile, outputs: Outputs): Outputs {
  if (card.level !== "heads" || tail === null) return outputs;
  const [heatmap, embeddings, pixels] = ["class_heatmap", "mask_embedding_map", "pixel_embeddings"].map((key) =>
    headMap(outputs, key, name),
  ) as [HeadMap, HeadMap, HeadMap];
  const [height, width, classes] = heatmap.shape;
  const fits = embeddings.shape.join() === [height, width, tail.size].join() && pixels.shape[2] === tail.size;
  if (!fits || classes * tail.size > tail.classEmbeddings.length) throw unfit(name);
  const proposals = finishHeads(heatmap, embeddings, pixels, tail, card.numInstances);
  const { count } = proposals;
  return new Map<string, Output>([
    ...outputs,
    ["classes", { shape: [1, count], data: proposals.classes }],
    ["scores", { shape: [1, count], data: proposals.scores }],
    ["mask_logits", { shape: [1, proposals.height, proposals.width, count], data: proposals.logits }],
  ]);
}

function mapsOf(outputs: Outputs, card: ModelCard, letterbox: Letterbox, shown: Letterbox, name: string) {
  const classes = integers(outputs, "classes", 2, name);
  const scores = floats(outputs, "scores", 2, name);
  if (classes.data.length !== scores.data.length) throw unfit(name);
  if (card.level === "panoptic") {
    const [categories, instances] = [
      integers(outputs, "category_map", 3, name),
      integers(outputs, "instance_map", 3, name),
    ];
    const [, height = 0, width = 0] = categories.shape;
    if (instances.shape.join() !== categories.shape.join()) throw unfit(name);
    const whole: Maps = { size: [height, width], categories: categories.data, instances: instances.data };
    return { maps: restoreMaps(whole, shown), classes: classes.data, scores: scores.data };
  }
  const logits = floats(outputs, "mask_logits", 4, name);
  const [, height = 0, width = 0, count = 0] = logits.shape;
  if (count !== scores.data.length) throw unfit(name);
  const proposals: Proposals = {
    height,
    width,
    count,
    logits: logits.data,
    scores: scores.data,
    classes: classes.data,
  };
  const rule = ruleOf(card);
  // A reduced copy keeps what the whole image would.
  const [full, reduced] = [letterbox, shown].map(({ imageSize }) =>
    imageSize.reduce((product, side, axis) => product * Math.max(side, card.outputSize[axis as 0 | 1]), 1),
  ) as [number, number];
  const smallAreaThreshold = onCanvas(rule) ? rule.smallAreaThreshold : (rule.smallAreaThreshold * reduced) / full;
  return { maps: merge(proposals, shown, { ...rule, smallAreaThreshold }), classes: classes.data, scores: scores.data };
}

function headMap(outputs: Outputs, key: string, name: string): HeadMap {
  const { shape, data } = floats(outputs, key, 4, name);
  return { shape: shape.slice(1) as [number, number, number], data };
}

function floats(
  outputs: Outputs,
  key: string,
  rank: number,
  name: string,
): { shape: readonly number[]; data: Float32Array } {
  const { shape, data } = output(outputs, key, rank, name);
  if (!(data instanceof Float32Array)) throw unfit(name);
  return { shape, data };
}

function integers(
  outputs: Outputs,
  key: string,
  rank: number,
  name: string,
): { shape: readonly number[]; data: Int32Array } {
  const { shape, data } = output(outputs, key, rank, name);
  if (!(data instanceof Int32Array)) throw unfit(name);
  return { shape, data };
}

function output(outputs: Outputs, key: string, rank: number, name: string): Output {
  const found = outputs.get(key);
  const complete =
    found?.shape.length === rank && found.shape.reduce((product, side) => product * side, 1) === found.data.length;
  if (found === undefined || !complete) throw unfit(name);
  return found;
}

function unfit(name: string): MaskConverError {
  return new MaskConverError(`${name}: its outputs do not fit its card; convert it again`);
}
