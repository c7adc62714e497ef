/** The bytes of a model file, from an address or a file. */
import { MaskConverError, reasonOf } from "./errors.js";

/** Called with bytes that are there and bytes expected, 0 where the host does not tell. */
export type Progress = (done: number, total: number) => void;

const MAX_BYTES = 2 ** 30;

export async function fetchModel(
  model: string | URL | Blob,
  onProgress: Progress = () => {},
): Promise<{ name: string; bytes: Uint8Array<ArrayBuffer> }> {
  if (model instanceof Blob) {
    return {
      name: model instanceof File ? model.name : "model",
      bytes: await read(model.stream(), model.size, onProgress),
    };
  }
  const url = new URL(model, location.href);
  const name = nameOf(url);
  const response = await fetch(url).catch((error: unknown) => {
    throw new MaskConverError(`${name}: cannot be fetched from ${url.host} (${reasonOf(error)})`);
  });
  if (!response.ok || response.body === null) {
    throw new MaskConverError(`${name}: ${url.host} answers ${response.status}; check the address`);
  }
  // With compression the length is that of what is sent, not of what is read.
  const length = response.headers.has("content-encoding") ? 0 : Number(response.headers.get("content-length"));
  try {
    return { name, bytes: await read(response.body, length || 0, onProgress) };
  } catch (error) {
    if (error instanceof MaskConverError) throw error;
    throw new MaskConverError(`${name}: was cut off on its way (${reasonOf(error)}); try again`);
  }
}

function nameOf(url: URL): string {
  const last = url.pathname.split("/").pop() || url.host;
  try {
    return decodeURIComponent(last);
  } catch {
    return last; // a percent sign that escapes nothing
  }
}

async function read(
  stream: ReadableStream<Uint8Array>,
  total: number,
  onProgress: Progress,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = stream.getReader();
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    parts.push(step.value);
    length += step.value.length;
    if (length > MAX_BYTES) throw new MaskConverError(`a model of over ${MAX_BYTES} bytes; expected a smaller one`);
    onProgress(length, total);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
