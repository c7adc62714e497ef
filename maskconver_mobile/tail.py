"""Proposals and mask logits on the host, for graphs that stop at the three head maps."""

import io
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError

Array = NDArray[np.float32]
PEAK_ERROR = 1e-6
LAYER_NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class Tail:
    """Weights behind the heads, all float32; E is the embedding size.

    Attributes:
        class_embeddings: [classes, E].
        kernels: the two dense layers' [2, E, E].
        biases: [2, E].
        gamma: layer norm scale [E].
        beta: layer norm shift [E].
    """

    class_embeddings: Array
    kernels: Array
    biases: Array
    gamma: Array
    beta: Array

    def to_bytes(self) -> bytes:
        """An uncompressed .npz."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{f.name: getattr(self, f.name) for f in fields(self)})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, file: str) -> "Tail":
        """Read it back; `file` names its origin in errors."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                tail = cls(**{f.name: np.asarray(arrays[f.name], np.float32) for f in fields(cls)})
            size = tail.class_embeddings.shape[1]
            shapes = (tail.kernels.shape, tail.biases.shape, tail.gamma.shape, tail.beta.shape)
            if shapes != ((2, size, size), (2, size), (size,), (size,)):
                raise ValueError(f"shapes {shapes}")
        except Exception as error:  # zipfile and numpy raise many types for damaged archives
            raise MaskConverError(f"{file}: the weights behind its heads are damaged; convert it again") from error
        return tail

    def mask_kernels(self, embeddings: Array, classes: NDArray[np.int32]) -> Array:
        """Mask kernels [K, E] from gathered embeddings [K, E]: times the class embedding, dense, norm, relu, dense."""
        x = embeddings * self.class_embeddings[classes]
        x = x @ self.kernels[0] + self.biases[0]
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(LAYER_NORM_EPSILON)) * self.gamma + self.beta
        result: Array = np.maximum(x, 0) @ self.kernels[1] + self.biases[1]
        return result


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    result: Array = np.float32(0.5) * (np.tanh(np.float32(0.5) * x) + np.float32(1))
    return result


def find_proposals(heatmap: Array, k: int) -> tuple[NDArray[np.int32], Array, NDArray[np.int64]]:
    """The K best local maxima of class logits [h, w, C].

    A peak's probability is within 1e-6 of the largest in its 3x3 neighbourhood; all else counts as 0. Ties take the
    lower flat index.

    Returns:
        classes int32 [K], scores float32 [K] descending, locations [K] (flat, `y * w + x`).
    """
    classes = heatmap.shape[-1]
    probability = sigmoid(heatmap)
    padded = np.pad(probability, ((1, 1), (1, 1), (0, 0)), constant_values=-1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    largest = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    peaks = np.where(largest - probability < PEAK_ERROR, probability, np.float32(0)).reshape(-1)
    kth = np.partition(peaks, peaks.size - k)[peaks.size - k]
    candidates = np.flatnonzero(peaks >= kth)
    best = candidates[np.argsort(-peaks[candidates], kind="stable")[:k]]
    return (best % classes).astype(np.int32), peaks[best], best // classes


def finish_heads(
    heatmap: Array, embeddings: Array, pixels: Array, tail: Tail, k: int
) -> tuple[NDArray[np.int32], Array, Array]:
    """From the three head maps [1, h, w, channels] to what a `masks` graph puts out.

    Returns:
        classes int32 [1, K], scores float32 [1, K], mask logits float32 [1, h, w, K].
    """
    classes, scores, locations = find_proposals(heatmap[0], k)
    _, height, width, size = pixels.shape
    kernels = tail.mask_kernels(embeddings.reshape(-1, embeddings.shape[-1])[locations], classes)
    logits: Array = pixels.reshape(-1, size) @ kernels.T
    return classes[None], scores[None], logits.reshape(1, height, width, k)
