"""Layers as the checkpoint names them: read weights, and write convolution, norm and activation, each by itself."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.graph.operations import Array
from maskconver_mobile.errors import MaskConverError

LAYER_NORM_EPSILON = 1e-6
GROUP_NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class Layers:
    """Binds a graph, weights, the batch norms' epsilon, and the network's activation by name.

    Input channels are read off the tensors.
    """

    graph: GraphBuilder
    weights: Callable[[str, tuple[int, ...]], Array]
    epsilon: float
    activation: str = "relu"

    def conv(
        self,
        x: Value,
        path: str,
        norm: str | None,
        filters: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        bias: bool = False,
        layer_norm: bool = False,
        activation: str | None = None,
        dense: bool = False,
    ) -> Value:
        """Convolution, with a bias or not, then norm and activation if there are any.

        A kernel may be stored as that of a dense layer [in, out].
        """
        shape = (x.shape[-1], filters)
        weights = self.weights(f"{path}/kernel", shape if dense else (kernel, kernel, *shape))
        weights = weights[None, None] if dense else weights
        offset = self.weights(f"{path}/bias", (filters,)) if bias else None
        with self.graph.scope(path):
            y = self.graph.conv(x, weights, offset, stride=stride)
            return self._after(y, norm, layer_norm, activation)

    def depthwise(
        self,
        x: Value,
        path: str,
        norm: str | None,
        kernel: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        bias: bool = False,
        layer_norm: bool = False,
        activation: str | None = None,
    ) -> Value:
        """Depthwise convolution, with a bias or not, then norm and activation if there are any."""
        weights = self.weights(f"{path}/depthwise_kernel", (kernel, kernel, x.shape[-1], 1))
        offset = self.weights(f"{path}/bias", (x.shape[-1],)) if bias else None
        with self.graph.scope(path):
            y = self.graph.depthwise(x, weights, offset, stride=stride, dilation=(dilation, dilation))
            return self._after(y, norm, layer_norm, activation)

    def separable(self, x: Value, path: str, filters: int, kernel: int, stride: int = 1) -> Value:
        """Depthwise and 1x1 convolution in one layer, with a bias."""
        depthwise = self.weights(f"{path}/depthwise_kernel", (kernel, kernel, x.shape[-1], 1))
        pointwise = self.weights(f"{path}/pointwise_kernel", (1, 1, x.shape[-1], filters))
        with self.graph.scope(path):
            y = self.graph.depthwise(x, depthwise, stride=stride)
            return self.graph.conv(y, pointwise, self.weights(f"{path}/bias", (filters,)))

    def classifier(
        self, x: Value, path: str, outputs: int, channels: tuple[int, ...] | None = None, kernel: int = 1
    ) -> Value:
        """A convolution with bias and nothing after it; only some of its output channels, if given."""
        weights = self.weights(f"{path}/kernel", (kernel, kernel, x.shape[-1], outputs))
        bias = self.weights(f"{path}/bias", (outputs,))
        if channels is not None:
            weights, bias = weights[..., list(channels)], bias[list(channels)]
        with self.graph.scope(path):
            return self.graph.conv(x, weights, bias)

    def dense(self, x: Value, path: str, outputs: int) -> Value:
        """Rows times kernel plus bias."""
        kernel = self.weights(f"{path}/kernel", (x.shape[-1], outputs))
        with self.graph.scope(path):
            return self.graph.dense(x, kernel, self.weights(f"{path}/bias", (outputs,)))

    def _after(self, y: Value, norm: str | None, layer_norm: bool, activation: str | None) -> Value:
        y = y if norm is None else self.norm(y, norm, layer_norm)
        return self.graph.activation(activation, y)

    def norm(self, x: Value, path: str, layer_norm: bool) -> Value:
        """Layer norm or batch norm."""
        shape = x.shape[-1:]
        gamma, beta = self.weights(f"{path}/gamma", shape), self.weights(f"{path}/beta", shape)
        if layer_norm:
            return self.graph.layer_norm(x, gamma, beta, LAYER_NORM_EPSILON)
        mean, variance = (self.weights(f"{path}/moving_{name}", shape) for name in ("mean", "variance"))
        if (variance + self.epsilon <= 0).any():
            raise MaskConverError(f"{path}/moving_variance: has negative values; the checkpoint is damaged")
        return self.graph.batch_norm(x, gamma, beta, mean, variance, self.epsilon)

    def group_norm(self, x: Value, path: str, groups: int) -> Value:
        """Of groups of channels over the whole map (Wu and He 2018).

        Means over a group are products of the map's means by channel with a matrix, so that all maps keep four axes.
        """
        graph, channels = self.graph, x.shape[-1]
        gamma, beta = (self.weights(f"{path}/{name}", (channels,)) for name in ("gamma", "beta"))
        size = channels // groups
        means = np.kron(np.eye(groups), np.full((size, size), 1 / size)).astype(np.float32)[None, None]
        with graph.scope(path):
            centered = x - graph.conv(graph.global_mean(x), means)
            variance = graph.conv(graph.global_mean(centered * centered), means)
            scale = graph.constant(gamma) / graph.sqrt(variance + GROUP_NORM_EPSILON)
            return centered * scale + graph.constant(beta)

    def squeeze_excitation(
        self, x: Value, path: str, squeezed: int, *, activation: str = "relu", gate: str = "sigmoid"
    ) -> Value:
        """Each channel times a gate made of the means of all (Hu et al. 2018)."""
        with self.graph.scope(path):
            mean = self.graph.global_mean(x)
        y = self.conv(mean, f"{path}/_se_reduce", None, squeezed, bias=True, activation=activation)
        y = self.conv(y, f"{path}/_se_expand", None, x.shape[-1], bias=True, activation=gate)
        with self.graph.scope(path):
            return x * y

    def add(self, x: Value, y: Value, path: str) -> Value:
        """Sum of two maps, which must have the same channels."""
        if x.shape != y.shape:
            raise MaskConverError(
                f"{path}: deeplabv3plus_sum_to_merge needs low_level_num_filters = {x.shape[-1]} "
                f"(the decoder's num_filters), found {y.shape[-1]}"
            )
        with self.graph.scope(path):
            return x + y


def at_level(endpoints: dict[str, Value], level: int, reader: str) -> Value:
    """The backbone's map of a level.

    Raises:
        MaskConverError: it has none; `reader` says who asks.
    """
    if str(level) not in endpoints:
        raise MaskConverError(f"the backbone has levels {', '.join(endpoints)}, and {reader} asks for {level}")
    return endpoints[str(level)]
