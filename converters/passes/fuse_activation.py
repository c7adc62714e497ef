"""Activations that kernels do as they write."""

from typing import get_args

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder


def fuse_activation(builder: GraphBuilder) -> int:
    """Let convolutions and dense layers do the relu or relu6 that alone reads them."""
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Unary):
        before = graph.only_for(node.inputs[0], operations.Affine)
        if node.op.kind not in get_args(operations.Activation) or before is None or before.op.activation:
            continue
        builder.replace(node, builder.change(before, activation=node.op.kind))
        count += 1
    return count
