/**
 * Weights of float16 as float32, inside a TFLite file.
 *
 * LiteRT.js leaves every convolution whose weights come out of a DEQUANTIZE to kernels outside XNNPACK, which are several
 * times slower. So the weights are widened before the file is loaded: the float16 tensor becomes a float32 one with a new
 * buffer behind the file, its consumers read it directly, and the DEQUANTIZE goes.
 */
import { field, follow, slice, type Vector, vector, viewOf } from "./flatbuffer.js";

const OPERATOR_CODES = 1;
const SUBGRAPHS = 2;
const BUFFERS = 4;
const DEQUANTIZE = 6;
const FLOAT16 = 1;
const FLOAT32 = 0;
const ALIGNMENT = 16;
/** A table with one field, 4 bytes behind its start: vtable of 6 bytes and 2 of padding, offset to it, offset to data. */
const BUFFER_TABLE = [6, 0, 8, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];

/** The file with its float16 weights widened; the same file if it has none. Throws RangeError where it is damaged. */
export function widenWeights(file: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const view = viewOf(file);
  const model = follow(view, 0);
  const [subgraphs, buffers] = [vector(view, model, SUBGRAPHS), vector(view, model, BUFFERS)];
  if (subgraphs.length === 0) return file;
  const casts = castsIn(view, model, follow(view, subgraphs.start), buffers);
  if (casts.length === 0) return file;
  const data = casts.map(({ buffer }) => slice(file, vector(view, follow(view, buffers.start + 4 * buffer), 0)));
  const sizes = data.map((half) => align(BUFFER_TABLE.length + ALIGNMENT + 2 * half.length));
  const size = align(file.length) + sizes.reduce((sum, size) => sum + size, 0);
  // A sound file keeps each weight once.
  if (size > 4 * file.length + ALIGNMENT * 4 * casts.length) throw new RangeError(`${size} bytes of weights`);
  const widened = new Uint8Array(size);
  widened.set(file);
  const target = viewOf(widened);
  const values = tableOfHalves();
  let end = align(file.length);
  casts.forEach((cast, i) => {
    const half = data[i] as Uint8Array;
    appendBuffer(widened, end, half, values);
    target.setUint32(buffers.start + 4 * cast.buffer, end + 8 - (buffers.start + 4 * cast.buffer), true);
    target.setUint8(cast.type, FLOAT32);
    end += sizes[i] as number;
  });
  redirect(target, follow(view, subgraphs.start), casts);
  return widened;
}

interface Cast {
  readonly operator: number;
  readonly from: number;
  readonly to: number;
  /** Index of the float16 tensor's buffer, and where its type stands. */
  readonly buffer: number;
  readonly type: number;
}

/** The DEQUANTIZE operators of a graph that widen constants. */
function castsIn(view: DataView, model: number, graph: number, buffers: Vector): Cast[] {
  const codes = vector(view, model, OPERATOR_CODES);
  const [tensors, operators] = [vector(view, graph, 0), vector(view, graph, 3)];
  const found: Cast[] = [];
  for (let i = 0; i < operators.length; i++) {
    const operator = follow(view, operators.start + 4 * i);
    const code = follow(view, codes.start + 4 * number(view, operator, 0));
    const [inputs, outputs] = [vector(view, operator, 1), vector(view, operator, 2)];
    if (byte(view, code, 0) !== DEQUANTIZE || inputs.length !== 1 || outputs.length !== 1) continue;
    const [from, to] = [view.getInt32(inputs.start, true), view.getInt32(outputs.start, true)];
    if (from < 0 || from >= tensors.length) throw new RangeError(`tensor ${from}`);
    const tensor = follow(view, tensors.start + 4 * from);
    const buffer = number(view, tensor, 2);
    if (buffer >= buffers.length) throw new RangeError(`buffer ${buffer}`);
    if (buffer > 0 && byte(view, tensor, 1) === FLOAT16)
      found.push({ operator: i, from, to, buffer, type: field(view, tensor, 1) });
  }
  return found;
}

/** Write a buffer table and its data: the widened values of `half`. */
function appendBuffer(file: Uint8Array<ArrayBuffer>, at: number, half: Uint8Array, table: Float32Array): void {
  const view = viewOf(file);
  file.set(BUFFER_TABLE, at);
  const values = at + BUFFER_TABLE.length + ALIGNMENT;
  view.setUint32(at + 12, values - 4 - (at + 12), true);
  view.setUint32(values - 4, 2 * half.length, true);
  const source = viewOf(half);
  for (let i = 0; i < half.length >> 1; i++)
    view.setFloat32(values + 4 * i, table[source.getUint16(2 * i, true)] as number, true);
}

/** Let all consumers read the constants, and drop the operators that widened them. */
function redirect(view: DataView, graph: number, casts: readonly Cast[]): void {
  const constants = new Map(casts.map(({ from, to }) => [to, from]));
  const dropped = new Set(casts.map(({ operator }) => operator));
  const operators = vector(view, graph, 3);
  let kept = 0;
  for (let i = 0; i < operators.length; i++) {
    if (dropped.has(i)) continue;
    const operator = follow(view, operators.start + 4 * i);
    const inputs = vector(view, operator, 1);
    for (let at = inputs.start; at < inputs.start + 4 * inputs.length; at += 4) {
      const constant = constants.get(view.getInt32(at, true));
      if (constant !== undefined) view.setInt32(at, constant, true);
    }
    const place = operators.start + 4 * kept++;
    view.setUint32(place, operator - place, true);
  }
  view.setUint32(operators.start - 4, kept, true);
}

/** What each of the 65,536 halves is. */
function tableOfHalves(): Float32Array {
  const table = new Float32Array(1 << 16);
  for (let bits = 0; bits < table.length; bits++) {
    const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    const finite = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    table[bits] = sign * (exponent < 31 ? finite : fraction === 0 ? Infinity : Number.NaN);
  }
  return table;
}

function number(view: DataView, table: number, index: number): number {
  const at = field(view, table, index);
  return at === 0 ? 0 : view.getUint32(at, true);
}

function byte(view: DataView, table: number, index: number): number {
  const at = field(view, table, index);
  return at === 0 ? 0 : view.getUint8(at);
}

function align(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}
