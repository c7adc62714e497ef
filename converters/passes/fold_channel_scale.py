"""A factor for each channel behind a layer enters the layer."""

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.ir import Graph, Node, Value
from maskconver_mobile.converters.graph.operations import Array


def fold_channel_scale(builder: GraphBuilder) -> int:
    """(x * k + b) s = x * (k s) + b s, for products with constants [channels] that alone read a convolution.

    A kernel that several convolutions share stays one.
    """
    count = 0
    for node in builder.graph.of(operations.Binary):
        x, factor = node.inputs
        if node.op.kind != "mul" or factor.constant is None or factor.shape != x.shape[-1:]:
            continue
        before = open_convolution(builder.graph, x)
        if before is None:
            continue
        scale = factor.constant.astype(np.float64)
        bias = None if before.op.bias is None else (before.op.bias * scale).astype(np.float32)
        builder.replace(node, builder.change(before, kernel=scaled_outputs(before.op, scale), bias=bias))
        count += 1
    return count


def open_convolution(graph: Graph, value: Value) -> Node[operations.Convolution] | None:
    """The convolution of a value that one node reads, if it has no activation and its kernel is its own."""
    node = graph.only_for(value, operations.Convolution)
    if node is None or node.op.activation:
        return None
    users = sum(other.op.kernel is node.op.kernel for other in graph.of(operations.Convolution))
    return node if users == 1 else None


def scaled_outputs(convolution: operations.Convolution, scale: NDArray[np.float64]) -> Array:
    """The kernel with a factor [channels] for each output; computed in float64, rounded once."""
    shaped = scale[:, None] if isinstance(convolution, operations.Depthwise) else scale
    return (convolution.kernel.astype(np.float64) * shaped).astype(np.float32)
