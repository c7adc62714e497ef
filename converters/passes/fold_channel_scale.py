"""A factor for each channel behind a layer enters the layer."""

import numpy as np

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder


def fold_channel_scale(builder: GraphBuilder) -> int:
    """(x * k + b) s = x * (k s) + b s, for products with constants [channels] that alone read a convolution.

    A kernel that several convolutions share stays one.
    """
    graph = builder.graph
    shared = [id(node.op.kernel) for node in graph.of(operations.Convolution)]
    count = 0
    for node in graph.of(operations.Binary):
        x, factor = node.inputs
        before = graph.only_for(x, operations.Convolution)
        if node.op.kind != "mul" or before is None or before.op.activation or factor.constant is None:
            continue
        if factor.shape != x.shape[-1:] or shared.count(id(before.op.kernel)) > 1:
            continue
        scale = factor.constant.astype(np.float64)
        kernel = before.op.kernel * (scale[:, None] if isinstance(before.op, operations.Depthwise) else scale)
        bias = None if before.op.bias is None else (before.op.bias * scale).astype(np.float32)
        builder.replace(node, builder.change(before, kernel=kernel.astype(np.float32), bias=bias))
        count += 1
    return count
