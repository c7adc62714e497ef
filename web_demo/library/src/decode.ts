/** From whatever shows a picture to its pixels. */
import { MaskConverError } from "./errors.js";
import type { Pixels } from "./preprocess.js";

const MAX_PIXELS = 64_000_000;
/** Some phones draw no larger canvas. Larger photographs are reduced by the browser first. */
const MAX_CANVAS = 16_000_000;

export interface Picture {
  /** All there are, for the model. */
  readonly pixels: Pixels;
  /** To show, and the size of the answer: at most `maxSide` pixels on the longer side. */
  readonly shown: ImageData;
}

/** Decode a file, upright and without color conversion, as the Python package does; transparent pixels over white. */
export async function decode(source: Blob | ImageBitmap | ImageData, maxSide: number): Promise<Picture> {
  const bitmap = await bitmapOf(source);
  try {
    const { width, height } = bitmap;
    if (width * height > MAX_PIXELS) {
      throw new MaskConverError(`the image has over ${MAX_PIXELS / 1e6} million pixels; make it smaller first`);
    }
    const whole = draw(bitmap, Math.min(1, Math.sqrt(MAX_CANVAS / (width * height))));
    const factor = maxSide / Math.max(width, height);
    const pixels = { data: whole.data, width: whole.width, height: whole.height, channels: 4 } as const;
    return { pixels, shown: factor < 1 ? draw(bitmap, factor) : whole };
  } finally {
    bitmap.close();
  }
}

async function bitmapOf(source: Blob | ImageBitmap | ImageData): Promise<ImageBitmap> {
  if (source instanceof ImageBitmap) return source;
  try {
    return await createImageBitmap(source, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  } catch {
    const name = source instanceof File ? source.name : "the image";
    throw new MaskConverError(`${name}: is no image that this browser can read; save it again as JPEG or PNG`);
  }
}

function draw(bitmap: ImageBitmap, factor: number): ImageData {
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * factor))) as [
    number,
    number,
  ];
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (context === null) throw new MaskConverError("this browser cannot draw in a worker; use a newer one");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}
