"""Batch norms enter the convolutions before them."""

import numpy as np

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.operations import Array


def fold_batch_norm(builder: GraphBuilder) -> int:
    """Fold every batch norm that alone reads a convolution; one that shares its kernel with others keeps its own."""
    graph = builder.graph
    shared = [id(node.op.kernel) for node in graph.of(operations.Convolution)]
    count = 0
    for node in graph.of(operations.BatchNorm):
        before = graph.only_for(node.inputs[0], operations.Convolution)
        if before is None or before.op.activation or shared.count(id(before.op.kernel)) > 1:
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
    gamma, beta, mean, variance = (
        part.astype(np.float64) for part in (norm.gamma, norm.beta, norm.mean, norm.variance)
    )
    scale = gamma / np.sqrt(variance + norm.epsilon)
    bias = beta - mean * scale
    if convolution.bias is not None:
        bias += convolution.bias * scale
    shaped = scale[:, None] if isinstance(convolution, operations.Depthwise) else scale
    return (convolution.kernel.astype(np.float64) * shaped).astype(np.float32), bias.astype(np.float32)
