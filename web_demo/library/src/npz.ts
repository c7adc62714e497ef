/** Arrays of float32 from an uncompressed .npz, as NumPy's `savez` writes it. */

export interface FloatArray {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_HEADER = 0x04034b50;
const END_BYTES = 22;
const MAX_ENTRIES = 64;
const HEADER = /^\{'descr': '<f4', 'fortran_order': False, 'shape': \((?<shape>[\d, ]*)\), \}\s*$/;

/** Read every array by name. Throws where the archive is not as it should be. */
export function readNpz(file: Uint8Array): Map<string, FloatArray> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const end = file.length - END_BYTES;
  if (view.getUint32(end, true) !== END_OF_DIRECTORY) throw new RangeError("no end of directory");
  const count = view.getUint16(end + 10, true);
  if (count > MAX_ENTRIES) throw new RangeError(`${count} entries`);
  const arrays = new Map<string, FloatArray>();
  let at = view.getUint32(end + 16, true);
  for (let i = 0; i < count; i++) {
    if (view.getUint32(at, true) !== DIRECTORY_ENTRY || view.getUint16(at + 10, true) !== 0) {
      throw new RangeError("a compressed or damaged entry");
    }
    const size = view.getUint32(at + 24, true);
    const nameLength = view.getUint16(at + 28, true);
    const name = new TextDecoder().decode(file.subarray(at + 46, at + 46 + nameLength));
    const local = view.getUint32(at + 42, true);
    if (view.getUint32(local, true) !== LOCAL_HEADER) throw new RangeError("no local header");
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    if (start + size > file.length) throw new RangeError(name);
    arrays.set(name.replace(/\.npy$/, ""), readNpy(file.subarray(start, start + size)));
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return arrays;
}

function readNpy(file: Uint8Array): FloatArray {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const start = 10 + view.getUint16(8, true);
  const match = HEADER.exec(new TextDecoder("latin1").decode(file.subarray(10, start)));
  if (file[0] !== 0x93 || file[6] !== 1 || match === null) throw new RangeError("no float32 array");
  const shape = (match.groups?.shape ?? "")
    .split(",")
    .filter((part) => part.trim() !== "")
    .map(Number);
  const count = shape.reduce((product, side) => product * side, 1);
  if (file.length !== start + 4 * count) throw new RangeError(`shape ${shape}`);
  return { shape, data: new Float32Array(file.slice(start).buffer) };
}
