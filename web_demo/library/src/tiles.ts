/**
 * Masks upsampled bilinearly, asked for winners and areas without making most of the pixels.
 *
 * The image is cut into tiles of about 8x8 pixels that never cross a sample of the coarse masks. Within a tile the
 * interpolated logit is a + b i + c j + d i j of row i and column j, so it stays between the tile's corners: where the
 * worst corner of one mask beats the best of every other, the tile is decided. Only the other tiles are looked into.
 */
import type { Size } from "./card.js";

// Larger images have larger tiles: looking at many tiles costs as much as looking into a few.
const TILE = 8;
const TILES_PER_AXIS = 100;
/** Corners are compared with this much room for rounding; what lies within it is looked into. */
const ROOM = 1 + 1e-5;

/** An image axis cut into tiles; tile t lies between the lattice points t and t + 1. */
interface Axis {
  readonly tiles: number;
  /** First pixel of each tile, and the end of the last. */
  readonly start: Int32Array;
  /** Where the first pixel stands in its tile, the tile being 1 long. */
  readonly phase: Float64Array;
  /** From pixel to pixel, in the same unit. */
  readonly step: number;
  /** A lattice point is mask[low] + weight (mask[high] - mask[low]). */
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly weight: Float64Array;
}

/** K masks of [height, width] logits on the top left `size` pixels of the `extent` that they cover. */
export class TiledMasks {
  private readonly rows: Axis;
  private readonly columns: Axis;
  private readonly width: number;
  private readonly points: number;
  /** Logits at the tiles' corners, [K, points]. */
  private readonly corners: Float64Array;

  /** `logits` is [K, height, width]; `extent` and `size` are in pixels. */
  constructor(
    logits: Float32Array,
    private readonly count: number,
    [height, width]: Size,
    extent: Size,
    private readonly size: Size,
  ) {
    this.rows = cut(height, extent[0], size[0]);
    this.columns = cut(width, extent[1], size[1]);
    this.width = this.columns.tiles + 1;
    this.points = (this.rows.tiles + 1) * this.width;
    this.corners = new Float64Array(count * this.points);
    for (let k = 0; k < count; k++) this.interpolate(logits.subarray(k * height * width), width, k * this.points);
  }

  /**
   * The k of the largest sigmoid(logit) score at each pixel, the first on ties.
   *
   * `scores` are positive and descending. Compared are the inverses, 1 / s + exp(-logit) / s in float32, whose order is
   * the same. Returns k by pixel, and how many pixels each k has.
   */
  winners(scores: Float32Array): { ids: Uint16Array; areas: Float64Array } {
    const inverse = Float64Array.from(scores, (score) => 1 / score);
    const costs = new Float64Array(this.corners.length);
    inverse.forEach((inverted, k) => {
      for (let i = k * this.points; i < (k + 1) * this.points; i++) {
        costs[i] = Math.fround(inverted + Math.exp(-(this.corners[i] as number)) * inverted);
      }
    });
    const ids = new Uint16Array(this.size[0] * this.size[1]);
    const areas = new Float64Array(this.count);
    const candidates = new Uint16Array(this.count);
    for (let row = 0; row < this.rows.tiles; row++) {
      for (let column = 0; column < this.columns.tiles; column++) {
        const tile = this.tile(row, column);
        if (tile.area === 0) continue;
        const found = this.candidates(costs, tile.point, candidates);
        if (found === 1) {
          fill(ids, tile, this.size[1], candidates[0] as number);
          areas[candidates[0] as number] = (areas[candidates[0] as number] as number) + tile.area;
        } else this.contest(tile, candidates.subarray(0, found), inverse, ids, areas);
      }
    }
    return { ids, areas };
  }

  /** Between which numbers the area of a mask, its pixels with a positive logit, must lie. */
  areaBounds(k: number): { least: number; most: number } {
    let [least, most] = [0, 0];
    this.eachTile(k, (tile, positive) => {
      if (positive === 4) least += tile.area;
      if (positive > 0) most += tile.area;
    });
    return { least, most };
  }

  /** How many pixels of a mask have a positive logit. */
  area(k: number): number {
    let total = 0;
    this.eachTile(k, (tile, positive) => {
      if (positive === 4) total += tile.area;
      else if (positive > 0) {
        const [a, b, c, d] = this.bilinear(k, tile);
        for (let i = 0; i < tile.height; i++) {
          for (let j = 0; j < tile.width; j++) if (a + b * i + (c + d * i) * j > 0) total++;
        }
      }
    });
    return total;
  }

  private eachTile(k: number, visit: (tile: Tile, positiveCorners: number) => void): void {
    const positive = (point: number) => Number((this.corners[k * this.points + point] as number) > 0);
    for (let row = 0; row < this.rows.tiles; row++) {
      for (let column = 0; column < this.columns.tiles; column++) {
        const tile = this.tile(row, column);
        const { point } = tile;
        visit(
          tile,
          positive(point) + positive(point + 1) + positive(point + this.width) + positive(point + this.width + 1),
        );
      }
    }
  }

