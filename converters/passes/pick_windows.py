"""Depthwise convolutions run on the windows around the places that are picked from their maps."""

import numpy as np

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.ir import Node, Value
from maskconver_mobile.converters.passes.sink_picks import few


def pick_windows(builder: GraphBuilder) -> int:
    """Compute picked rows of a depthwise convolution from the windows that they see."""
    return _pick(builder, always=True)


def pick_few_windows(builder: GraphBuilder) -> int:
    """The same where the windows hold clearly less than the map, so that the layers before can run on them, too."""
    return _pick(builder, always=False)


def _pick(builder: GraphBuilder, *, always: bool) -> int:
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Pick):
        map_, locations = node.inputs
        layer = graph.only_for(map_, operations.Depthwise)
        if layer is None or layer.op.stride != 1 or layer.op.dilation != (1, 1):
            continue
        rows, columns = layer.op.kernel.shape[:2]
        if len(locations.shape) != 1 or not (always or few(locations.shape[0] * rows * columns, map_)):
            continue
        with builder.before(node, scopes=layer.scopes):
            builder.replace(node, windows(builder, layer, locations))
        count += 1
    return count


def windows(builder: GraphBuilder, layer: Node[operations.Depthwise], locations: Value) -> Value:
    """Rows [k, c] of a depthwise convolution at locations [k].

    y[l] = sum over offsets d of kernel[d] * x[l + d]. Places beyond the border count as 0, as `SAME` has it: their
    weights are 0, and any row of the map may stand for them.
    """
    x, op = layer.inputs[0], layer.op
    _, height, width, channels = x.shape
    rows, columns = op.kernel.shape[:2]
    k, taps = locations.shape[0], rows * columns
    places = builder.reshape(locations, [k, 1])
    row = places // width
    down, across = (np.arange(n) - (n - 1) // 2 for n in (rows, columns))
    wanted = [
        row + np.repeat(down, columns)[None],
        places - row * width + np.tile(across, rows)[None],
    ]
    nearest = [builder.clip(v, 0, side - 1) for v, side in zip(wanted, (height, width), strict=True)]
    inside = builder.all([builder.equal(a, b) for a, b in zip(wanted, nearest, strict=True)])
    picked = builder.pick(x, nearest[0] * width + nearest[1])
    weights = builder.reshape(builder.cast(inside, np.float32), [k, taps, 1])
    weights = weights * builder.constant(op.kernel.reshape(1, taps, channels))
    y = builder.sum(picked * weights, 1)
    y = y if op.bias is None else y + builder.constant(op.bias)
    return builder.activation(op.activation, y)
