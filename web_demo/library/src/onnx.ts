/** The metadata properties of an ONNX file: a walk over the top-level protobuf fields, which skips the graph. */

const METADATA_PROPS = 14;
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** The properties whose keys are in `wanted`. Throws RangeError where the file is no protobuf message. */
export function onnxMetadata(file: Uint8Array, wanted: readonly string[]): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const [number, content] of fields(file)) {
    if (number !== METADATA_PROPS || content === null) continue;
    const entry = new Map(fields(content));
    const key = new TextDecoder().decode(entry.get(1) ?? new Uint8Array());
    if (wanted.includes(key)) found.set(key, entry.get(2) ?? new Uint8Array());
  }
  return found;
}

/** Field numbers with the content of those that have bytes. */
function* fields(message: Uint8Array): Generator<[number, Uint8Array | null]> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at++];
      if (byte === undefined || factor > 2 ** 63) throw new RangeError("truncated number");
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const kind = tag % 8;
    let content: Uint8Array | null = null;
    if (kind === VARINT) varint();
    else if (kind === FIXED64) at += 8;
    else if (kind === FIXED32) at += 4;
    else if (kind === BYTES) {
      const length = varint();
      content = message.subarray(at, at + length);
      at += length;
    } else throw new RangeError(`wire type ${kind}`);
    if (at > message.length || tag < 8) throw new RangeError("beyond the end");
    yield [Math.floor(tag / 8), content];
  }
}
