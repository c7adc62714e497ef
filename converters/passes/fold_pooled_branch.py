"""A branch that is the same everywhere enters the projection of all branches as a bias."""

import numpy as np

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder


def fold_pooled_branch(builder: GraphBuilder) -> int:
    """concat(x, ..., v) P = x P1 + ... + v Pn, for a part v that is a resized map of one place."""
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Conv):
        joined = graph.only_for(node.inputs[0], operations.Concat)
        op = node.op
        if joined is None or not op.pointwise or joined.op.axis != -1:
            continue
        resized = [graph.only_for(part, operations.Resize) for part in joined.inputs]
        vectors = {i: v.inputs[0] for i, v in enumerate(resized) if v is not None and v.inputs[0].shape[1:3] == (1, 1)}
        if len(vectors) != 1 or len(joined.inputs) == 1:
            continue
        ((at, vector),) = vectors.items()
        kernels = op.split_inputs([part.shape[-1] for part in joined.inputs])
        others = [part for i, part in enumerate(joined.inputs) if i != at]
        with builder.before(node):
            bias = builder.broadcast_to(builder.conv(vector, kernels[at], op.bias), node.output.shape[1:3])
            kernel = np.concatenate([part for i, part in enumerate(kernels) if i != at], 2)
            y = builder.conv(builder.concat(others), kernel) + bias
            builder.replace(node, builder.activation(op.activation, y))
        count += 1
    return count
