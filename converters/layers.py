"""Layers as the checkpoint names them: read weights, and write convolution, norm and activation, each by itself."""

from dataclasses import dataclass

from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.errors import MaskConverError

LAYER_NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class Layers:
    """Binds a graph, weights and the batch norms' epsilon. Input channels are read off the tensors."""

    graph: GraphBuilder
    weights: Weights
    epsilon: float

    def conv(
        self,
        x: Value,
        path: str,
        norm: str,
        filters: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        relu: bool = True,
        layer_norm: bool = False,
    ) -> Value:
        """Convolution, norm, relu."""
        weights = self.weights(f"{path}/kernel", (kernel, kernel, x.shape[-1], filters))
        with self.graph.scope(path):
            y = self.norm(self.graph.conv(x, weights, stride=stride), norm, layer_norm)
            return self.graph.relu(y) if relu else y

    def depthwise(
        self,
        x: Value,
        path: str,
        norm: str | None,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        layer_norm: bool = False,
    ) -> Value:
        """Depthwise convolution, then norm and relu if there is a norm."""
        weights = self.weights(f"{path}/depthwise_kernel", (kernel, kernel, x.shape[-1], 1))
        with self.graph.scope(path):
            y = self.graph.depthwise(x, weights, stride=stride, dilation=(dilation, dilation))
            return y if norm is None else self.graph.relu(self.norm(y, norm, layer_norm))

    def classifier(self, x: Value, path: str, outputs: int, channels: tuple[int, ...] | None = None) -> Value:
        """A 1x1 convolution with bias and nothing after it; only some of its output channels, if given."""
        kernel = self.weights(f"{path}/kernel", (1, 1, x.shape[-1], outputs))
        bias = self.weights(f"{path}/bias", (outputs,))
        if channels is not None:
            kernel, bias = kernel[..., list(channels)], bias[list(channels)]
        with self.graph.scope(path):
            return self.graph.conv(x, kernel, bias)

    def dense(self, x: Value, path: str, outputs: int) -> Value:
        """Rows times kernel plus bias."""
        kernel = self.weights(f"{path}/kernel", (x.shape[-1], outputs))
        with self.graph.scope(path):
            return self.graph.dense(x, kernel, self.weights(f"{path}/bias", (outputs,)))

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

    def add(self, x: Value, y: Value, path: str) -> Value:
        """Sum of two maps, which must have the same channels."""
        if x.shape != y.shape:
            raise MaskConverError(
                f"{path}: deeplabv3plus_sum_to_merge needs low_level_num_filters = {x.shape[-1]} "
                f"(the decoder's num_filters), found {y.shape[-1]}"
            )
        with self.graph.scope(path):
            return x + y
