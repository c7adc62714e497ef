/** What a model says of an image. */
import type { Category, Size, Triple } from "./card.js";
import { segmentColors } from "./colors.js";
import type { Segment } from "./panoptic.js";
import type { Timings } from "./pipeline.js";
import { encodePng } from "./png.js";
import type { Answers } from "./protocol.js";

export interface OverlayOptions {
  /** Of the colors, 0..1. */
  readonly opacity?: number;
  /** The segment to show alone. */
  readonly highlight?: number | null;
}

/** An entry of "annotations" in the COCO panoptic format (https://cocodataset.org/#format-data). */
export interface CocoAnnotation {
  readonly image_id: number | string;
  readonly file_name: string;
  readonly segments_info: readonly {
    readonly id: number;
    readonly category_id: number;
    readonly area: number;
    readonly bbox: readonly number[];
    readonly iscrowd: 0;
  }[];
}

export class PanopticResult {
  readonly size: Size;
  /** Segment ids by pixel, 0 for void. */
  readonly panopticMap: Int32Array;
  /** Best score first. */
  readonly segments: readonly Segment[];
  /** The image, at the size of the map. */
  readonly image: ImageData;
  /** Milliseconds by stage. */
  readonly timings: Timings;
  /** RGB by segment id. */
  readonly colors: ReadonlyMap<number, Triple>;

  constructor({ size, map, segments, image, timings }: Answers["segment"], categories: readonly Category[]) {
    this.size = size;
    this.panopticMap = map;
    this.segments = segments;
    this.image = image;
    this.timings = timings;
    this.colors = segmentColors(segments, categories);
  }

  /** The segment at a pixel; undefined for void and outside the image. */
  segmentAt(x: number, y: number): Segment | undefined {
    const [height, width] = this.size;
    if (x < 0 || y < 0 || x >= width || y >= height) return undefined;
    const id = this.panopticMap[Math.floor(y) * width + Math.floor(x)];
    return this.segments.find((segment) => segment.id === id);
  }

  /** Category ids by pixel, 0 for void. */
  categoryMap(): Int32Array {
    const categories = new Map(this.segments.map((segment) => [segment.id, segment.categoryId]));
    return this.panopticMap.map((id) => categories.get(id) ?? 0);
  }

  /** The image with its segments drawn in: colors and white outlines. */
  overlay({ opacity = 0.5, highlight = null }: OverlayOptions = {}): ImageData {
    const [height, width] = this.size;
    const drawn = new ImageData(width, height);
    const target = new Uint32Array(drawn.data.buffer);
    const source = this.image.data;
    const map = this.panopticMap;
    const palette = new Map([...this.colors].filter(([id]) => highlight === null || id === highlight));
    const colors = Array.from({ length: this.segments.length + 1 }, (_, id) => palette.get(id));
    for (let i = 0; i < map.length; i++) {
      const color = colors[map[i] as number];
      const edge = (i % width > 0 && map[i] !== map[i - 1]) || (i >= width && map[i] !== map[i - width]);
      if (
        edge &&
        (color !== undefined || (highlight !== null && (map[i - 1] === highlight || map[i - width] === highlight)))
      ) {
        target[i] = 0xffffffff;
        continue;
      }
      const [red, green, blue] = [source[4 * i] as number, source[4 * i + 1] as number, source[4 * i + 2] as number];
      if (color === undefined) target[i] = opaque(red, green, blue);
      else {
        target[i] = opaque(
          red + (color[0] - red) * opacity,
          green + (color[1] - green) * opacity,
          blue + (color[2] - blue) * opacity,
        );
      }
    }
    return drawn;
  }

  /** The official COCO panoptic format: a PNG with id = R + 256 G + 65536 B, and the entry for "annotations". */
  async toCoco(imageId: number | string, fileName: string): Promise<{ png: Blob; annotation: CocoAnnotation }> {
    const [height, width] = this.size;
    const rgb = new Uint8Array(3 * width * height);
    this.panopticMap.forEach((id, i) => rgb.set([id & 255, (id >> 8) & 255, (id >> 16) & 255], 3 * i));
    const segments_info = this.segments.map((segment) => ({
      id: segment.id,
      category_id: segment.categoryId,
      area: segment.area,
      bbox: segment.bbox,
      iscrowd: 0 as const,
    }));
    const annotation = { image_id: imageId, file_name: fileName, segments_info };
    return { png: await encodePng(rgb, width, height), annotation };
  }
}

/** A pixel as little-endian RGBA, which every browser's processor uses. */
function opaque(red: number, green: number, blue: number): number {
  return 0xff000000 | ((blue + 0.5) << 16) | ((green + 0.5) << 8) | (red + 0.5);
}
