"""Branches that read the same map become one layer with the outputs of all."""

import numpy as np

from maskconver_mobile.converters.graph import ir, operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.ir import Node


def join_branches(builder: GraphBuilder) -> int:
    """Join 1x1 convolutions of the same input whose results a 1x1 convolution reads side by side.

    x W1 and x W2 side by side are x [W1 W2]; the reader's rows follow the new order of its channels.
    """
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Conv):
        joined = graph.only_for(node.inputs[0], operations.Concat)
        if joined is None or not node.op.pointwise or joined.op.axis != -1:
            continue
        parts = [graph.only_for(part, operations.Conv) for part in joined.inputs]
        branches = [part for part in parts if part is not None and part.op.pointwise]
        if len(branches) < len(parts):
            continue
        rows = node.op.split_inputs([branch.output.shape[-1] for branch in branches])
        groups: dict[tuple[int, str | None], list[int]] = {}
        for i, branch in enumerate(branches):
            groups.setdefault((id(branch.inputs[0]), branch.op.activation), []).append(i)
        if len(groups) == len(branches):
            continue
        with builder.before(node):
            maps = [wide(builder, [branches[i] for i in group]) for group in groups.values()]
            kernel = np.concatenate([rows[i] for group in groups.values() for i in group], 2)
            x = builder.concat(maps) if len(maps) > 1 else maps[0]
        builder.replace(node, builder.change(node, [x], kernel=kernel))
        count += 1
    return count


def wide(builder: GraphBuilder, branches: list[Node[operations.Conv]]) -> ir.Value:
    """One convolution with the outputs of several of the same input."""
    first, *others = branches
    if not others:
        return first.output
    ops = [branch.op for branch in branches]
    biases = [op.biases(op.kernel.shape[3]) for op in ops]
    kernel = np.concatenate([op.kernel for op in ops], 3)
    scopes = tuple(dict.fromkeys(scope for branch in branches for scope in branch.scopes))
    with builder.before(first, scopes=scopes):
        return builder.conv(first.inputs[0], kernel, np.concatenate(biases), activation=first.op.activation)
