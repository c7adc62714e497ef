/** How an image lies on a model's canvas: scaled with its aspect kept, at the top left. */
import type { Size } from "./card.js";

const f32 = Math.fround;

export class Letterbox {
  private constructor(
    readonly imageSize: Size,
    readonly canvasSize: Size,
    readonly scaledSize: Size,
  ) {}

  /** The largest fit, rounded to pixels in float32 as in training, and at least one pixel wide and high. */
  static fit(imageSize: Size, canvasSize: Size): Letterbox {
    const scale = Math.min(f32(canvasSize[0] / imageSize[0]), f32(canvasSize[1] / imageSize[1]));
    const side = (length: number) => Math.max(1, roundHalfEven(f32(f32(length) * scale)));
    return new Letterbox(imageSize, canvasSize, [side(imageSize[0]), side(imageSize[1])]);
  }

  /** The same canvas for an image of another size, such as a reduced copy. */
  withImage(imageSize: Size): Letterbox {
    return new Letterbox(imageSize, this.canvasSize, this.scaledSize);
  }

  /** (height, width) that the whole canvas covers, in pixels of the image. */
  get extent(): Size {
    const side = (axis: 0 | 1) => {
      const scale = f32(this.scaledSize[axis] / this.imageSize[axis]);
      return Math.ceil(f32(this.canvasSize[axis] / scale));
    };
    return [side(0), side(1)];
  }
}

/** Bring a map of the whole canvas to the image's own size, by nearest neighbor. */
export function restore(map: Int32Array, mapSize: Size, letterbox: Letterbox): Int32Array {
  const [height, width] = letterbox.imageSize;
  const rows = places(letterbox, mapSize, 0);
  const columns = places(letterbox, mapSize, 1);
  const restored = new Int32Array(height * width);
  for (let y = 0; y < height; y++) {
    const row = (rows[y] as number) * mapSize[1];
    for (let x = 0; x < width; x++) restored[y * width + x] = map[row + (columns[x] as number)] as number;
  }
  return restored;
}

/** floor((i + 0.5) scaled / image * map / canvas), in whole numbers. */
function places(letterbox: Letterbox, mapSize: Size, axis: 0 | 1): Int32Array {
  const image = letterbox.imageSize[axis];
  const factor = letterbox.scaledSize[axis] * mapSize[axis];
  return Int32Array.from({ length: image }, (_, i) =>
    Math.floor(((2 * i + 1) * factor) / (2 * image * letterbox.canvasSize[axis])),
  );
}

/** The nearest whole number, the even one of two that are equally near. */
export function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