  private interpolate(mask: Float32Array, stride: number, target: number): void {
    const { rows, columns, corners } = this;
    for (let y = 0; y <= rows.tiles; y++) {
      const top = (rows.low[y] as number) * stride;
      const bottom = (rows.high[y] as number) * stride;
      for (let x = 0; x <= columns.tiles; x++) {
        const left = columns.low[x] as number;
        const right = columns.high[x] as number;
        const across = columns.weight[x] as number;
        const above = mix(mask[top + left] as number, mask[top + right] as number, across);
        const below = mix(mask[bottom + left] as number, mask[bottom + right] as number, across);
        corners[target++] = mix(above, below, rows.weight[y] as number);
      }
    }
  }

  private tile(row: number, column: number): Tile {
    const [top, left] = [this.rows.start[row] as number, this.columns.start[column] as number];
    const height = (this.rows.start[row + 1] as number) - top;
    const width = (this.columns.start[column + 1] as number) - left;
    return { row, column, top, left, height, width, area: height * width, point: row * this.width + column };
  }

  /** Which masks might win a pixel of the tile at a point; how many. */
  private candidates(costs: Float64Array, point: number, found: Uint16Array): number {
    const below = this.width;
    let bound = Infinity;
    for (let k = 0, at = point; k < this.count; k++, at += this.points) {
      const worst = Math.max(costs[at]!, costs[at + 1]!, costs[at + below]!, costs[at + below + 1]!);
      if (worst < bound) bound = worst;
    }
    let count = 0;
    for (let k = 0, at = point; k < this.count; k++, at += this.points) {
      const best = Math.min(costs[at]!, costs[at + 1]!, costs[at + below]!, costs[at + below + 1]!);
      if (best <= bound * ROOM) found[count++] = k;
    }
    return count;
  }

  /** Decide each pixel of a tile. */
  private contest(tile: Tile, rivals: Uint16Array, inverse: Float64Array, ids: Uint16Array, areas: Float64Array): void {
    const planes = Array.from(rivals, (k) => this.bilinear(k, tile));
    for (let i = 0; i < tile.height; i++) {
      const start = (tile.top + i) * this.size[1] + tile.left;
      for (let j = 0; j < tile.width; j++) {
        let [winner, least] = [rivals[0] as number, Infinity];
        for (let r = 0; r < rivals.length; r++) {
          const inverted = inverse[rivals[r]!]!;
          if (inverted >= least) continue;
          const plane = planes[r]!;
          const logit = plane[0] + plane[1] * i + (plane[2] + plane[3] * i) * j;
          const cost = Math.fround(inverted + Math.exp(-logit) * inverted);
          if (cost < least) [winner, least] = [rivals[r]!, cost];
        }
        ids[start + j] = winner;
        areas[winner] = areas[winner]! + 1;
      }
    }
  }

  /** (a, b, c, d) of a mask in a tile. */
  private bilinear(k: number, { row, column, point }: Tile): readonly [number, number, number, number] {
    const at = k * this.points + point;
    const a = this.corners[at]!;
    const right = this.corners[at + 1]! - a;
    const down = this.corners[at + this.width]! - a;
    const twist = this.corners[at + this.width + 1]! - a - right - down;
    const [y, x] = [this.rows.phase[row]!, this.columns.phase[column]!];
    const [stepY, stepX] = [this.rows.step, this.columns.step];
    return [
      a + right * x + (down + twist * x) * y,
      (down + twist * x) * stepY,
      (right + twist * y) * stepX,
      twist * stepY * stepX,
    ];
  }
}

interface Tile {
  readonly row: number;
  readonly column: number;
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
  readonly area: number;
  /** The top left corner among the lattice points. */
  readonly point: number;
}

/** Cut the first `pixels` of an axis where `samples` mask values cover `extent` pixels. */
function cut(samples: number, extent: number, pixels: number): Axis {
  const parts = Math.max(1, Math.round(extent / samples / Math.max(TILE, extent / TILES_PER_AXIS)));
  const step = (samples / extent) * parts;
  // Half-pixel centers: pixel i stands at sample (i + 0.5) samples / extent - 0.5, lattice point 0 at sample -1.
  const tiles = Math.floor((pixels - 0.5) * step + 0.5 * parts) + 1;
  const start = Int32Array.from({ length: tiles + 1 }, (_, t) =>
    t === tiles ? pixels : Math.min(Math.max(Math.ceil((t - 0.5 * parts) / step - 0.5), 0), pixels),
  );
  const sample = Float64Array.from({ length: tiles + 1 }, (_, t) => Math.min(Math.max(t / parts - 1, 0), samples - 1));
  const low = Int32Array.from(sample, Math.floor);
  return {
    tiles,
    start,
    phase: Float64Array.from({ length: tiles }, (_, t) => ((start[t] as number) + 0.5) * step + 0.5 * parts - t),
    step,
    low,
    high: low.map((value) => Math.min(value + 1, samples - 1)),
    weight: sample.map((value, t) => value - (low[t] as number)),
  };
}

function fill(ids: Uint16Array, { top, left, height, width }: Tile, stride: number, value: number): void {
  for (let i = 0; i < height; i++) {
    const start = (top + i) * stride + left;
    ids.fill(value, start, start + width);
  }
}

function mix(a: number, b: number, weight: number): number {
  return a + (b - a) * weight;
}
