/** A model file of either format: its bytes, its card, and for level `heads` the weights behind the heads. */
import { CARD_KEY, type ModelCard, parseCard, TAIL_KEY } from "./card.js";
import { MaskConverError } from "./errors.js";
import { onnxMetadata } from "./onnx.js";
import { readTail, type Tail } from "./tail.js";
import { tfliteMetadata } from "./tflite.js";

const MAX_BYTES = 2 ** 30;
const KEYS = [CARD_KEY, TAIL_KEY];

export type Format = "tflite" | "onnx";

export interface ModelFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly format: Format;
  readonly card: ModelCard;
  readonly tail: Tail | null;
}

/** Read a model file; `name` stands for it in errors. */
export function readModel(bytes: Uint8Array<ArrayBuffer>, name: string): ModelFile {
  if (bytes.length === 0 || bytes.length > MAX_BYTES) {
    throw new MaskConverError(`${name}: has ${bytes.length} bytes; expected a model file of up to ${MAX_BYTES} bytes`);
  }
  const format = formatOf(bytes, name);
  const metadata = metadataOf(bytes, format, name);
  const text = metadata.get(CARD_KEY);
  if (text === undefined) {
    throw new MaskConverError(
      `${name}: carries no model card; convert the checkpoint with \`maskconver-mobile convert\``,
    );
  }
  const card = parseCard(new TextDecoder().decode(text), name);
  return { name, bytes, format, card, tail: card.level === "heads" ? tailOf(metadata, format, name) : null };
}

function formatOf(bytes: Uint8Array, name: string): Format {
  const identifier = new TextDecoder("latin1").decode(bytes.subarray(4, 8));
  if (identifier === "TFL3") return "tflite";
  if (identifier === "ORTM")
    throw new MaskConverError(`${name}: is an .ort file; give the .onnx file it was made from`);
  if (bytes[0] === 0x3c) throw new MaskConverError(`${name}: is a web page and no model; check its address`);
  return "onnx";
}

function metadataOf(bytes: Uint8Array, format: Format, name: string): Map<string, Uint8Array> {
  try {
    return format === "tflite" ? tfliteMetadata(bytes, KEYS) : onnxMetadata(bytes, KEYS);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const what = format === "tflite" ? "is a damaged TFLite model" : "is neither a TFLite nor an ONNX model";
    throw new MaskConverError(`${name}: ${what}, or is truncated or overwritten`);
  }
}

function tailOf(metadata: Map<string, Uint8Array>, format: Format, name: string): Tail {
  const damaged = () => new MaskConverError(`${name}: the weights behind its heads are damaged; convert it again`);
  const stored = metadata.get(TAIL_KEY);
  if (stored === undefined) throw damaged();
  try {
    return readTail(format === "tflite" ? stored : fromBase64(stored));
  } catch {
    throw damaged();
  }
}

function fromBase64(text: Uint8Array): Uint8Array {
  return Uint8Array.from(atob(new TextDecoder("latin1").decode(text)), (letter) => letter.charCodeAt(0));
}
