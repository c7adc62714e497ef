/** The named metadata buffers of a TFLite flatbuffer, read without a flatbuffer library. */
import { field, follow, slice, vector, viewOf } from "./flatbuffer.js";

const METADATA = 6;
const BUFFERS = 4;
const MAX_ENTRIES = 1024;
const MAX_NAME = 256;

/** The buffers whose names are in `wanted`. Throws RangeError where an offset leaves the file. */
export function tfliteMetadata(file: Uint8Array, wanted: readonly string[]): Map<string, Uint8Array> {
  const view = viewOf(file);
  const model = follow(view, 0);
  const entries = vector(view, model, METADATA);
  const buffers = vector(view, model, BUFFERS);
  const found = new Map<string, Uint8Array>();
  for (let i = 0; i < Math.min(entries.length, MAX_ENTRIES); i++) {
    const entry = follow(view, entries.start + 4 * i);
    const { start, length } = vector(view, entry, 0);
    const key = new TextDecoder().decode(slice(file, { start, length: Math.min(length, MAX_NAME) }));
    if (!wanted.includes(key)) continue;
    const at = field(view, entry, 1);
    const index = at === 0 ? 0 : view.getUint32(at, true);
    if (index >= buffers.length) throw new RangeError(`buffer ${index}`);
    found.set(key, slice(file, vector(view, follow(view, buffers.start + 4 * index), 0)));
  }
  return found;
}
