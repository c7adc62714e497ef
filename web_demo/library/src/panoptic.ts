/** Segments and the map of where they are, from the maps of a merge. */
import type { Category, Size } from "./card.js";
import type { Maps } from "./merge.js";

/** One thing, or all stuff of one class. */
export interface Segment {
  /** Its value in the panoptic map. */
  readonly id: number;
  readonly categoryId: number;
  readonly label: string;
  readonly isThing: boolean;
  /** Of its proposal, 0..1; for stuff the best of its class. */
  readonly score: number;
  /** In pixels. */
  readonly area: number;
  /** x, y, width, height in pixels. */
  readonly bbox: readonly [number, number, number, number];
}

export interface Panoptic {
  readonly size: Size;
  /** Segment ids, 0 for void. */
  readonly map: Int32Array;
  /** Best score first. */
  readonly segments: readonly Segment[];
}

interface Region {
  readonly id: number;
  area: number;
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** A thing is an instance of a category, and stuff is a category outside all instances; 0 is void if no category has it. */
export function panopticOf(
  maps: Maps,
  classes: Int32Array,
  scores: Float32Array,
  categories: readonly Category[],
): Panoptic {
  const width = maps.size[1];
  const stride = maps.instances.reduce((most, value) => Math.max(most, value), 0) + 1;
  const zero = categories.some(({ id }) => id === 0);
  const regions = regionsOf(maps, stride, zero);
  const names = new Map(categories.map((category) => [category.id, category.name]));
  const byRank = scores.slice().sort().reverse();
  const bestOf = (id: number) =>
    scores.reduce((best, score, i) => (classes[i] === id ? Math.max(best, score) : best), 0);
  const map = new Int32Array(maps.categories.length);
  for (let i = 0; i < map.length; i++) {
    const category = maps.categories[i] as number;
    if (zero || category !== 0) map[i] = regions.get(category * stride + (maps.instances[i] as number))?.id ?? 0;
  }
  const segments = Array.from(regions, ([key, region]): Segment => {
    const [categoryId, instance] = [Math.floor(key / stride), key % stride];
    return {
      id: region.id,
      categoryId,
      label: names.get(categoryId) ?? `class ${categoryId}`,
      isThing: instance > 0,
      score: instance > 0 ? (byRank[instance - 1] ?? 0) : bestOf(categoryId),
      area: region.area,
      bbox: [region.left, region.top, region.right - region.left + 1, region.bottom - region.top + 1],
    };
  });
  segments.sort((a, b) => b.score - a.score || a.id - b.id);
  return { size: [map.length / width, width], map, segments };
}

/** Regions by key, numbered from 1 in the order of category and instance. */
function regionsOf({ categories, instances, size }: Maps, stride: number, zero: boolean): Map<number, Region> {
  const width = size[1];
  const found = new Map<number, Omit<Region, "id">>();
  let [lastKey, last]: [number, Omit<Region, "id"> | undefined] = [-1, undefined];
  for (let i = 0; i < categories.length; i++) {
    if (!zero && categories[i] === 0) continue;
    const key = (categories[i] as number) * stride + (instances[i] as number);
    const [x, y] = [i % width, Math.floor(i / width)];
    if (key !== lastKey || last === undefined) {
      last = found.get(key) ?? { area: 0, left: x, top: y, right: x, bottom: y };
      found.set(key, last);
      lastKey = key;
    }
    last.area++;
    if (x < last.left) last.left = x;
    if (x > last.right) last.right = x;
    last.bottom = y;
  }
  const keys = [...found.keys()].sort((a, b) => a - b);
  return new Map(keys.map((key, i) => [key, { ...(found.get(key) as Omit<Region, "id">), id: i + 1 }]));
}
