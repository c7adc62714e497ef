"""Layers as the checkpoint names them: read weights, fold the norm, emit the operation."""

import functools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.folding import (
    Affine,
    Array,
    centre_tap,
    fold_batch_norm,
    fold_input_scale,
    split_depthwise,
)
from maskconver_mobile.converters.ops import Tensor, TensorFlowOps
from maskconver_mobile.converters.targets import TARGETS, Rewrites
from maskconver_mobile.errors import MaskConverError

LAYER_NORM_EPSILON = 1e-6
BLOCK = 64
"""So many products are summed in float16 before the sum joins others. Blocks of 128 lose more."""


@dataclass(frozen=True)
class LayerNorm:
    """Scale and shift of a layer norm."""

    gamma: Array
    beta: Array


@dataclass(frozen=True)
class Pointwise:
    """A layer that acts on each location alone: affine map, layer norm if any, relu if wanted. Kernel [in, out]."""

    path: str
    kernel: Array
    bias: Array
    norm: LayerNorm | None = None
    relu: bool = False


@dataclass(frozen=True)
class Depthwise:
    """A depthwise convolution of stride 1 with norm and relu behind it. Kernel [k, k, channels, 1], bias [channels]."""

    path: str
    kernel: Array
    bias: Array
    norm: LayerNorm | None


