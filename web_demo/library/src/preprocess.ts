/** From pixels to a model's input tensor; the same numbers as the Python package computes. */
import type { ModelCard, Size } from "./card.js";
import { Letterbox, roundHalfEven } from "./letterbox.js";

const f32 = Math.fround;

/** Interleaved bytes, RGB or opaque RGBA. */
export interface Pixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly height: number;
  readonly width: number;
  readonly channels: 3 | 4;
}

export type InputTensor = Uint8Array<ArrayBuffer> | Float32Array<ArrayBuffer>;

type InputCard = Pick<ModelCard, "inputSize" | "inputType" | "mean" | "std">;

/** Lay an image on a model's canvas: the tensor [1, H, W, 3], and where the image lies. */
export function preprocess(image: Pixels, card: InputCard): { tensor: InputTensor; letterbox: Letterbox } {
  const letterbox = Letterbox.fit([image.height, image.width], card.inputSize);
  const { scaledSize } = letterbox;
  const tensor = background(card);
  if (tensor instanceof Uint8Array) resizeBytes(image, scaledSize, tensor, card.inputSize[1]);
  else resizeFloats(image, scaledSize, tensor, card);
  return { tensor, letterbox };
}

/** Padding is the mean color: 0 once normalized. */
function background(card: InputCard): InputTensor {
  const count = card.inputSize[0] * card.inputSize[1] * 3;
  const tensor = card.inputType === "uint8" ? new Uint8Array(count) : new Float32Array(count);
  if (card.inputType === "float32") return tensor;
  const color = card.inputType === "uint8" ? card.mean.map(roundHalfEven) : card.mean;
  for (let i = 0; i < count; i++) tensor[i] = color[i % 3] as number;
  return tensor;
}

interface Axis {
  readonly low: Int32Array;
  readonly high: Int32Array;
  /** Of `high`, 0..1 in float32 or 0..256 in bytes. */
  readonly weight: Float32Array;
}

/**
 * Bilinear with half-pixel centers and without antialiasing, equal to OpenCV's INTER_LINEAR_EXACT in every byte: weights
 * are multiples of 1/256, and sums are rounded once.
 */
function resizeBytes(image: Pixels, [height, width]: Size, target: Uint8Array, stride: number): void {
  const [rows, columns] = [byteAxis(image.height, height), byteAxis(image.width, width)];
  const { data, channels } = image;
  for (let y = 0; y < height; y++) {
    const top = (rows.low[y] as number) * image.width;
    const bottom = (rows.high[y] as number) * image.width;
    const down = rows.weight[y] as number;
    for (let x = 0; x < width; x++) {
      const left = columns.low[x] as number;
      const right = columns.high[x] as number;
      const across = columns.weight[x] as number;
      for (let c = 0; c < 3; c++) {
        const at = (pixel: number) => data[pixel * channels + c] as number;
        const above = at(top + left) * (256 - across) + at(top + right) * across;
        const below = at(bottom + left) * (256 - across) + at(bottom + right) * across;
        target[(y * stride + x) * 3 + c] = (above * (256 - down) + below * down + 0x8000) >> 16;
      }
    }
  }
}

function byteAxis(from: number, to: number): Axis {
  const axis = { low: new Int32Array(to), high: new Int32Array(to), weight: new Float32Array(to) };
  for (let i = 0; i < to; i++) {
    const place = (i + 0.5) * (from / to) - 0.5;
    const low = Math.floor(place);
    axis.low[i] = clamp(low, from);
    axis.high[i] = clamp(low + 1, from);
    axis.weight[i] = roundHalfEven((place - low) * 256);
  }
  return axis;
}

/** Bilinear as the original network's preprocessing computes it, every step in float32. */
function resizeFloats(image: Pixels, [height, width]: Size, target: Float32Array, card: InputCard): void {
  const [rows, columns] = [floatAxis(image.height, height), floatAxis(image.width, width)];
  const { data, channels } = image;
  const normalized = card.inputType === "float32";
  const [mean, std] = [card.mean.map(f32), card.std.map(f32)];
  for (let y = 0; y < height; y++) {
    const top = (rows.low[y] as number) * image.width;
    const bottom = (rows.high[y] as number) * image.width;
    const down = rows.weight[y] as number;
    for (let x = 0; x < width; x++) {
      const left = columns.low[x] as number;
      const right = columns.high[x] as number;
      const across = columns.weight[x] as number;
      for (let c = 0; c < 3; c++) {
        const at = (pixel: number) => data[pixel * channels + c] as number;
        const above = blend(at(top + left), at(top + right), across);
        const value = blend(above, blend(at(bottom + left), at(bottom + right), across), down);
        const place = (y * card.inputSize[1] + x) * 3 + c;
        target[place] = normalized ? f32(value - (mean[c] as number)) / (std[c] as number) : value;
      }
    }
  }
}

function floatAxis(from: number, to: number): Axis {
  const axis = { low: new Int32Array(to), high: new Int32Array(to), weight: new Float32Array(to) };
  const scale = f32(f32(from) / f32(to));
  for (let i = 0; i < to; i++) {
    const place = f32(f32(f32(i + 0.5) * scale) - 0.5);
    axis.low[i] = clamp(Math.floor(place), from);
    axis.high[i] = clamp(Math.ceil(place), from);
    axis.weight[i] = place - Math.floor(place);
  }
  return axis;
}

function blend(a: number, b: number, weight: number): number {
  return f32(a + f32(f32(b - a) * weight));
}

function clamp(index: number, count: number): number {
  return Math.min(Math.max(index, 0), count - 1);
}
