"""The operations that the network is written in, as ONNX nodes.

The same vocabulary as `ops.TensorFlowOps`; what the operations mean stands there. Convolutions want channels first, so
maps are kept that way from the first convolution on, and the Transpose back is left to the graph's outputs.
"""

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike, NDArray

from maskconver_mobile.converters.backends.onnx.banded import banded_depthwise, banded_resize, choose_band
from maskconver_mobile.converters.backends.onnx.elementwise import OnnxElementwise
from maskconver_mobile.converters.backends.onnx.graph import OnnxGraph, tensor_type
from maskconver_mobile.converters.backends.onnx.tensor import OnnxTensor, aligned, elementwise, same_padding

Array = NDArray[np.float32]
IMAGE_CHANNELS = 4
"""A map of more channels is not read as one plane: its kernels would become dense ones over rows."""


class OnnxOps(OnnxElementwise):
    """Operations on tensors of one graph; `banded` where `onnx_banded` suits the kernels."""

    def __init__(self, graph: OnnxGraph, *, banded: bool = False) -> None:
        super().__init__(graph)
        self.banded = banded

    def scope(self, path: str) -> AbstractContextManager[str]:
        """Operators within carry this layer's path in their names."""
        return self.graph.scope(path)

    def shape(self, x: OnnxTensor) -> tuple[int, ...]:
        """The static shape."""
        return x.shape

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.float32) -> OnnxTensor:
        """A constant tensor."""
        return OnnxTensor.constant(self.graph, value, dtype)

    def cast(self, x: OnnxTensor, dtype: DTypeLike) -> OnnxTensor:
        """Convert the element type."""
        return x.cast(dtype)

    def to_bytes(self, x: OnnxTensor) -> OnnxTensor:
        """Integers 0..255 from floats that are such."""
        return x.cast(np.uint8)

    def planar(self, x: OnnxTensor) -> OnnxTensor:
        """A map [1, h, w, c] with its channels in planes of their own."""
        return x.laid_out(True)

    def conv(
        self, x: OnnxTensor, kernel: Array, bias: Array | None = None, *, stride: int = 1, activation: str | None = None
    ) -> OnnxTensor:
        """A `SAME` convolution; kernel [kh, kw, in, out]. Channels that lie side by side, the image's, stay so."""
        x = x if x.channels_first or x.shape[-1] <= IMAGE_CHANNELS else self.planar(x)
        return self._conv(x, kernel.transpose(3, 2, 0, 1), bias, stride, (1, 1), 1, activation)

    def depthwise(
        self,
        x: OnnxTensor,
        kernel: Array,
        bias: Array | None,
        *,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        activation: str | None = None,
    ) -> OnnxTensor:
        """A `SAME` depthwise convolution; kernel [kh, kw, channels, 1]."""
        x = self.planar(x)
        band = choose_band(x.shape[1:3], kernel, stride, dilation) if self.banded else None
        if band is not None:
            name = banded_depthwise(self.graph, x.stored(), kernel, bias, band, relu=activation == "relu")
            y = self._like(x, name, (1, *band.results, x.shape[3]), channels_first=True)
            return self.relu6(y) if activation == "relu6" else y
        return self._conv(x, kernel.transpose(2, 3, 0, 1), bias, stride, dilation, x.shape[-1], activation)

    def _conv(
        self,
        x: OnnxTensor,
        kernel: Array,
        bias: Array | None,
        stride: int,
        dilation: tuple[int, int],
        groups: int,
        activation: str | None,
    ) -> OnnxTensor:
        """Kernel [out, in / groups, kh, kw]; a bias of zeros is left out.

        A map whose channels lie side by side is one plane of w * c columns. There the kernel spans kw * c columns and
        moves on by stride * c: the same products, and nothing has to be transposed.
        """
        _, height, width, channels = x.shape
        reach = [(k - 1) * d + 1 for k, d in zip(kernel.shape[2:], dilation, strict=True)]
        top, left, bottom, right = same_padding((height, width), reach, stride)
        step, plane = 1, x.stored()
        if not x.channels_first:
            step, plane = channels, self.graph.reshape(x.name, [1, 1, height, width * channels])
            kernel = kernel.transpose(0, 2, 3, 1).reshape(len(kernel), 1, kernel.shape[2], -1)
        inputs = [plane, self.graph.constant(kernel)]
        if bias is not None and bias.any():
            inputs.append(self.graph.constant(bias))
        name = self.graph.node(
            "Conv",
            inputs,
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride, stride * step],
            dilations=list(dilation),
            group=groups,
            pads=[top, left * step, bottom, right * step],
        )
        height, width = (-(-side // stride) for side in (height, width))
        y = self._like(x, name, (1, height, width, kernel.shape[0]), channels_first=True)
        return y if activation is None else getattr(self, activation)(y)

    def dense(
        self, x: OnnxTensor, kernel: Array, bias: Array | None = None, *, activation: str | None = None
    ) -> OnnxTensor:
        """Rows [n, in] times kernel [in, out] plus bias."""
        inputs = [x.stored(), self.graph.constant(kernel)]
        inputs += [] if bias is None else [self.graph.constant(bias)]
        name = self.graph.node("Gemm", inputs, transA=int(x.channels_first))
        y = self._like(x, name, (x.shape[0], kernel.shape[1]), channels_first=False)
        return y if activation is None else getattr(self, activation)(y)

    def layer_norm(self, x: OnnxTensor, gamma: Array, beta: Array, epsilon: float) -> OnnxTensor:
        """Normalise the last axis (Ba et al. 2016); maps with their channels first have no operator for it."""
        if not x.channels_first:
            inputs = [x.stored(), self.graph.constant(gamma), self.graph.constant(beta)]
            return replace(x, name=self.graph.node("LayerNormalization", inputs, axis=-1, epsilon=epsilon))
        centred = x - self._mean(x)
        deviation = self._unary("Sqrt", self._mean(centred * centred) + epsilon)
        return elementwise("Div", centred, deviation) * self.constant(gamma) + self.constant(beta)

    def _mean(self, x: OnnxTensor) -> OnnxTensor:
        name = self.graph.node("ReduceMean", [x.stored()], axes=[x.stored_axis(-1)], keepdims=1)
        return replace(x, name=name, shape=(*x.shape[:-1], 1))

    def upsample(self, x: OnnxTensor, factor: int) -> OnnxTensor:
        """Nearest neighbor."""
        size = [x.shape[1] * factor, x.shape[2] * factor]
        sizes = self.graph.constant(np.array([1, x.shape[3], *size], np.int64))
        inputs = [x.laid_out(True).stored(), "", "", sizes]
        attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self._like(
            x, self.graph.node("Resize", inputs, **attributes), (1, *size, x.shape[3]), channels_first=True
        )

    def resize(self, x: OnnxTensor, size: tuple[int, ...]) -> OnnxTensor:
        """Bilinear, half-pixel centres, no antialias."""
        if x.shape[1:3] == size:
            return x
        if self.banded and min(x.shape[1:3]) > 1:
            name = banded_resize(self.graph, x.laid_out(True).stored(), x.shape[1:3], size)
            return self._like(x, name, (1, *size, x.shape[3]), channels_first=True)
        sizes = self.graph.constant(np.array([1, x.shape[3], *size], np.int64))
        name = self.graph.node("Resize", [x.laid_out(True).stored(), "", "", sizes], mode="linear")
        return self._like(x, name, (1, *size, x.shape[3]), channels_first=True)

    def global_mean(self, x: OnnxTensor) -> OnnxTensor:
        """Mean over height and width, [1, 1, 1, channels]."""
        name = self.graph.node("GlobalAveragePool", [x.laid_out(True).stored()])
        return self._like(x, name, (1, 1, 1, x.shape[3]), channels_first=True)

    def average_pool(self, x: OnnxTensor, size: tuple[int, int], *, stride: int | None = None) -> OnnxTensor:
        """Average pooling with strides as large as its windows, or one of its own; padding does not count."""
        name = self.graph.node(
            "AveragePool",
            [x.laid_out(True).stored()],
            kernel_shape=list(size),
            strides=[stride] * 2 if stride else list(size),
            pads=same_padding(x.shape[1:3], size, stride) if stride else [0] * 4,
        )
        sides = zip(x.shape[1:3], size, strict=True)
        height, width = (-(-side // stride) if stride else side // window for side, window in sides)
        return self._like(x, name, (1, height, width, x.shape[3]), channels_first=True)

    def max_pool(self, x: OnnxTensor, size: int, *, stride: int = 1) -> OnnxTensor:
        """`SAME` max pooling."""
        name = self.graph.node(
            "MaxPool",
            [x.laid_out(True).stored()],
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=same_padding(x.shape[1:3], [size, size], stride),
        )
        height, width = (-(-side // stride) for side in x.shape[1:3])
        return self._like(x, name, (1, height, width, x.shape[3]), channels_first=True)

    def window_max(self, x: OnnxTensor, size: int) -> OnnxTensor:
        """`VALID` max pooling with stride 1, of shifted copies: they need no layout of their own."""
        for axis in (1, 2):
            stop = x.shape[axis] - size + 1
            x = functools.reduce(self.maximum, [self.slice(x, axis, i, i + stop) for i in range(size)])
        return x

    def concat(self, xs: Sequence[OnnxTensor], axis: int = -1) -> OnnxTensor:
        """Join along an axis."""
        tensors = aligned(xs)
        first = tensors[0]
        name = self.graph.node("Concat", [t.stored() for t in tensors], axis=first.stored_axis(axis))
        shape = list(first.shape)
        shape[axis] = sum(t.shape[axis] for t in tensors)
        return replace(first, name=name, shape=tuple(shape))

    def broadcast_to(self, vector: OnnxTensor, size: tuple[int, ...]) -> OnnxTensor:
        """A map [1, 1, 1, c] in a form that adds to maps of this size: sums of equal shapes join the convolution."""
        return self.resize(vector, size)

    def rows(self, x: OnnxTensor) -> OnnxTensor:
        """The locations of a map [1, h, w, c] as rows [h * w, c], which lie in one piece."""
        return x.laid_out(False).reshaped([x.shape[1] * x.shape[2], x.shape[3]])

    def reshape(self, x: OnnxTensor, shape: Sequence[int]) -> OnnxTensor:
        """Same values in another shape."""
        return x.reshaped(shape)

    def slice(self, x: OnnxTensor, axis: int, start: int, stop: int) -> OnnxTensor:
        """What lies from start to before stop on one axis."""
        bounds = (self.graph.constant(np.array([v], np.int64)) for v in (start, stop, x.stored_axis(axis)))
        shape = list(x.shape)
        shape[axis] = stop - start
        return replace(x, name=self.graph.node("Slice", [x.stored(), *bounds]), shape=tuple(shape))

    def segment_sum(self, indices: OnnxTensor, values: OnnxTensor, size: int) -> OnnxTensor:
        """Sums of the values [n] that share an index, for indices 0 ... size - 1."""
        zeros = self.graph.constant(np.zeros(size, values.dtype))
        inputs = [zeros, indices.stored(), values.stored()]
        return self._like(
            values, self.graph.node("ScatterElements", inputs, reduction="add"), (size,), channels_first=False
        )

    def cond(self, condition: OnnxTensor, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        """One of two subgraphs, each with a tensor or a tuple of them; the other does not run."""
        results: list[Any] = []

        def build(branch: Callable[[], Any]) -> list[tuple[str, onnx.TypeProto]]:
            results.append(branch())
            tensors = [x.laid_out(False) for x in _as_tuple(results[-1])]
            return [(x.stored(), tensor_type(x.dtype, x.shape)) for x in tensors]

        branches = [self.graph.branch(functools.partial(build, branch)) for branch in (then, otherwise)]
        like = [x.laid_out(False) for x in _as_tuple(results[0])]
        names = self.graph.nodes(
            "If", [condition.stored()], len(like), then_branch=branches[0], else_branch=branches[1]
        )
        chosen = tuple(replace(x, name=name, value=None) for x, name in zip(like, names, strict=True))
        return chosen if isinstance(results[0], tuple) else chosen[0]

    def matmul(self, a: OnnxTensor, b: OnnxTensor) -> OnnxTensor:
        """[1, n, c] times [1, m, c] transposed: [1, n, m], with the m channels first if a has its channels first."""
        if a.channels_first:
            left, right = b.laid_out(False), a
        else:
            left, right = a, b.laid_out(True)
        name = self.graph.node("MatMul", [left.stored(), right.stored()])
        return self._like(a, name, (1, a.shape[1], b.shape[1]), channels_first=a.channels_first)

    def linear(self, rows: OnnxTensor, vectors: OnnxTensor, offsets: OnnxTensor) -> OnnxTensor:
        """[n, c] times [m, c] transposed, plus [m]: [n, m]."""
        shape = (rows.shape[0], vectors.shape[0])
        if rows.channels_first:
            name = self.graph.node("MatMul", [vectors.laid_out(False).stored(), rows.stored()])
            return self._like(rows, name, shape, channels_first=True) + offsets
        name = self.graph.node("Gemm", [rows.stored(), vectors.laid_out(False).stored(), offsets.stored()], transB=1)
        return self._like(rows, name, shape, channels_first=False)

    def gather(self, x: OnnxTensor, indices: OnnxTensor) -> OnnxTensor:
        """Rows of the first axis. Those of a matrix with its channels first are picked value by value from each."""
        if x.channels_first and len(x.shape) == 2 and len(indices.shape) == 1:
            shape = self.graph.constant(np.array([x.shape[1], *indices.shape], np.int64))
            index = self.graph.node("Expand", [indices.stored(), shape])
            name = self.graph.node("GatherElements", [x.stored(), index], axis=1)
            return self._like(x, name, (*indices.shape, x.shape[1]), channels_first=True)
        name = self.graph.node("Gather", [x.laid_out(False).stored(), indices.stored()], axis=0)
        return self._like(x, name, (*indices.shape, *x.shape[1:]), channels_first=False)

    def top_k(self, x: OnnxTensor, k: int) -> tuple[OnnxTensor, OnnxTensor]:
        """Values and indices of the k largest of the last axis, sorted; ties take the lower index."""
        count = self.graph.constant(np.array([k], np.int64))
        x = x.laid_out(False)
        values, indices = self.graph.nodes("TopK", [x.stored(), count], 2, axis=-1)
        result = self._like(x, values, (*x.shape[:-1], k), channels_first=False)
        return result, replace(result, name=indices, dtype=np.dtype(np.int64))

    def pick(self, x: OnnxTensor, locations: OnnxTensor) -> OnnxTensor:
        """Rows [..., c] of a map [1, h, w, c] at places y * w + x, integers [...].

        Few of them are picked from planes value by value; for many the map is laid out in rows first.
        """
        places = x.shape[1] * x.shape[2]
        few = int(np.prod(locations.shape)) < places // 4
        return self.gather(self.reshape(x, [places, x.shape[3]]) if few else self.rows(x), locations)

    def top_k_cells(self, x: OnnxTensor, k: int, *, staged: bool = False) -> tuple[OnnxTensor, OnnxTensor, OnnxTensor]:
        """Values, places y * w + x and channels of the k largest of a map [1, h, w, c], sorted.

        Ties in a channel take the first place. In stages, the k best of each of several parts come first: any value
        but those has k better.
        """
        places, channels = x.shape[1] * x.shape[2], x.shape[3]
        x = self.reshape(x, [places, channels])
        shape = (places * channels,)
        cells = replace(x, name=self.graph.reshape(x.stored(), shape), shape=shape, channels_first=False)
        values, index = self._top_of_parts(cells, k) if staged else self.top_k(cells, k)
        if x.channels_first:
            return values, index % places, index // places
        return values, index // channels, index % channels

    def _top_of_parts(self, x: OnnxTensor, k: int) -> tuple[OnnxTensor, OnnxTensor]:
        """`top_k` of a vector, cut into parts that threads share."""
        length = x.shape[0]
        parts = max([n for n in (2, 4) if length % n == 0 and length // n >= k], default=1)
        values, index = self.top_k(self.reshape(x, [parts, length // parts]), k)
        values, best = self.top_k(self.reshape(values, [parts * k]), k)
        index = self.reshape(index + np.arange(0, length, length // parts)[:, None], [parts * k])
        return values, self.gather(index, best)

    def argmax(self, x: OnnxTensor) -> OnnxTensor:
        """Index of the largest on the last axis, the first on ties."""
        name = self.graph.node("ArgMax", [x.stored()], axis=x.stored_axis(-1), keepdims=0)
        return replace(self._reduced(x, -1, name), dtype=np.dtype(np.int64))

    def max(self, x: OnnxTensor, axis: int) -> OnnxTensor:
        """Largest along one axis."""
        return self._reduced(
            x, axis, self.graph.node("ReduceMax", [x.stored()], axes=[x.stored_axis(axis)], keepdims=0)
        )

    def sum(self, x: OnnxTensor, axis: int) -> OnnxTensor:
        """Sum over one axis."""
        axes = self.graph.constant(np.array([x.stored_axis(axis)], np.int64))
        return self._reduced(x, axis, self.graph.node("ReduceSum", [x.stored(), axes], keepdims=0))

    def _reduced(self, x: OnnxTensor, axis: int, name: str) -> OnnxTensor:
        """What is left without an axis: where the channels go, and of two axes, no layout is left to choose."""
        axis %= len(x.shape)
        shape = x.shape[:axis] + x.shape[axis + 1 :]
        keeps = x.channels_first and axis != len(x.shape) - 1 and len(shape) > 1
        return self._like(x, name, shape, channels_first=keeps)

    def _like(self, x: OnnxTensor, name: str, shape: Sequence[Any], *, channels_first: bool) -> OnnxTensor:
        """A computed tensor of x's type."""
        return OnnxTensor(self.graph, name, tuple(shape), x.dtype, channels_first)


def _as_tuple(x: Any) -> tuple[OnnxTensor, ...]:
    return x if isinstance(x, tuple) else (x,)
