"""Weights rounded by the error of their layer.

Rounded to the nearest integer, the few weights of a depthwise convolution are the largest error of 8-bit weights. What
counts is the error of the sum, e' H e with e the errors of one channel's weights and H the second moments of what its
taps see (with a constant 1 for the bias): the taps of a natural map are alike, so errors that cancel cost little. The
integers that make it small are found by coordinate descent, weight by weight (as Nagel et al. 2020, "Up or down?
Adaptive rounding for post-training quantization", pose the problem). Dense weights gain by it where maps have 16 bits;
the noise of 8-bit maps hides what they lose.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.converters.quantization.calibration import GOLDEN_RATIO, Tensor
from maskconver_mobile.converters.quantization.float_graph import WEIGHT_LIMIT, Array, Convolution, FloatGraph
from maskconver_mobile.converters.quantization.recipes import matches

PLACES = 8192
"""Of a map, over all calibration images."""
PLACES_PER_TAP = 4
"""With fewer, weights would fit what happens to be there."""
MOST_TAPS = 1024
"""Of an output: dense convolutions of more are left to be rounded to the nearest, as their H would fill the memory."""
SWEEPS = 6
DAMPING = 1e-4

Steps = dict[str, Array]
"""What one means in integer weights [channels], by the map that their convolution makes."""
Wide = NDArray[np.float64]


def round_weights(
    graph: FloatGraph,
    inputs: Sequence[Tensor],
    on_image: Callable[[], None] = lambda: None,
    keep_float: Sequence[str] = (),
    *,
    dense: bool = False,
) -> Steps:
    """Round the weights of a graph's convolutions, in place; they stay floats, whole multiples of their steps.

    Args:
        graph: a float model in the form that is to be quantized.
        inputs: calibration tensors.
        on_image: called after each.
        keep_float: patterns of layers that stay as they are.
        dense: all convolutions, not the depthwise ones alone.

    Returns:
        The steps, which the quantizer has to take.
    """
    groups = graph.depthwise()
    if dense:
        groups += [[each] for each in _own_dense(graph)]
    groups = [pieces for pieces in groups if not matches(pieces[0].layer, keep_float)]
    by_source: dict[str, list[int]] = {}
    for index, pieces in enumerate(groups):
        by_source.setdefault(pieces[0].source, []).append(index)
    moments: dict[int, Array] = {}
    seen_at = dict.fromkeys(range(len(groups)), 0)
    places = max(PLACES // len(inputs), 64)

    def look(name: str, values: Array) -> None:
        for index in by_source[name] if max(values.shape[1:3]) > 1 else ():
            seen = _seen(groups[index], values[0], places)
            seen_at[index] += seen.shape[2]
            part = np.matmul(seen, seen.transpose(0, 2, 1)) / np.float32(seen.shape[2] * len(inputs))
            moments[index] = moments[index] + part if index in moments else part

    graph.observe(list(by_source), inputs, look, on_image)
    steps: Steps = {}
    for index in sorted(moments):
        pieces = groups[index]
        kernels = [_rows(each) for each in pieces]
        if seen_at[index] < PLACES_PER_TAP * sum(kernel.shape[1] for kernel in kernels):
            continue
        own = [graph.step(kernel) for kernel in kernels]
        wide = [np.broadcast_to(step[:, None], kernel.shape) for step, kernel in zip(own, kernels, strict=True)]
        rounded, shift = descend(
            np.concatenate(kernels, 1), moments.pop(index), np.concatenate(wide, 1), paired=graph.paired
        )
        ends = np.cumsum([kernel.shape[1] for kernel in kernels])[:-1]
        for place, (each, part) in enumerate(zip(pieces, np.split(rounded, ends, 1), strict=True)):
            kernel = np.ascontiguousarray(part.T.reshape(each.kernel.shape), np.float32)
            graph.replace(each, kernel, each.bias + shift.astype(np.float32) * (place == 0))
            steps[each.output] = own[place]
    return steps


def descend(kernel: Array, moments: Array, steps: Array, *, paired: bool = False) -> tuple[Wide, Wide]:
    """Whole multiples of the steps that make e' H e small, and what to add to the bias.

    Args:
        kernel: weights [channels, taps].
        moments: H [channels, taps + 1, taps + 1], or [1, ...] where all see the same; its last row and column belong
            to a constant 1.
        steps: [channels, taps].
        paired: two neighbors may reach 127 together only; else each alone.

    Returns:
        The weights [channels, taps] and the shift [channels]. Weights at +-127 stay there: they give the step.
    """
    count = kernel.shape[1]
    h, step, exact = moments.astype(np.float64), steps.astype(np.float64), kernel.astype(np.float64)
    places = np.arange(count)
    h[:, places, places] += DAMPING * h[:, places, places].mean(1, keepdims=True) + 1e-20
    whole = np.round(exact / step)
    fixed = np.abs(whole) >= WEIGHT_LIMIT
    shift = np.zeros(len(kernel))
    gradient = np.matmul(h, np.pad(exact - whole * step, ((0, 0), (0, 1)))[..., None])[..., 0]

    def settle_bias() -> None:
        move = gradient[:, count] / h[:, count, count]
        shift[:] += move
        gradient[:] -= h[:, :, count] * move[:, None]

    for _ in range(SWEEPS):
        settle_bias()
        for k in range(count):
            near = [np.abs(whole[:, n]) for n in (k - 1, k + 1) if 0 <= n < count]
            limit = WEIGHT_LIMIT - np.max(near, 0) if paired and near else WEIGHT_LIMIT
            wanted = np.clip(np.round(whole[:, k] + gradient[:, k] / h[:, k, k] / step[:, k]), -limit, limit)
            moved = np.flatnonzero((wanted != whole[:, k]) & ~fixed[:, k])
            if moved.size:
                change = (wanted - whole[:, k])[moved] * step[moved, k]
                gradient[moved] -= h[moved if len(h) > 1 else [0], :, k] * change[:, None]
                whole[moved, k] = wanted[moved]
    settle_bias()
    return whole * step, shift


def _own_dense(graph: FloatGraph) -> list[Convolution]:
    """Dense convolutions whose weights no other shares, as those of heads on several levels do, and not too large."""
    found = [each for each in graph.convolutions() if not each.depthwise and _rows(each).shape[1] <= MOST_TAPS]
    count = Counter(each.kernel.tobytes() for each in found)
    return [each for each in found if count[each.kernel.tobytes()] == 1]


def _rows(convolution: Convolution) -> Array:
    """The weights [channels, taps], in the order of `_seen`."""
    rows: Array = convolution.kernel.reshape(-1, convolution.kernel.shape[3]).T
    return rows


def _seen(pieces: Sequence[Convolution], values: Array, places: int) -> Array:
    """What the taps see, and a 1, at places spread evenly: [channels, taps + 1, places], of a dense one [1, ...]."""
    seen = []
    for each in pieces:
        padded = np.pad(values, (*each.padding, (0, 0)))
        rows, columns = (
            (side - (taps - 1) * dilation - 1) // stride + 1
            for side, taps, dilation, stride in zip(
                padded.shape[:2], each.kernel.shape[:2], each.dilation, each.stride, strict=True
            )
        )
        count = min(places, rows * columns)
        chosen = (np.arange(count) * GOLDEN_RATIO % 1.0 * (rows * columns)).astype(np.int64)
        top, left = chosen // columns * each.stride[0], chosen % columns * each.stride[1]
        seen += [
            padded[top + i * each.dilation[0], left + j * each.dilation[1]]
            for i, j in np.ndindex(*each.kernel.shape[:2])
        ]
    if pieces[0].depthwise:
        return np.ascontiguousarray(np.stack([*seen, np.ones_like(seen[0])]).transpose(2, 0, 1))
    return np.ascontiguousarray(np.concatenate([*seen, np.ones_like(seen[0][:, :1])], 1).T[None])
