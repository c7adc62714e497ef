/** Messages between the page and its worker. */
import type { Answer } from "./pipeline.js";
import type { Got, Output, Wish } from "./runtime.js";

export type Source = Blob | ImageBitmap | ImageData;

export type Request =
  | { readonly kind: "load"; readonly name: string; readonly bytes: Uint8Array<ArrayBuffer>; readonly wish: Wish }
  | { readonly kind: "segment"; readonly source: Source; readonly maxSide: number }
  | { readonly kind: "run"; readonly source: Source };

export interface Answers {
  load: Got;
  segment: Answer & { readonly image: ImageData };
  run: ReadonlyMap<string, Output>;
}

export type Numbered<T> = T & { readonly id: number };
export type Reply = Numbered<{ readonly answer: Answers[keyof Answers] } | { readonly error: string }>;
