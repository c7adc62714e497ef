"""Depthwise convolutions and resizes as matrix products, for processors whose runtime has no faster kernel."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.converters.backends.onnx.graph import OnnxGraph
from maskconver_mobile.converters.backends.onnx.tensor import Shape, same_padding

Array = NDArray[np.float32]

TILES = (4, 8, 16)
PACKING, MOVING, WORTH = 5, 15, 17
"""Counted on ARM64 in multiply-adds of the matrix product: what it costs to lay out a column of K values once for all
rows of the band matrix, to cut and transpose a value of the map, and what ONNX Runtime needs for a tap otherwise."""


@dataclass(frozen=True)
class Band:
    """How a depthwise convolution of a map is cut into matrix products.

    A column of the map, moved over by a kernel column, is multiplied by a banded matrix: y[p] = sum over j of
    kernel[j - p s] x[j]. One matrix does that for all columns of the kernel at once: K values in, `tile` out.

    Attributes:
        size: (height, width) of the map.
        taps: rows and columns of the kernel.
        stride: in both directions.
        dilation: in both directions; 1 where the stride is not.
        pads: top, left, bottom, right.
        tile: rows of the result that one product gives.
    """

    size: Shape
    taps: int
    stride: int
    dilation: int
    pads: list[int]
    tile: int

    @property
    def reach(self) -> int:
        """Rows from the first tap to the last."""
        return (self.taps - 1) * self.dilation + 1

    @property
    def results(self) -> tuple[int, int]:
        """(height, width) of the result."""
        height, width = (-(-side // self.stride) for side in self.size)
        return height, width

    @property
    def whole(self) -> bool:
        """Whether one product sees all rows, so that none have to be padded."""
        return self.tile == self.results[0]

    @property
    def rows(self) -> int:
        """Rows of the map that one product sees."""
        return self.size[0] if self.whole else (self.tile - 1) * self.stride + self.reach

    @property
    def columns(self) -> int:
        """Columns of the map that lie side by side in one row of the matrix product's input."""
        return self.taps if self.dilation > 1 else self.stride

    @property
    def steps(self) -> int:
        """Such groups of columns that the kernel spans."""
        return -(-self.taps // self.columns)

    @property
    def cost(self) -> float:
        """Of one result, in multiply-adds."""
        depth = self.steps * self.columns * self.rows
        return depth + PACKING * depth / self.tile + MOVING * self.columns * self.rows / self.tile

    @property
    def indices(self) -> NDArray[np.int64]:
        """Which tap of the flat kernel stands where in the matrix: [tile, steps, columns, rows]; taps² is a zero."""
        result, step, column, row = np.indices((self.tile, self.steps, self.columns, self.rows))
        distance = row - result * self.stride + (self.pads[0] if self.whole else 0)
        i, j = distance // self.dilation, step * self.columns + column
        inside = (distance % self.dilation == 0) & (i >= 0) & (i < self.taps) & (j < self.taps)
        indices: NDArray[np.int64] = np.where(inside, i * self.taps + j, self.taps**2)
        return indices


def choose_band(size: Shape, kernel: Array, stride: int, dilation: tuple[int, int]) -> Band | None:
    """The cheapest cut of a `SAME` convolution; None where the runtime's own kernel is cheaper, or there is none.

    ONNX Runtime has an ARM kernel for 3x3 taps of stride 1; for all else it gathers tap by tap.
    """
    taps, step = kernel.shape[0], dilation[0]
    square = kernel.shape[1] == taps and dilation[1] == step
    if not square or taps == 1 or (stride > 1 and step > 1) or (taps, stride, step) == (3, 1, 1):
        return None
    pads = same_padding(size, [(taps - 1) * step + 1] * 2, stride)
    height = -(-size[0] // stride)
    tiles = {tile for tile in TILES if height % tile == 0} | ({height} if height <= max(TILES) else set())
    bands = [Band(size, taps, stride, step, pads, tile) for tile in sorted(tiles)]
    best = min(bands, key=lambda band: band.cost, default=None)
    return best if best is not None and best.cost < WORTH * taps**2 else None


def banded_depthwise(graph: OnnxGraph, x: str, kernel: Array, bias: Array | None, band: Band, *, relu: bool) -> str:
    """A depthwise convolution of a map [1, c, h, w] as a grouped convolution that runs as one matrix product.

    Strips of rows, transposed to [w, rows], are what a kernel over the whole width moves along: MLAS multiplies those
    where they lie, without gathering the taps (`MlasConvPrepare`, "kernel is using the entire input width").
    With a stride, s columns make one row; with dilation, copies of the map that are shifted by it stand side by side.
    The matrix is gathered from the kernel once, when a runtime loads the model.

    Args:
        graph: where operators are added.
        x: name of the map.
        kernel: [k, k, c, 1].
        bias: [c] or None.
        band: the cut (`choose_band`).
        relu: whether max(y, 0) follows.

    Returns:
        The name of the result [1, c, h, w].
    """
    channels = kernel.shape[2]
    (height, width), columns, rows = band.results, band.columns, band.rows
    strips = _strips(graph, x, band)
    tiles = height // band.tile
    _, left, _, right = band.pads
    if band.dilation == 1:
        right = (width - 1 + band.steps) * columns - band.size[1] - left
    strips = _pad(graph, strips, left, right)
    if band.dilation > 1:
        starts = [i * band.dilation for i in range(band.taps)]
        strips = graph.node("Concat", [_slice(graph, strips, start, start + width) for start in starts], axis=3)
    else:
        strips = graph.reshape(strips, (tiles, channels, width - 1 + band.steps, columns * rows))
    inputs = [strips, _matrix(graph, kernel, band)]
    if bias is not None and bias.any():
        inputs.append(graph.constant(np.repeat(bias, band.tile)))
    y = graph.node("Conv", inputs, kernel_shape=[band.steps, columns * rows], group=channels)
    y = graph.node("Relu", [y]) if relu else y
    if tiles > 1:
        y = graph.node("Transpose", [graph.reshape(y, (tiles, channels, band.tile * width))], perm=[1, 0, 2])
    return graph.reshape(y, (1, channels, height, width))


def banded_resize(graph: OnnxGraph, x: str, size: Shape, target: Shape) -> str:
    """A bilinear resize of a map [1, c, h, w], half-pixel centres: one product for its columns, one for its rows."""
    rows, columns = (interpolation(n, m) for n, m in zip(size, target, strict=True))
    wide = graph.node("MatMul", [x, graph.constant(columns.T)])
    return graph.node("MatMul", [graph.constant(rows), wide])


def interpolation(n: int, m: int) -> Array:
    """The matrix [m, n] that interpolates m values between n, each constant beyond its last."""
    places = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
    weights: Array = np.maximum(1 - np.abs(places[:, None] - np.arange(n)), 0).astype(np.float32)
    return weights


def _strips(graph: OnnxGraph, x: str, band: Band) -> str:
    """The rows that each product sees, transposed: [tiles, c, w, rows]."""
    if not band.whole:
        x = _pad(graph, x, band.pads[0], band.pads[2])
        starts = range(0, band.results[0] * band.stride, band.tile * band.stride)
        x = graph.node("Concat", [_slice(graph, x, start, start + band.rows) for start in starts], axis=0)
    return graph.node("Transpose", [x], perm=[0, 1, 3, 2])


def _matrix(graph: OnnxGraph, kernel: Array, band: Band) -> str:
    """The band matrices as a kernel [c * tile, 1, steps, columns * rows]."""
    channels = kernel.shape[2]
    taps = np.pad(kernel[..., 0].reshape(-1, channels).T, ((0, 0), (0, 1)))
    gathered = graph.node("Gather", [graph.constant(taps), graph.constant(band.indices)], axis=1)
    return graph.reshape(gathered, (channels * band.tile, 1, band.steps, band.columns * band.rows))


def _pad(graph: OnnxGraph, x: str, before: int, after: int) -> str:
    """Zeros on the third of four axes."""
    pads: list[Any] = [0, 0, before, 0, 0, 0, after, 0]
    return graph.node("Pad", [x, graph.constant(np.array(pads, np.int64))]) if before or after else x


def _slice(graph: OnnxGraph, x: str, start: int, stop: int) -> str:
    """A part of the third of four axes."""
    return graph.node("Slice", [x, *(graph.constant(np.array([v], np.int64)) for v in (start, stop, 2))])
