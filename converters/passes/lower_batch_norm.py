"""Batch norms that no convolution can take in."""

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder


def lower_batch_norm(builder: GraphBuilder) -> int:
    """Where others read the convolution as well, the norm is a product and a sum: x s + (beta - mean s)."""
    nodes = builder.graph.of(operations.BatchNorm)
    for node in nodes:
        scale, shift = node.op.scale_and_shift()
        with builder.before(node):
            scaled = node.inputs[0] * builder.constant(scale)
            builder.replace(node, scaled + builder.constant(shift))
    return len(nodes)
