/** The panoptic merge: scored mask logits to a category map and an instance map. */
import type { ModelCard, Size } from "./card.js";
import { type Letterbox, restore } from "./letterbox.js";
import { TiledMasks } from "./tiles.js";

const f32 = Math.fround;

/** What a `masks` graph puts out: logits [height, width, count], scores and classes in any order. */
export interface Proposals {
  readonly height: number;
  readonly width: number;
  readonly count: number;
  readonly logits: Float32Array;
  readonly scores: Float32Array;
  readonly classes: Int32Array;
}

/** How proposals become segments. */
export interface MergeRule {
  /** A proposal takes part if it scores above it. */
  readonly objectMaskThreshold: number;
  /** A proposal is kept if it wins more than this part of its own mask's pixels. */
  readonly overlapThreshold: number;
  /** A proposal is kept if it wins more than so many pixels. */
  readonly smallAreaThreshold: number;
  /** Of the canvas on which proposals are merged. */
  readonly outputSize: Size;
  /** Merge at the masks' own size with relu6(logit + 3) * 0.16667 for the sigmoid. */
  readonly hardSigmoid: boolean;
  /** Merge at the picture's size; else on the canvas as it is. */
  readonly rescalePredictions: boolean;
  /** Ids of the classes whose proposals stay apart; those of every other class melt into one. */
  readonly things: ReadonlySet<number>;
}

/** Class ids, 0 for void; and 1 + the rank of a thing's proposal by score, 0 for all else. */
export interface Maps {
  readonly size: Size;
  readonly categories: Int32Array;
  readonly instances: Int32Array;
}

/** The rule of a model. Things come before stuff, so an id without a category is a thing below the last thing's id. */
export function ruleOf(card: ModelCard): MergeRule {
  const stuff = new Set(card.categories.filter((category) => !category.isThing).map((category) => category.id));
  const last = Math.max(0, ...card.categories.filter((category) => category.isThing).map((category) => category.id));
  const ids = Array.from({ length: last }, (_, i) => i + 1);
  return { ...card, things: new Set(ids.filter((id) => !stuff.has(id))) };
}

/**
 * Merge proposals, with the result at the image's own size.
 *
 * Areas are those of the whole canvas all the same: what lies outside the image belongs to the best proposal. Without a
 * letterbox the image fills the canvas.
 */
export function merge(proposals: Proposals, letterbox: Letterbox | null, rule: MergeRule): Maps {
  const order = inOrder(proposals.scores, f32(rule.objectMaskThreshold));
  const logits = planes(proposals, order);
  const scores = Float32Array.from(order, (k) => proposals.scores[k] as number);
  const winners = rule.hardSigmoid
    ? hard(logits, scores, [proposals.height, proposals.width], rule)
    : soft(logits, scores, [proposals.height, proposals.width], rule.rescalePredictions ? letterbox : null, rule);
  const categories = Int32Array.from(order, (k, rank) => (winners.kept[rank] ? (proposals.classes[k] as number) : 0));
  const instances = categories.map((id, rank) => (rule.things.has(id) ? rank + 1 : 0));
  const maps = {
    size: winners.size,
    categories: lookUp(categories, winners.ids),
    instances: lookUp(instances, winners.ids),
  };
  return onCanvas(rule) && letterbox !== null ? restoreMaps(maps, letterbox) : maps;
}

/** Whether the merge has the size of masks or canvas, and not that of the picture. */
export function onCanvas(rule: Pick<MergeRule, "hardSigmoid" | "rescalePredictions">): boolean {
  return rule.hardSigmoid || !rule.rescalePredictions;
}

/** Maps of the whole canvas, brought to the image's own size. */
export function restoreMaps(maps: Maps, letterbox: Letterbox): Maps {
  return {
    size: letterbox.imageSize,
    categories: restore(maps.categories, maps.size, letterbox),
    instances: restore(maps.instances, maps.size, letterbox),
  };
}

