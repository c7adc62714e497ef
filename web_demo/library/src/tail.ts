/** Proposals and mask logits on the host, for graphs that stop at the three head maps. */
import { type FloatArray, readNpz } from "./npz.js";
import type { Proposals } from "./merge.js";

const PEAK_ERROR = 1e-6;
const LAYER_NORM_EPSILON = 1e-6;

/** Weights behind the heads; `size` is E, that of an embedding. */
export interface Tail {
  readonly size: number;
  readonly classEmbeddings: Float32Array;
  readonly kernels: Float32Array;
  readonly biases: Float32Array;
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
}

/** A head's map, [height, width, channels]. */
export interface HeadMap {
  readonly shape: readonly [number, number, number];
  readonly data: Float32Array;
}

/** Read the weights from an .npz. Throws where its arrays do not fit together. */
export function readTail(content: Uint8Array): Tail {
  const arrays = readNpz(content);
  const get = (name: string, ...shape: number[]): Float32Array => {
    const found: FloatArray | undefined = arrays.get(name);
    if (found === undefined || found.shape.join() !== shape.join()) throw new RangeError(name);
    return found.data;
  };
  const [classes = 0, size = 0] = arrays.get("class_embeddings")?.shape ?? [];
  return {
    size,
    classEmbeddings: get("class_embeddings", classes, size),
    kernels: get("kernels", 2, size, size),
    biases: get("biases", 2, size),
    gamma: get("gamma", size),
    beta: get("beta", size),
  };
}

/** From the three head maps to what a `masks` graph puts out. */
export function finishHeads(heatmap: HeadMap, embeddings: HeadMap, pixels: HeadMap, tail: Tail, k: number): Proposals {
  const { classes, scores, locations } = findProposals(heatmap, k);
  const [height, width, size] = pixels.shape;
  const count = classes.length;
  const kernels = Array.from(classes, (id, i) =>
    maskKernel(embeddings.data.subarray((locations[i] ?? 0) * size, ((locations[i] ?? 0) + 1) * size), id, tail),
  );
  const logits = new Float32Array(height * width * count);
  for (let pixel = 0; pixel < height * width; pixel++) {
    const features = pixels.data.subarray(pixel * size, (pixel + 1) * size);
    for (let i = 0; i < count; i++) logits[pixel * count + i] = dot(features, kernels[i] as Float32Array);
  }
  return { height, width, count, logits, scores, classes };
}

/** The K best local maxima of class logits; ties take the lower flat index. */
function findProposals(heatmap: HeadMap, k: number) {
  const [height, width, channels] = heatmap.shape;
  const probability = heatmap.data.map((logit) => 0.5 * (Math.tanh(0.5 * logit) + 1));
  const peaks = probability.map((value, index) => {
    const y = Math.floor(index / (width * channels));
    const x = Math.floor(index / channels) % width;
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) {
        if (y + dy < 0 || y + dy >= height || x + dx < 0 || x + dx >= width) continue;
        const other = probability[index + (dy * width + dx) * channels] as number;
        if (Math.fround(other - value) >= PEAK_ERROR) return 0;
      }
    }
    return value;
  });
  const best: number[] = [];
  peaks.forEach((value, index) => value > 0 && best.push(index));
  best.sort((a, b) => (peaks[b] as number) - (peaks[a] as number) || a - b);
  best.length = Math.min(best.length, k);
  // Too few peaks are filled up with places that are none.
  for (let index = 0; best.length < k && index < peaks.length; index++) if (!(peaks[index]! > 0)) best.push(index);
  return {
    classes: Int32Array.from(best, (index) => index % channels),
    scores: Float32Array.from(best, (index) => peaks[index] as number),
    locations: best.map((index) => Math.floor(index / channels)),
  };
}

/** Times the class embedding, dense, norm, relu, dense. */
function maskKernel(embedding: Float32Array, id: number, tail: Tail): Float32Array {
  const { size } = tail;
  const product = embedding.map((value, i) => value * (tail.classEmbeddings[id * size + i] as number));
  const hidden = dense(product, 0, tail);
  const mean = sum(hidden) / size;
  const centered = hidden.map((value) => value - mean);
  const deviation = Math.sqrt(sum(centered.map((value) => value * value)) / size + LAYER_NORM_EPSILON);
  const activated = centered.map((value, i) =>
    Math.max(0, (value / deviation) * (tail.gamma[i] as number) + (tail.beta[i] as number)),
  );
  return dense(activated, 1, tail);
}

function dense(input: Float32Array, layer: number, { size, kernels, biases }: Tail): Float32Array {
  const output = Float64Array.from(biases.subarray(layer * size, (layer + 1) * size));
  for (let i = 0; i < size; i++) {
    const start = (layer * size + i) * size;
    for (let j = 0; j < size; j++)
      output[j] = (output[j] as number) + (input[i] as number) * (kernels[start + j] as number);
  }
  return Float32Array.from(output);
}

function dot(a: Float32Array, b: Float32Array): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += (a[i] as number) * (b[i] as number);
  return total;
}

function sum(values: Float32Array): number {
  return values.reduce((total, value) => total + value, 0);
}
