"""Batch norms that no convolution can take in."""

import numpy as np

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder


def lower_batch_norm(builder: GraphBuilder) -> int:
    """Where others read the convolution as well, the norm is a product and a sum: x s + (beta - mean s)."""
    nodes = builder.graph.of(operations.BatchNorm)
    for node in nodes:
        gamma, beta, mean, variance = (
            part.astype(np.float64) for part in (node.op.gamma, node.op.beta, node.op.mean, node.op.variance)
        )
        scale = gamma / np.sqrt(variance + node.op.epsilon)
        with builder.before(node):
            scaled = node.inputs[0] * builder.constant(scale)
            builder.replace(node, scaled + builder.constant(beta - mean * scale))
    return len(nodes)
