"""Activations that kernels do as they write."""

from maskconver_mobile.converters.graph import ir
from maskconver_mobile.converters.graph.builder import GraphBuilder


def fuse_activation(builder: GraphBuilder) -> int:
    """Let convolutions and dense layers do the relu that alone reads them."""
    graph = builder.graph
    count = 0
    for node in graph.of(ir.Unary):
        before = graph.only_for(node.inputs[0], ir.Affine)
        if node.op.kind != "relu" or before is None or before.op.relu:
            continue
        builder.replace(node, builder.change(before, relu=True))
        count += 1
    return count