function lookUp(table: Int32Array, ids: Uint16Array): Int32Array {
  const found = new Int32Array(ids.length);
  for (let i = 0; i < ids.length; i++) found[i] = table[ids[i] as number] ?? 0;
  return found;
}

interface Winners {
  readonly size: Size;
  /** Rank of the winning proposal by pixel. */
  readonly ids: Uint16Array;
  readonly kept: readonly boolean[];
}

function soft(
  logits: Float32Array,
  scores: Float32Array,
  maskSize: Size,
  box: Letterbox | null,
  rule: MergeRule,
): Winners {
  const canvas = canvasOf(box, rule);
  const [extent, size] = box === null ? [canvas, canvas] : [box.extent, box.imageSize];
  if (scores.length === 0) return { size, ids: new Uint16Array(size[0] * size[1]), kept: [] };
  const masks = new TiledMasks(logits, scores.length, maskSize, extent, size);
  const { ids, areas } = masks.winners(scores);
  // Around the image all masks are 0.5, so the best score wins there.
  areas[0] = (areas[0] as number) + canvas[0] * canvas[1] - size[0] * size[1];
  const kept = Array.from(areas, (area, k) => {
    if (area <= rule.smallAreaThreshold) return false;
    const { least, most } = masks.areaBounds(k);
    if (most === 0 || area <= rule.overlapThreshold * Math.max(least, 1)) return false;
    return (least > 0 && area > rule.overlapThreshold * most) || winsEnough(area, masks.area(k), rule);
  });
  return { size, ids, kept };
}

/** As `soft`, at the masks' own size. */
function hard(logits: Float32Array, scores: Float32Array, size: Size, rule: MergeRule): Winners {
  const pixels = size[0] * size[1];
  const ids = new Uint16Array(pixels);
  const best = new Float32Array(pixels).fill(-1);
  const [areas, ownAreas] = [new Float64Array(scores.length), new Float64Array(scores.length)];
  scores.forEach((score, k) => {
    for (let pixel = 0; pixel < pixels; pixel++) {
      const logit = logits[k * pixels + pixel] as number;
      const mask = f32(Math.min(Math.max(f32(logit + 3), 0), 6) * f32(0.16667));
      if (mask > 0.5) ownAreas[k] = (ownAreas[k] as number) + 1;
      const value = f32(mask * score);
      if (value > (best[pixel] as number)) [ids[pixel], best[pixel]] = [k, value];
    }
  });
  if (scores.length > 0) for (const k of ids) areas[k] = (areas[k] as number) + 1;
  const kept = Array.from(
    areas,
    (area, k) => area > rule.smallAreaThreshold && winsEnough(area, ownAreas[k] as number, rule),
  );
  return { size, ids, kept };
}

/** Whether a proposal wins enough of its own mask's area, which must not be empty. */
function winsEnough(area: number, ownArea: number, rule: MergeRule): boolean {
  return ownArea > 0 && area > rule.overlapThreshold * ownArea;
}

/** Areas count on the canvas of the model, or on the image where that is larger. */
function canvasOf(letterbox: Letterbox | null, rule: MergeRule): Size {
  const [height, width] = letterbox?.imageSize ?? [0, 0];
  return [Math.max(rule.outputSize[0], height), Math.max(rule.outputSize[1], width)];
}

/** The proposals above the threshold, best first. */
function inOrder(scores: Float32Array, threshold: number): number[] {
  const valid = Array.from(scores.keys()).filter((k) => (scores[k] as number) > threshold);
  return valid.sort((a, b) => (scores[b] as number) - (scores[a] as number) || a - b);
}

/** Logits of the chosen proposals, [chosen, height, width]. */
function planes({ logits, height, width, count }: Proposals, chosen: readonly number[]): Float32Array {
  const pixels = height * width;
  const found = new Float32Array(chosen.length * pixels);
  chosen.forEach((k, rank) => {
    for (let pixel = 0; pixel < pixels; pixel++) found[rank * pixels + pixel] = logits[pixel * count + k] as number;
  });
  return found;
}
