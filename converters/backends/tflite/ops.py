"""The operations of a graph, as TensorFlow traces them; what they mean stands at `graph.builder.GraphBuilder`."""

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, DTypeLike, NDArray

from maskconver_mobile.converters.backends.tflite.placeholders import Placeholders

Tensor = Any
Array = NDArray[np.float32]


class TensorFlowOps:
    """Operations on symbolic TensorFlow tensors; maps are NHWC."""

    def __init__(self, *, pick_in_place: bool = False, placeholders: Placeholders | None = None) -> None:
        """Whether rows are picked in place, and what stands for large kernels, if anything does."""
        self._pick_in_place = pick_in_place
        self._placeholders = placeholders

    def scope(self, path: str) -> AbstractContextManager[str]:
        """Operations within carry this layer's path in their tensors' names, by which they can be picked out later."""
        scope: AbstractContextManager[str] = tf.name_scope(f"{path}/")
        return scope

    def shape(self, x: Tensor) -> tuple[int, ...]:
        """The static shape."""
        return tuple(x.shape.as_list())

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.float32) -> Tensor:
        """A constant tensor."""
        return tf.constant(np.asarray(value, dtype))

    def cast(self, x: Tensor, dtype: DTypeLike) -> Tensor:
        """Convert the element type."""
        return tf.cast(x, tf.as_dtype(dtype))

    def to_bytes(self, x: Tensor) -> Tensor:
        """Integers 0..255 from floats that are such."""
        return tf.cast(x, tf.uint8)

    def planar(self, x: Tensor) -> Tensor:
        """A map [1, h, w, c] stored as convolutions want it: here as it is."""
        return x

    def conv(
        self, x: Tensor, kernel: Array, bias: Array | None = None, *, stride: int = 1, activation: str | None = None
    ) -> Tensor:
        """A `SAME` convolution; kernel [kh, kw, in, out]."""
        return _after(tf.nn.conv2d(x, self._kernel(kernel, (3, 0, 1, 2)), stride, "SAME"), bias, activation)

    def depthwise(
        self,
        x: Tensor,
        kernel: Array,
        bias: Array | None,
        *,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        activation: str | None = None,
    ) -> Tensor:
        """A `SAME` depthwise convolution; kernel [kh, kw, channels, 1]."""
        y = tf.raw_ops.DepthwiseConv2dNative(
            input=x,
            filter=kernel,
            strides=[1, stride, stride, 1],
            padding="SAME",
            dilations=[1, *dilation, 1],
        )
        return _after(y, bias, activation)

    def dense(self, x: Tensor, kernel: Array, bias: Array | None = None, *, activation: str | None = None) -> Tensor:
        """Rows [n, in] times kernel [in, out] plus bias."""
        return _after(tf.linalg.matmul(x, self._kernel(kernel, (1, 0))), bias, activation)

    def _kernel(self, kernel: Array, stored: tuple[int, ...]) -> Tensor:
        return kernel if self._placeholders is None else self._placeholders.constant(kernel, stored)

    def layer_norm(self, x: Tensor, gamma: Array, beta: Array, epsilon: float) -> Tensor:
        """Normalise the last axis (Ba et al. 2016)."""
        mean = tf.reduce_mean(x, -1, keepdims=True)
        centred = x - mean
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        return centred * tf.math.rsqrt(variance + epsilon) * gamma + beta

    def relu(self, x: Tensor) -> Tensor:
        """max(x, 0)."""
        return tf.nn.relu(x)

    def relu6(self, x: Tensor) -> Tensor:
        """min(max(x, 0), 6)."""
        return tf.nn.relu6(x)

    def clip01(self, x: Tensor) -> Tensor:
        """min(max(x, 0), 1)."""
        return tf.clip_by_value(x, 0.0, 1.0)

    def abs(self, x: Tensor) -> Tensor:
        """The magnitude."""
        return tf.abs(x)

    def log(self, x: Tensor) -> Tensor:
        """The natural logarithm."""
        return tf.math.log(x)

    def ceil(self, x: Tensor) -> Tensor:
        """The next integer up."""
        return tf.math.ceil(x)

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        """Element-wise maximum, with broadcasting."""
        return tf.maximum(a, b)

    def minimum(self, a: Tensor, b: Tensor) -> Tensor:
        """Element-wise minimum, with broadcasting."""
        return tf.minimum(a, b)

    def sigmoid(self, x: Tensor) -> Tensor:
        """1 / (1 + exp(-x))."""
        return tf.sigmoid(x)

    def sqrt(self, x: Tensor) -> Tensor:
        """The square root."""
        return tf.sqrt(x)

    def swish(self, x: Tensor) -> Tensor:
        """X sigmoid(x)."""
        return x * tf.sigmoid(x)

    def hard_sigmoid(self, x: Tensor) -> Tensor:
        """With the constant that the original has, which is not 1/6."""
        return tf.nn.relu6(x + 3.0) * 0.16667

    def hard_swish(self, x: Tensor) -> Tensor:
        """In the form that the converter knows as HARD_SWISH."""
        return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)

    def gelu(self, x: Tensor) -> Tensor:
        """X Phi(x), in the form that the converter knows as GELU."""
        return tf.nn.gelu(x)

    def gelu_tanh(self, x: Tensor) -> Tensor:
        """The approximation by tanh."""
        return tf.nn.gelu(x, approximate=True)

    def resize(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        """Bilinear, half-pixel centres, no antialias."""
        if self.shape(x)[1:3] == size:
            return x
        return tf.raw_ops.ResizeBilinear(images=x, size=size, half_pixel_centers=True)

    def global_mean(self, x: Tensor) -> Tensor:
        """Mean over height and width, [1, 1, 1, channels]."""
        return tf.reduce_mean(x, [1, 2], keepdims=True)

    def average_pool(self, x: Tensor, size: tuple[int, int], *, stride: int | None = None) -> Tensor:
        """Average pooling with strides as large as its windows, or one of its own."""
        return tf.nn.avg_pool2d(x, size, stride or size, "SAME" if stride else "VALID")

    def max_pool(self, x: Tensor, size: int, *, stride: int = 1) -> Tensor:
        """`SAME` max pooling."""
        return tf.nn.max_pool2d(x, size, stride, "SAME")

    def upsample(self, x: Tensor, factor: int) -> Tensor:
        """Nearest neighbor."""
        _, height, width, _ = self.shape(x)
        size = [height * factor, width * factor]
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size, half_pixel_centers=True)

    def window_max(self, x: Tensor, size: int) -> Tensor:
        """`VALID` max pooling with stride 1."""
        return tf.nn.max_pool2d(x, size, 1, "VALID")

    def concat(self, xs: Sequence[Tensor], axis: int = -1) -> Tensor:
        """Join along an axis."""
        return tf.concat(list(xs), axis)

    def broadcast_to(self, vector: Tensor, size: tuple[int, ...]) -> Tensor:
        """A map [1, 1, 1, c] in a form that adds to maps of this size: here as it is, sums broadcast it."""
        return vector

    def rows(self, x: Tensor) -> Tensor:
        """The locations of a map [1, h, w, c] as rows [h * w, c]."""
        _, height, width, channels = self.shape(x)
        return tf.reshape(x, [height * width, channels])

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Same values in another shape."""
        return tf.reshape(x, list(shape))

    def slice(self, x: Tensor, axis: int, start: int, stop: int) -> Tensor:
        """What lies from start to before stop on one axis."""
        shape = list(self.shape(x))
        begin = [0] * len(shape)
        begin[axis], shape[axis] = start, stop - start
        return tf.slice(x, begin, shape)

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """[1, n, c] times [1, m, c] transposed: [1, n, m]. As a batched product, which XNNPACK takes."""
        return tf.linalg.matmul(a, b, transpose_b=True)

    def linear(self, rows: Tensor, vectors: Tensor, offsets: Tensor) -> Tensor:
        """[n, c] times [m, c] transposed, plus [m]: [n, m]."""
        (n, channels), m = self.shape(rows), self.shape(vectors)[0]
        product = self.matmul(tf.reshape(rows, [1, n, channels]), tf.reshape(vectors, [1, m, channels]))
        return tf.reshape(product + tf.reshape(offsets, [1, 1, m]), [n, m])

    def gather(self, x: Tensor, indices: Tensor) -> Tensor:
        """Rows of the first axis."""
        return tf.gather(x, indices, axis=0)

    def pick(self, x: Tensor, locations: Tensor) -> Tensor:
        """Rows [..., c] of a map [1, h, w, c] at places y * w + x, int32 [...].

        In place by both coordinates: kernels that flatten a map first copy it.
        """
        if not self._pick_in_place:
            rows = self.gather(self.rows(x), tf.reshape(locations, [-1]))  # GPUs take one axis of indices
            return tf.reshape(rows, [*self.shape(locations), self.shape(x)[-1]])
        width = self.shape(x)[2]
        row = locations // width
        return tf.gather_nd(x, tf.stack([tf.zeros_like(row), row, locations - row * width], -1))

    def segment_sum(self, indices: Tensor, values: Tensor, size: int) -> Tensor:
        """Sums of the values [n] that share an index, for indices 0 ... size - 1."""
        return tf.scatter_nd(tf.reshape(indices, [-1, 1]), values, [size])

    def top_k(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Values and int32 indices of the k largest of the last axis, sorted; ties take the lower index."""
        return tuple(tf.math.top_k(x, k))

    def top_k_cells(self, x: Tensor, k: int, *, staged: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Values, places y * w + x and channels of the k largest of a map [1, h, w, c], sorted.

        Ties in a channel take the first place. In stages, the k places with the largest values come first: any place
        but those has k better.
        """
        _, height, width, channels = self.shape(x)
        places = height * width
        if staged:
            _, best = self.top_k(tf.reshape(self.max(x, -1), [places]), min(k, places))
            values, row, channel = self._top_of_rows(self.pick(x, best), k)
            return values, self.gather(best, row), channel
        return self._top_of_rows(tf.reshape(x, [places, channels]), k)

    def _top_of_rows(self, rows: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        count, columns = self.shape(rows)
        values, index = self.top_k(tf.reshape(rows, [count * columns]), k)
        row = index // columns
        return values, row, index - row * columns

    def argmax(self, x: Tensor) -> Tensor:
        """Index (int32) of the largest on the last axis, the first on ties."""
        return tf.math.argmax(x, -1, output_type=tf.int32)

    def max(self, x: Tensor, axis: int) -> Tensor:
        """Largest along one axis."""
        return tf.reduce_max(x, axis)

    def sum(self, x: Tensor, axis: int) -> Tensor:
        """Sum over one axis."""
        return tf.reduce_sum(x, axis)

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """A where the condition holds, else b."""
        return tf.where(condition, a, b)

    def cond(self, condition: Tensor, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        """One of two subgraphs, each with a tensor or a tuple of them; the other does not run."""
        return tf.cond(condition, then, otherwise)

    def equal(self, a: Tensor, b: Tensor) -> Tensor:
        """Element-wise equality, with broadcasting."""
        return tf.equal(a, b)

    def clip(self, x: Tensor, low: int, high: int) -> Tensor:
        """min(max(x, low), high)."""
        return tf.minimum(tf.maximum(x, low), high)

    def all(self, conditions: Sequence[Tensor]) -> Tensor:
        """Element-wise conjunction."""
        return functools.reduce(tf.logical_and, conditions)


def _after(y: Tensor, bias: Array | None, activation: str | None) -> Tensor:
    y = y if bias is None else tf.nn.bias_add(y, bias)
    return y if activation is None else getattr(tf.nn, activation)(y)
