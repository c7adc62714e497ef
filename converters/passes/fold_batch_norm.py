"""Batch norms enter the convolutions before them."""

import numpy as np

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.operations import Array
from maskconver_mobile.converters.passes.fold_channel_scale import open_convolution, scaled_outputs


def fold_batch_norm(builder: GraphBuilder) -> int:
    """Fold every batch norm that alone reads a convolution; one that shares its kernel with others keeps its own."""
    count = 0
    for node in builder.graph.of(operations.BatchNorm):
        before = open_convolution(builder.graph, node.inputs[0])
        if before is None:
            continue
        kernel, bias = folded(before.op, node.op)
        builder.replace(node, builder.change(before, kernel=kernel, bias=bias))
        count += 1
    return count


def folded(convolution: operations.Convolution, norm: operations.BatchNorm) -> tuple[Array, Array]:
    """Kernel and bias of a convolution with the norm behind it.

    `gamma * (conv(x, k) + b - mean) / sqrt(variance + eps) + beta = conv(x, k * s) + (beta + (b - mean) * s)` with
    `s = gamma / sqrt(variance + eps)` (Ioffe and Szegedy 2015, section 3.1). Computed in float64, rounded once.
    """
    scale, bias = norm.scale_and_shift()
    if convolution.bias is not None:
        bias += convolution.bias * scale
    return scaled_outputs(convolution, scale), bias.astype(np.float32)
