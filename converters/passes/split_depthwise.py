"""Large depthwise convolutions become sums of smaller ones."""

import functools
import operator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.operations import Array

CORE = 5
MAX_TAPS = CORE * CORE


def split_depthwise(builder: GraphBuilder) -> int:
    """Split every depthwise convolution that `pieces` can."""
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Depthwise):
        op = node.op
        if op.stride != 1 or op.dilation != (1, 1):
            continue
        core, *rings = pieces(op.kernel)
        if not rings:
            continue
        (x,) = node.inputs
        with builder.before(node):
            y = builder.depthwise(x, core.kernel, op.bias, dilation=core.dilation)
            # The small outer parts first: in integers a sum is rounded to the range of what it has reached.
            parts = [builder.depthwise(x, ring.kernel, dilation=ring.dilation) for ring in rings]
            y = functools.reduce(operator.add, parts) + y
            builder.replace(node, builder.activation(op.activation, y))
        count += 1
    return count


class DepthwisePiece(NamedTuple):
    """A smaller depthwise kernel [rows, columns, channels, 1] and its dilation (rows, columns)."""

    kernel: Array
    dilation: tuple[int, int]


def pieces(kernel: Array) -> list[DepthwisePiece]:
    """Write a large odd depthwise kernel as a sum of kernels of at most 25 taps, for stride 1 and `SAME` padding.

    XNNPACK's depthwise kernels stop at 25 taps; a larger one runs several times slower. A k x k kernel is its 5x5 core
    plus square rings. Ring r has two rows at offsets +-r and two columns at offsets +-r, and the taps along a row or
    column fall into two arithmetic progressions of step 2, those with r's parity and the others. Rows x progression is
    a small grid that dilation spells, such as {-3, 3} x {-3, -1, 1, 3}: 2x4 taps with dilation (6, 2). Each grid is
    symmetric about the centre, so `SAME` pads it as the large kernel was padded, no tap is added, and the sum of the
    pieces' results is the large kernel's result:
    7x7 = 5x5 + 2x4 (6, 2) + 2x3 (6, 2) + 3x2 (2, 6) + 2x2 (2, 6), 49 taps in all. Four of the five fit the 9-tap
    kernel, which makes this split faster than bands of rows or columns, and it needs neither padding nor slices.

    Args:
        kernel: [k, k, channels, 1] with k odd.

    Returns:
        The pieces; the kernel itself with dilation 1 where it is small, even or not square.
    """
    size = kernel.shape[0]
    if kernel.shape[0] * kernel.shape[1] <= MAX_TAPS or kernel.shape[0] != kernel.shape[1] or size % 2 == 0:
        return [DepthwisePiece(kernel, (1, 1))]
    centre = size // 2
    core = slice(centre - CORE // 2, centre + CORE // 2 + 1)
    pieces = [DepthwisePiece(kernel[core, core], (1, 1))]
    for radius in range(CORE // 2 + 1, centre + 1):
        pair = np.array([-radius, radius])
        outer, inner, innermost = (np.arange(-r, r + 1, 2) for r in (radius, radius - 1, radius - 2))
        grids = ((pair, outer), (pair, inner), (inner, pair), (innermost, pair))
        pieces.extend(_grid(kernel, rows, columns) for rows, columns in grids)
    return pieces


def _grid(kernel: Array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> DepthwisePiece:
    """The taps at these offsets from the centre, which are arithmetic progressions symmetric about 0."""
    centre = kernel.shape[0] // 2
    dilation = [int(offsets[1] - offsets[0]) if len(offsets) > 1 else 1 for offsets in (rows, columns)]
    return DepthwisePiece(kernel[np.ix_(rows + centre, columns + centre)], (dilation[0], dilation[1]))
