"""Taps that see nothing but padding are cut off."""

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder


def crop_kernels(builder: GraphBuilder) -> int:
    """Cut odd kernels on maps so small that a tap at offset d, with |d| >= side, never reaches a place of the map.

    It is not only their work: as parts of a large depthwise kernel they give maps of zeros, for which integers have no
    scale.
    """
    count = 0
    for node in builder.graph.of(operations.Convolution):
        op = node.op
        size = op.kernel.shape[:2]
        if op.stride != 1 or getattr(op, "dilation", (1, 1)) != (1, 1) or any(taps % 2 == 0 for taps in size):
            continue
        cuts = [max(0, taps // 2 - (side - 1)) for taps, side in zip(size, node.inputs[0].shape[1:3], strict=True)]
        if any(cuts):
            (top, left), (rows, columns) = cuts, size
            builder.replace(node, builder.change(node, kernel=op.kernel[top : rows - top, left : columns - left]))
            count += 1
    return count
