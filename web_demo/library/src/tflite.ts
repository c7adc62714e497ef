/** The named metadata buffers of a TFLite flatbuffer, read without a flatbuffer library. */

const METADATA_FIELD = 6;
const BUFFERS_FIELD = 4;
const MAX_ENTRIES = 1024;
const MAX_NAME = 256;

/** The buffers whose names are in `wanted`. Throws RangeError where an offset leaves the file. */
export function tfliteMetadata(file: Uint8Array, wanted: readonly string[]): Map<string, Uint8Array> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const model = follow(view, 0);
  const entries = vector(view, field(view, model, METADATA_FIELD));
  const buffers = vector(view, field(view, model, BUFFERS_FIELD));
  const found = new Map<string, Uint8Array>();
  for (let i = 0; i < Math.min(entries.length, MAX_ENTRIES); i++) {
    const entry = follow(view, entries.start + 4 * i);
    const name = vector(view, field(view, entry, 0));
    const key = new TextDecoder().decode(slice(file, name.start, Math.min(name.length, MAX_NAME)));
    if (!wanted.includes(key)) continue;
    const at = field(view, entry, 1);
    const index = at === 0 ? 0 : view.getUint32(at, true);
    if (index >= buffers.length) throw new RangeError(`buffer ${index}`);
    const data = vector(view, field(view, follow(view, buffers.start + 4 * index), 0));
    found.set(key, slice(file, data.start, data.length));
  }
  return found;
}

/** Where the offset at a position leads. */
function follow(view: DataView, position: number): number {
  return position + view.getUint32(position, true);
}

/** The position of a table's field, 0 if it is absent. */
function field(view: DataView, table: number, number: number): number {
  const vtable = table - view.getInt32(table, true);
  const slot = 4 + 2 * number;
  if (slot + 2 > view.getUint16(vtable, true)) return 0;
  const offset = view.getUint16(vtable + slot, true);
  return offset === 0 ? 0 : table + offset;
}

function vector(view: DataView, at: number): { start: number; length: number } {
  if (at === 0) return { start: 0, length: 0 };
  const start = follow(view, at);
  return { start: start + 4, length: view.getUint32(start, true) };
}

function slice(file: Uint8Array, start: number, length: number): Uint8Array {
  if (start + length > file.length) throw new RangeError(`${start} + ${length}`);
  return file.subarray(start, start + length);
}
