"""Sums over channels are made of sums of blocks, for the sake of float16."""

import functools
import operator

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder

BLOCK = 64
"""So many products are summed in float16 before the sum joins others. Blocks of 128 lose more."""


def block_sums(builder: GraphBuilder) -> int:
    """Sum the class map of proposals in blocks of hidden channels: h W + b = (h1 W1 + b) + h2 W2 + ...

    Sums of float16 lose a part of what they have reached with every product; those of blocks reach less. The blocks
    are outputs of as many hidden layers, so that nothing has to be sliced. The bias joins the first block, so that the
    last thing to be added is a block, which tells equal sums apart (`lower_proposals.tie_distance`).
    """
    graph = builder.graph
    count = 0
    for node in [node for node in graph.of(operations.Proposals) if len(node.inputs) == 1]:
        last = graph.only_for(node.inputs[0], operations.Conv)
        hidden = None if last is None else graph.only_for(last.inputs[0], operations.Conv)
        if last is None or hidden is None or not (last.op.pointwise and hidden.op.pointwise):
            continue
        outer, inner = last.op, hidden.op
        if outer.activation or inner.kernel.shape[3] <= BLOCK:
            continue
        parts = []
        for start in range(0, inner.kernel.shape[3], BLOCK):
            block = slice(start, start + BLOCK)
            bias = None if inner.bias is None else inner.bias[block]
            part = builder.change(hidden, kernel=inner.kernel[..., block], bias=bias)
            own = outer.bias if start == 0 else None
            parts.append(builder.change(last, [part], kernel=outer.kernel[:, :, block], bias=own))
        with builder.before(last):
            total = functools.reduce(operator.add, parts)
        builder.replace(last, total)
        count += 1
    return count
