"""Proposals and mask logits on the host, for graphs that stop at the three head maps."""

import io
import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import HeadsRule
from maskconver_mobile.errors import MaskConverError

Array = NDArray[np.float32]
TAIL_KEY = "maskconver_tail"
"""Under which a model file's metadata holds the weights behind the heads."""
MAX_EMBEDDING = 1024
MAX_HIDDEN = 4096
MAX_HEADER = 4096
PEAK_ERROR = 1e-6
LAYER_NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class Tail:
    """Weights behind the heads, all float32; E is the embedding size, H the width between two dense layers.

    Attributes:
        class_embeddings: [classes, E].
        kernels: the two dense layers' [E, H] and [H, E].
        biases: [H] and [E].
        gamma: layer norm scale [H].
        beta: layer norm shift [H].
    """

    class_embeddings: Array
    kernels: Sequence[Array]
    biases: Sequence[Array]
    gamma: Array
    beta: Array

    def to_bytes(self) -> bytes:
        """An uncompressed .npz; where E = H, the layers stand in one array."""
        buffer = io.BytesIO()
        layers = {"kernels": self.kernels, "biases": self.biases}
        if self.kernels[0].shape == self.kernels[1].shape:
            arrays = {name: np.asarray(pair) for name, pair in layers.items()}
        else:
            arrays = {f"{name}_{i}": pair[i] for name, pair in layers.items() for i in (0, 1)}
        arrays |= {"class_embeddings": self.class_embeddings, "gamma": self.gamma, "beta": self.beta}
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, file: str, num_classes: int) -> "Tail":
        """Read it back.

        Args:
            content: what `to_bytes` wrote.
            file: names its origin in errors.
            num_classes: how many classes the model has.

        Raises:
            MaskConverError: it is damaged, or of other sizes than a model with so many classes has.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                (hidden,), (_, size) = _shape(archive, "gamma"), _shape(archive, "class_embeddings")
                if not (0 < size <= MAX_EMBEDDING and 0 < hidden <= MAX_HIDDEN):
                    raise ValueError(f"embeddings of {size}, {hidden} in between")
                kernels: Sequence[Array]
                biases: Sequence[Array]
                if size == hidden:
                    kernels = list(_member(archive, "kernels", (2, size, size)))
                    biases = list(_member(archive, "biases", (2, size)))
                else:
                    sides = ((size, hidden), (hidden, size))
                    kernels = [_member(archive, f"kernels_{i}", shape) for i, shape in enumerate(sides)]
                    biases = [_member(archive, f"biases_{i}", shape[1:]) for i, shape in enumerate(sides)]
                gamma, beta = (_member(archive, name, (hidden,)) for name in ("gamma", "beta"))
                return cls(_member(archive, "class_embeddings", (num_classes, size)), kernels, biases, gamma, beta)
        except Exception as error:  # zipfile and numpy raise many types for damaged archives
            raise MaskConverError(f"{file}: the weights behind its heads are damaged; convert it again") from error

    def mask_kernels(self, embeddings: Array, classes: NDArray[np.int32], rule: HeadsRule) -> Array:
        """Mask kernels [K, E] from gathered embeddings [K, E]: with the class embedding, dense, norm, act, dense."""
        of_classes = self.class_embeddings[classes]
        x = embeddings * of_classes if rule.combination == "product" else embeddings + of_classes
        x = x @ self.kernels[0] + self.biases[0]
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(LAYER_NORM_EPSILON)) * self.gamma + self.beta
        result: Array = ACTIVATIONS[rule.activation](x) @ self.kernels[1] + self.biases[1]
        return result


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(f"{name}.npy") as stream:
        return _header(io.BytesIO(stream.read(MAX_HEADER)))


def _member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> Array:
    """An array of a shape that is known; what is longer, or deflated and may grow without bounds, is refused."""
    info = archive.getinfo(f"{name}.npy")
    size = 4 * int(np.prod(shape))
    if info.compress_type != zipfile.ZIP_STORED or not size < info.file_size <= size + MAX_HEADER:
        raise ValueError(f"{name} of {info.file_size} bytes")
    data = archive.read(info)
    if _header(io.BytesIO(data)) != shape:
        raise ValueError(f"{name} is not {shape}")
    return np.frombuffer(data[-size:], np.float32).reshape(shape)


def _header(stream: io.BytesIO) -> tuple[int, ...]:
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an unknown version of .npy")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    if by_columns or dtype != np.dtype("<f4"):
        raise ValueError(f"{dtype} instead of float32")
    return shape


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    result: Array = np.float32(0.5) * (np.tanh(np.float32(0.5) * x) + np.float32(1))
    return result


def _gelu(x: Array) -> Array:
    """X Phi(x)."""
    phi = np.vectorize(math.erf, [np.float64])(x / np.sqrt(2))
    return np.asarray(0.5 * x * (1 + phi), np.float32)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "swish": lambda x: x * sigmoid(x),
    "gelu": _gelu,
}


def find_proposals(
    heatmap: Array, k: int, levels: Sequence[tuple[int, int]] = ()
) -> tuple[NDArray[np.int32], Array, NDArray[np.int64]]:
    """The K best local maxima of class logits [h, w, C].

    A peak's probability is within 1e-6 of the largest in its 3x3 neighbourhood; all else counts as 0. Ties take the
    lower flat index.

    Args:
        heatmap: [h, w, C]; or several maps, one after the other, if `levels` are given.
        k: how many.
        levels: (height, width) of each of those maps, in which neighborhoods are.

    Returns:
        classes int32 [K], scores float32 [K] descending, locations [K] (flat, `y * w + x`; those of a further map count
        on from the maps before it).
    """
    classes = heatmap.shape[-1]
    if levels:
        ends = np.cumsum([0, *(height * width for height, width in levels)]).tolist()
        rows = heatmap.reshape(-1, classes)
        maps = [rows[a:b].reshape(*level, classes) for (a, b), level in zip(pairwise(ends), levels, strict=True)]
    else:
        maps = [heatmap]
    peaks = np.concatenate([_peaks(map_) for map_ in maps])
    kth = np.partition(peaks, peaks.size - k)[peaks.size - k]
    candidates = np.flatnonzero(peaks >= kth)
    best = candidates[np.argsort(-peaks[candidates], kind="stable")[:k]]
    return (best % classes).astype(np.int32), peaks[best], best // classes


def _peaks(heatmap: Array) -> Array:
    """Probabilities [h * w * C] of the local maxima of class logits [h, w, C], 0 elsewhere."""
    probability = sigmoid(heatmap)
    padded = np.pad(probability, ((1, 1), (1, 1), (0, 0)), constant_values=-1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    largest = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    peaks: Array = np.where(largest - probability < PEAK_ERROR, probability, np.float32(0)).reshape(-1)
    return peaks


def finish_heads(
    heatmap: Array, embeddings: Array, pixels: Array, tail: Tail, k: int, rule: HeadsRule
) -> tuple[NDArray[np.int32], Array, Array]:
    """From the three head maps [1, h, w, channels] to what a `masks` graph puts out, by the card's rule.

    Returns:
        classes int32 [1, K], scores float32 [1, K], mask logits float32 [1, h, w, K].
    """
    classes, scores, locations = find_proposals(heatmap[0], k, rule.levels)
    _, height, width, size = pixels.shape
    kernels = tail.mask_kernels(embeddings.reshape(-1, embeddings.shape[-1])[locations], classes, rule)
    logits: Array = pixels.reshape(-1, size) @ kernels.T
    return classes[None], scores[None], logits.reshape(1, height, width, k)
