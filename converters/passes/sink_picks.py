"""Layers run on the rows that are picked from their maps."""

import math

from maskconver_mobile.converters.graph import ir, operations
from maskconver_mobile.converters.graph.builder import GraphBuilder

WORTH = 0.6
"""Picked rows cost more than those of a map: they have to be fewer than this part of its places."""


def sink_picks(builder: GraphBuilder) -> int:
    """rows(f(x)) = f(rows(x)) for what acts on each location alone, where fewer rows are picked than the map has."""
    count = 0
    while _sink(builder):
        count += 1
    return count


def _sink(builder: GraphBuilder) -> bool:
    graph = builder.graph
    for node in graph.of(operations.Pick):
        map_, locations = node.inputs
        layer = graph.only_for(map_, operations.Op)
        if layer is None or not acts_on_locations(layer.op) or not few(math.prod(locations.shape), map_):
            continue
        shape = node.output.shape
        with builder.before(node):
            flat = locations if len(shape) == 2 else builder.reshape(locations, [-1])
            rows = builder.pick(layer.inputs[0], flat)
        with builder.before(node, scopes=layer.scopes):
            if isinstance(layer.op, operations.Conv):
                rows = builder.dense(rows, layer.op.kernel[0, 0], layer.op.bias, activation=layer.op.activation)
            else:
                rows = builder.one(layer.op, rows)
            builder.replace(node, rows if len(shape) == 2 else builder.reshape(rows, shape))
        return True
    return False


def acts_on_locations(op: operations.Op) -> bool:
    """Whether each location's result depends on that location alone."""
    return (
        op.pointwise
        if isinstance(op, operations.Conv)
        else isinstance(op, (operations.LayerNorm, operations.BatchNorm, operations.Unary))
    )


def few(rows: int, map_: ir.Value) -> bool:
    """Whether so many rows are clearly fewer places than the map has."""
    return rows < WORTH * map_.shape[1] * map_.shape[2]
