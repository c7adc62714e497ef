/** Just enough of flatbuffers to walk a TFLite file. Every reader throws RangeError where an offset leaves the file. */

export interface Vector {
  /** Of its first element. */
  readonly start: number;
  readonly length: number;
}

export function viewOf(file: Uint8Array): DataView {
  return new DataView(file.buffer, file.byteOffset, file.byteLength);
}

/** Where the offset at a position leads. */
export function follow(view: DataView, position: number): number {
  return position + view.getUint32(position, true);
}

/** The position of a table's field, 0 if it is absent. */
export function field(view: DataView, table: number, number: number): number {
  const vtable = table - view.getInt32(table, true);
  const slot = 4 + 2 * number;
  if (slot + 2 > view.getUint16(vtable, true)) return 0;
  const offset = view.getUint16(vtable + slot, true);
  return offset === 0 ? 0 : table + offset;
}

/** A vector field of a table; an empty one if it is absent. */
export function vector(view: DataView, table: number, number: number): Vector {
  const at = field(view, table, number);
  if (at === 0) return { start: 0, length: 0 };
  const start = follow(view, at);
  return { start: start + 4, length: view.getUint32(start, true) };
}

export function slice(file: Uint8Array, { start, length }: Vector): Uint8Array {
  if (start + length > file.length) throw new RangeError(`${start} + ${length}`);
  return file.subarray(start, start + length);
}