class Layers:
    """Binds operations, weights and the norm's epsilon. Input channels are read off the tensors."""

    def __init__(
        self, ops: TensorFlowOps, weights: Weights, epsilon: float, rewrites: Rewrites = TARGETS["reference"]
    ) -> None:
        self.ops = ops
        self.weights = weights
        self.epsilon = epsilon
        self.rewrites = rewrites

    def conv(
        self,
        x: Tensor,
        path: str,
        norm: str,
        filters: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        relu: bool = True,
        layer_norm: bool = False,
        input_scale: Array | None = None,
    ) -> Tensor:
        """Convolution (of x times input_scale [channels]), norm, relu."""
        shape = (kernel, kernel, self.ops.shape(x)[-1], filters)
        affine, after = self._normed(self.weights(f"{path}/kernel", shape), norm, filters, layer_norm)
        if input_scale is not None:
            affine = affine._replace(kernel=fold_input_scale(affine.kernel, input_scale))
        with self.ops.scope(path):
            y = self.ops.conv(x, *affine, stride=stride, relu=relu and after is None)
            return self.finish(y, after, relu)

    def depthwise(self, x: Tensor, path: str, norm: str, kernel: int, *, stride: int = 1, dilation: int = 1) -> Tensor:
        """Depthwise convolution, norm, relu."""
        channels = self.ops.shape(x)[-1]
        raw = self.weights(f"{path}/depthwise_kernel", (kernel, kernel, channels, 1))
        affine, _ = self._normed(raw, norm, channels, False, depthwise=True)
        with self.ops.scope(path):
            return self.ops.depthwise(x, *affine, stride=stride, dilation=(dilation, dilation), relu=True)

    def separable(self, x: Tensor, path: str, pointwise: Pointwise, dilation: int) -> tuple[Tensor, Pointwise]:
        """A dilated 3x3 depthwise convolution, applied, and the 1x1 convolution behind it, not applied yet."""
        raw = self.weights(f"{path}/depthwise_kernel", (3, 3, self.ops.shape(x)[-1], 1))
        factors = centre_tap(raw, dilation, self.ops.shape(x)[1:3]) if self.rewrites.fold_centre_tap else None
        if factors is not None:
            return x, replace(pointwise, kernel=fold_input_scale(pointwise.kernel, factors))
        with self.ops.scope(path):
            return self.ops.depthwise(x, raw, None, dilation=(dilation, dilation)), pointwise

    def convolve(self, x: Tensor, layer: Depthwise) -> Tensor:
        """Apply a head's depthwise layer: convolution, norm, relu."""
        with self.ops.scope(layer.path):
            if self.rewrites.split_depthwise:
                y = self._split(x, layer, relu=layer.norm is None)
            else:
                y = self.ops.depthwise(x, layer.kernel, layer.bias, relu=layer.norm is None)
            return self.finish(y, layer.norm, True)

    def _split(self, x: Tensor, layer: Depthwise, *, relu: bool) -> Tensor:
        core, *rings = split_depthwise(layer.kernel)
        y = self.ops.depthwise(x, core.kernel, layer.bias, dilation=core.dilation, relu=relu and not rings)
        if not rings:
            return y
        # The small outer parts first: in integers a sum is rounded to the range of what it has reached.
        parts = [self.ops.depthwise(x, ring.kernel, None, dilation=ring.dilation) for ring in rings]
        y = functools.reduce(operator.add, parts) + y
        return self.ops.relu(y) if relu else y

    def project(self, maps: Sequence[Tensor], kernels: Sequence[Array], vector: Tensor, layer: Pointwise) -> Tensor:
        """A 1x1 convolution and relu of maps joined with a vector [1, 1, 1, c] that is the same everywhere.

        concat(x, ..., v) P = x P1 + ... + v Pn: the vector's part is a bias. The maps' parts can be summed too, where
        a convolution adds to what another left without a pass of its own.

        Args:
            maps: [1, h, w, c].
            kernels: the rows of P that belong to each map, then those of the vector.
            vector: what is everywhere.
            layer: P with its bias.
        """
        ops, size, nothing = self.ops, self.ops.shape(maps[0])[1:3], np.zeros_like(layer.bias)
        *rows, vector_rows = [kernel[None, None] for kernel in kernels]
        with ops.scope(layer.path):
            y = ops.spread(ops.conv(vector, vector_rows, layer.bias), size)
            if not self.rewrites.sum_projection:
                maps, rows = [ops.concat(maps)], [np.concatenate(rows, 2)]
            for x, kernel in zip(maps, rows, strict=True):
                y = ops.conv(x, kernel, nothing) + y
            return ops.relu(y)

    def read_depthwise(self, path: str, norm: str, size: int, channels: int, layer_norm: bool) -> Depthwise:
        """A depthwise convolution with norm and relu, not applied yet."""
        raw = self.weights(f"{path}/depthwise_kernel", (size, size, channels, 1))
        affine, after = self._normed(raw, norm, channels, layer_norm, depthwise=True)
        return Depthwise(path, *affine, after)

    def read_pointwise(self, path: str, norm: str, shape: tuple[int, int], layer_norm: bool) -> Pointwise:
        """A 1x1 convolution with norm and relu, not applied yet."""
        raw = self.weights(f"{path}/kernel", (1, 1, *shape))
        affine, after = self._normed(raw, norm, shape[1], layer_norm)
        return Pointwise(path, affine.kernel[0, 0], affine.bias, after, relu=True)

    def read_classifier(self, path: str, shape: tuple[int, int]) -> Pointwise:
        """A 1x1 convolution with bias and nothing after it, not applied yet."""
        kernel = self.weights(f"{path}/kernel", (1, 1, *shape))[0, 0]
        return Pointwise(path, kernel, self.weights(f"{path}/bias", shape[1:]))

    def apply(self, x: Tensor, layers: Iterable[Pointwise]) -> Tensor:
        """Apply per-location layers to a map [1, h, w, c] or to rows [n, c]."""
        for layer in layers:
            fused = layer.relu and layer.norm is None
            with self.ops.scope(layer.path):
                if len(self.ops.shape(x)) == 4:
                    x = self.ops.conv(x, layer.kernel[None, None], layer.bias, relu=fused)
                else:
                    x = self.ops.dense(x, layer.kernel, layer.bias, relu=fused)
                x = self.finish(x, layer.norm, layer.relu)
        return x

    def blocked(self, x: Tensor, hidden: Pointwise, last: Pointwise) -> Tensor:
        """Two per-location layers, the last a sum of blocks of hidden channels: h W + b = (h1 W1 + h2 W2 + ...) + b.

        Sums of float16 lose a part of what they have reached with every product; those of blocks reach less. The blocks
        are outputs of as many hidden layers, so that nothing has to be sliced.
        """
        blocks = range(0, last.kernel.shape[0], BLOCK)
        with self.ops.scope(last.path):
            parts = []
            for start in blocks:
                block = slice(start, start + BLOCK)
                part = replace(hidden, kernel=hidden.kernel[:, block], bias=hidden.bias[block])
                weights = replace(last, kernel=last.kernel[block], bias=np.zeros_like(last.bias))
                parts.append(self.apply(x, (part, weights)))
            return functools.reduce(operator.add, parts) + self.ops.constant(last.bias)

    def merge(self, x: Tensor, y: Tensor, path: str) -> Tensor:
        """Sum of two maps, which must have the same channels."""
        if self.ops.shape(x) != self.ops.shape(y):
            raise MaskConverError(
                f"{path}: deeplabv3plus_sum_to_merge needs low_level_num_filters = {self.ops.shape(x)[-1]} "
                f"(the decoder's num_filters), found {self.ops.shape(y)[-1]}"
            )
        with self.ops.scope(path):
            return x + y

    def layer_norm(self, path: str, channels: int) -> LayerNorm:
        """Weights of a layer norm."""
        return LayerNorm(self.weights(f"{path}/gamma", (channels,)), self.weights(f"{path}/beta", (channels,)))

    def _normed(
        self, kernel: Array, norm: str, channels: int, layer_norm: bool, *, depthwise: bool = False
    ) -> tuple[Affine, LayerNorm | None]:
        if layer_norm:
            return Affine(kernel, np.zeros(channels, np.float32)), self.layer_norm(norm, channels)
        gamma, beta, mean, variance = (
            self.weights(f"{norm}/{name}", (channels,)) for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return fold_batch_norm(kernel, gamma, beta, mean, variance, self.epsilon, depthwise=depthwise), None

    def finish(self, y: Tensor, norm: LayerNorm | None, relu: bool) -> Tensor:
        """What follows an affine layer whose relu could not be fused: layer norm, if any, and relu."""
        if norm is None:
            return y
        y = self.ops.layer_norm(y, norm.gamma, norm.beta, LAYER_NORM_EPSILON)
        return self.ops.relu(y) if relu else y
