"""The vocabulary on NumPy arrays in float64: what a graph means, to the last bit that a test could ask for."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from maskconver_mobile.converters.graph.emit import emit
from maskconver_mobile.converters.graph.ir import Graph

Array = Any
"""NumPy arrays; operators on them are typed too loosely for more."""


def evaluate(graph: Graph, inputs: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """The outputs of a graph without composite operations."""
    return emit(graph, NumpyOps(), {name: _wide(np.asarray(value)) for name, value in inputs.items()})


def _wide(x: Array) -> Array:
    return x.astype(np.float64) if x.dtype.kind == "f" else x


class NumpyOps:
    """Floats are float64, whatever they would be elsewhere; maps are NHWC."""

    @contextmanager
    def scope(self, path: str) -> Iterator[None]:
        """Layers have no part in the values."""
        yield

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.float32) -> Array:
        """As it was given: float32 constants keep their rounding."""
        return _wide(np.asarray(value, dtype))

    def cast(self, x: Array, dtype: DTypeLike) -> Array:
        """Convert the element type."""
        return _wide(x.astype(dtype)) if np.dtype(dtype).kind != "f" else x.astype(np.float64)

    def to_bytes(self, x: Array) -> Array:
        """Whole numbers 0..255."""
        return x.astype(np.uint8)

    def planar(self, x: Array) -> Array:
        """Layout has no part in the values."""
        return x

    def conv(
        self, x: Array, kernel: Array, bias: Array | None = None, *, stride: int = 1, activation: str | None = None
    ) -> Array:
        """`SAME` convolution: one matrix product for each tap."""
        height, width = (-(-side // stride) for side in x.shape[1:3])
        y = np.zeros((1, height, width, kernel.shape[3]))
        for window, tap in _taps(x, kernel, stride, (1, 1)):
            y += window @ tap.astype(np.float64)
        return self._after(y, bias, activation)

    def depthwise(
        self,
        x: Array,
        kernel: Array,
        bias: Array | None = None,
        *,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        activation: str | None = None,
    ) -> Array:
        """`SAME` depthwise convolution: one product for each tap."""
        height, width = (-(-side // stride) for side in x.shape[1:3])
        y = np.zeros((1, height, width, x.shape[3]))
        for window, tap in _taps(x, kernel, stride, dilation):
            y += window * tap[:, 0].astype(np.float64)
        return self._after(y, bias, activation)

    def dense(self, x: Array, kernel: Array, bias: Array | None = None, *, activation: str | None = None) -> Array:
        """Rows times kernel plus bias."""
        return self._after(x @ kernel.astype(np.float64), bias, activation)

    def _after(self, y: Array, bias: Array | None, activation: str | None) -> Array:
        y = y if bias is None else y + bias.astype(np.float64)
        return y if activation is None else getattr(self, activation)(y)

    def batch_norm(self, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float) -> Array:
        """By channel."""
        gamma, beta, mean, variance = (part.astype(np.float64) for part in (gamma, beta, mean, variance))
        return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta

    def layer_norm(self, x: Array, gamma: Array, beta: Array, epsilon: float) -> Array:
        """Of the last axis."""
        centered = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt(np.square(centered).mean(-1, keepdims=True) + epsilon)
        return centered / deviation * gamma.astype(np.float64) + beta.astype(np.float64)

    def relu(self, x: Array) -> Array:
        """max(x, 0)."""
        return np.maximum(x, 0)

    def relu6(self, x: Array) -> Array:
        """min(max(x, 0), 6)."""
        return np.clip(x, 0, 6)

    def clip01(self, x: Array) -> Array:
        """min(max(x, 0), 1)."""
        return np.clip(x, 0, 1)

    def clip(self, x: Array, low: int, high: int) -> Array:
        """min(max(x, low), high)."""
        return np.clip(x, low, high)

    abs, log, ceil, sqrt = np.abs, np.log, np.ceil, np.sqrt
    maximum, minimum, equal = np.maximum, np.minimum, np.equal

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x)), without overflow."""
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + e), e / (1 + e))

    def swish(self, x: Array) -> Array:
        """X sigmoid(x)."""
        return x * self.sigmoid(x)

    def hard_sigmoid(self, x: Array) -> Array:
        """With the constant that the original has, which is not 1/6."""
        return np.clip(x + 3, 0, 6) * 0.16667

    def hard_swish(self, x: Array) -> Array:
        """X relu6(x + 3) / 6."""
        return x * np.clip(x + 3, 0, 6) / 6

    def gelu(self, x: Array) -> Array:
        """X Phi(x)."""
        return 0.5 * x * (1 + np.vectorize(math.erf, [float])(x / np.sqrt(2)))

    def gelu_tanh(self, x: Array) -> Array:
        """The approximation by tanh."""
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def resize(self, x: Array, size: tuple[int, int]) -> Array:
        """Bilinear, half-pixel centers."""
        for axis, m in ((1, size[0]), (2, size[1])):
            n = x.shape[axis]
            place = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
            low = np.floor(place).astype(int)
            shape = [1, 1, 1, 1]
            shape[axis] = m
            t = (place - low).reshape(shape)
            x = x.take(low, axis) * (1 - t) + x.take(np.minimum(low + 1, n - 1), axis) * t
        return x

    def broadcast_to(self, vector: Array, size: tuple[int, int]) -> Array:
        """The same everywhere."""
        return np.broadcast_to(vector, (1, *size, vector.shape[3]))

    def global_mean(self, x: Array) -> Array:
        """Over height and width."""
        return x.mean((1, 2), keepdims=True)

    def average_pool(self, x: Array, size: tuple[int, int], *, stride: int | None = None) -> Array:
        """Of windows side by side, without what is left at the end; with a stride, of their places in the map."""
        for axis, window in ((1, size[0]), (2, size[1])):
            side, step = x.shape[axis], stride or window
            count = -(-side // step) if stride else side // step
            first = max((count - 1) * step + window - side, 0) // 2 if stride else 0
            spans = [(max(i * step - first, 0), min(i * step - first + window, side)) for i in range(count)]
            x = np.concatenate([x.take(range(*span), axis).mean(axis, keepdims=True) for span in spans], axis)
        return x

    def max_pool(self, x: Array, size: int, *, stride: int = 1) -> Array:
        """`SAME`; the border counts as nothing."""
        pads = [(0, 0), (0, 0), (0, 0), (0, 0)]
        for axis in (1, 2):
            total = max((-(-x.shape[axis] // stride) - 1) * stride + size - x.shape[axis], 0)
            pads[axis] = (total // 2, total - total // 2)
        return self.window_max(np.pad(x, pads, constant_values=-np.inf), size)[:, ::stride, ::stride]

    def upsample(self, x: Array, factor: int) -> Array:
        """Each place repeated."""
        return x.repeat(factor, 1).repeat(factor, 2)

    def window_max(self, x: Array, size: int) -> Array:
        """`VALID`."""
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
        return windows.max((-2, -1))

    def concat(self, xs: Sequence[Array], axis: int = -1) -> Array:
        """Join along an axis."""
        return np.concatenate(xs, axis)

    def rows(self, x: Array) -> Array:
        """Locations of a map."""
        return x.reshape(-1, x.shape[3])

    def reshape(self, x: Array, shape: Sequence[int]) -> Array:
        """Same values in another shape."""
        return x.reshape(shape)

    def slice(self, x: Array, axis: int, start: int, stop: int) -> Array:
        """A part of one axis."""
        return x.take(range(start, stop), axis)

    def matmul(self, a: Array, b: Array) -> Array:
        """The second factor transposed."""
        return a @ b.transpose(0, 2, 1)

    def linear(self, rows: Array, vectors: Array, offsets: Array) -> Array:
        """Rows times vectors plus offsets."""
        return rows @ vectors.T + offsets

    def gather(self, x: Array, indices: Array) -> Array:
        """Rows of the first axis."""
        return x[indices]

    def pick(self, x: Array, locations: Array) -> Array:
        """Rows of a map."""
        return self.rows(x)[locations]

    def segment_sum(self, indices: Array, values: Array, size: int) -> Array:
        """Sums of what shares an index."""
        return np.bincount(indices, values, size).astype(values.dtype)

    def top_k(self, x: Array, k: int) -> tuple[Array, Array]:
        """Stable, so that ties take the lower index."""
        index = np.argsort(-x, -1, "stable")[..., :k]
        return np.take_along_axis(x, index, -1), index.astype(np.int32)

    def top_k_cells(self, x: Array, k: int, *, staged: bool = False) -> tuple[Array, Array, Array]:
        """Of the flattened map."""
        values, index = self.top_k(x.ravel(), k)
        return values, index // x.shape[3], index % x.shape[3]

    def where(self, condition: Array, a: Array, b: Array) -> Array:
        """By a condition."""
        return np.where(condition, a, b)

    def argmax(self, x: Array) -> Array:
        """The first on ties."""
        return x.argmax(-1).astype(np.int32)

    def max(self, x: Array, axis: int) -> Array:
        """Along one axis."""
        return x.max(axis)

    def sum(self, x: Array, axis: int) -> Array:
        """Over one axis."""
        return x.sum(axis)

    def all(self, conditions: Sequence[Array]) -> Array:
        """Conjunction."""
        return np.logical_and.reduce(np.broadcast_arrays(*conditions))

    def cond(self, condition: Array, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        """One of two."""
        return then() if bool(condition) else otherwise()


def _taps(x: Array, kernel: Array, stride: int, dilation: tuple[int, int]) -> Iterator[tuple[Array, Array]]:
    """What each tap of a `SAME` convolution sees, and its weights; what is odd in the padding goes to the end."""
    size = kernel.shape[:2]
    pads, sides = [], []
    for side, taps, step in zip(x.shape[1:3], size, dilation, strict=True):
        out, reach = -(-side // stride), (taps - 1) * step + 1
        total = max((out - 1) * stride + reach - side, 0)
        pads.append((total // 2, total - total // 2))
        sides.append((out - 1) * stride + 1)
    padded = np.pad(x, [(0, 0), *pads, (0, 0)])
    for i, j in np.ndindex(*size):
        top, left = i * dilation[0], j * dilation[1]
        yield padded[:, top : top + sides[0] : stride, left : left + sides[1] : stride], kernel[i, j]
