"""A panoptic merge in cells: who can win where, and who does.

Between four neighboring mask values bilinear interpolation is convex: in that cell a mask's logit, and so its merit,
which grows with it, stays between the least and the largest of the four. Only masks whose largest merit reaches the
largest of all least merits can win there, on photographs mostly one or two of K.

The merit of a mask of logit l and score s is log(sigmoid(l) s), which orders masks as the product does and, unlike it,
is far from rounding to 0 in float16: log(sigmoid(l)) = min(l, 0) + log(sigmoid(|l|)). Where the product would round to
0 in float32 merits are equal, as products are.

Comparisons are arithmetic, which runs in the delegate: clamp(ceil(a - b)) is 1 where a > b and 0 elsewhere.
"""

import functools
from dataclasses import dataclass

import numpy as np

from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.graph.operations import Array

MARGIN = 1e-3
"""Of a merit: what rounding may hide."""
LEAST = -126 * float(np.log(2))
"""The merit of what float32 rounds to 0."""
TINY = 2.0**-14
"""The smallest ordinary number of float16."""


@dataclass(frozen=True)
class Grid:
    """The output image in cells.

    Attributes:
        nodes: mask logits at the corners of cells [rows + 1, columns + 1, K].
        cells: (rows, columns).
        pixels: (height, width) of a cell.
        border: (height, width) of what lies outside the image on each side, in pixels.
    """

    nodes: Value
    cells: tuple[int, int]
    pixels: tuple[int, int]
    border: tuple[int, int]

    @property
    def count(self) -> int:
        """Number of cells."""
        return self.cells[0] * self.cells[1]


@dataclass(frozen=True)
class Contest:
    """The outcome of a knockout among m masks in each of n cells.

    Attributes:
        members: the cells, int32 [n].
        ids: of the masks, int32 [m * n], those of the first slot in all cells first; slots are in bit-reversed order.
        rounds: for each round, in pixels, 1 where the upper half's mask wins: [m / 2 * n, P], ..., [n, P].
        areas: pixels won [m, n].
    """

    members: Value
    ids: Value
    rounds: tuple[Value, ...]
    areas: Value


@dataclass(frozen=True)
class Merits:
    """How masks are compared.

    Attributes:
        offsets: [K], log(score) for a soft sigmoid, and below all others for masks that take no part; else the score.
        hard_sigmoid: whether probabilities are relu6(x + 3) * 0.16667. Their merits are the products themselves.
    """

    offsets: Value
    hard_sigmoid: bool

    def __call__(self, ops: GraphBuilder, logits: Value, offsets: Value) -> Value:
        """Merits of logits; offsets broadcast to them."""
        if self.hard_sigmoid:
            return mask_probability(ops, logits, hard_sigmoid=True) * offsets
        soft = ops.minimum(logits, 0.0) + ops.log(ops.sigmoid(ops.abs(logits)))
        return ops.maximum(soft + offsets, LEAST)

    @property
    def least(self) -> float:
        """What no merit is below."""
        return 0.0 if self.hard_sigmoid else LEAST


def mask_probability(ops: GraphBuilder, logits: Value, *, hard_sigmoid: bool) -> Value:
    """Of mask logits, by the sigmoid or relu6(x + 3) * 0.16667."""
    return ops.relu6(logits + 3.0) * 0.16667 if hard_sigmoid else ops.sigmoid(logits)


def merits(ops: GraphBuilder, scores: Value, valid: Value, least_score: float, *, hard_sigmoid: bool) -> Merits:
    """The order of masks with these scores [K], all over `least_score` where valid [K] is 1, not 0."""
    if hard_sigmoid:
        return Merits(scores * valid, hard_sigmoid)
    logarithms = ops.log(ops.maximum(scores, least_score if least_score >= TINY else 2.0**-126))
    return Merits(logarithms + (valid - 1.0) * 200.0, hard_sigmoid)


def cell_grid(ops: GraphBuilder, logits: Value, size: tuple[int, int]) -> Grid | None:
    """The cells of an image of `size` over masks [1, h, w, K]; None where pixels do not fall evenly into cells.

    Beyond the outermost mask values interpolation repeats them, so the map grows by one value on each side, and the
    image ends in the middle of the outer cells.
    """
    _, height, width, k = ops.shape(logits)
    scale = (size[0] // height, size[1] // width)
    even = size == (height * scale[0], width * scale[1]) and scale[0] % 2 == scale[1] % 2 == 0
    if not even or min(scale) < 4 or k == 1:
        return None
    nodes = logits
    for axis, n in ((1, height), (2, width)):
        nodes = ops.concat([ops.slice(nodes, axis, 0, 1), nodes, ops.slice(nodes, axis, n - 1, n)], axis)
    nodes = ops.reshape(nodes, [height + 2, width + 2, k])
    return Grid(nodes, (height + 1, width + 1), scale, (scale[0] // 2, scale[1] // 2))


def exceeds(ops: GraphBuilder, a: Value, b: Value) -> Value:
    """1 where a > b, else 0."""
    return ops.clip01(ops.ceil(a - b))


def candidates(ops: GraphBuilder, grid: Grid, order: Merits) -> Value:
    """1 for each mask that can win a pixel of a cell, else 0: [cells, K].

    Where merits are the least possible for all, the first wins by the rule of ties. So it is always a candidate, and
    others are only where they exceed that least.
    """
    k = ops.shape(order.offsets)[0]
    merit = order(ops, grid.nodes, order.offsets)
    window = ops.reshape(merit, [1, *ops.shape(merit)])
    largest = ops.reshape(ops.window_max(window, 2), [grid.count, k])
    least = ops.reshape(ops.window_max(window * -1.0, 2), [grid.count, k]) * -1.0
    bound = ops.reshape(ops.maximum(ops.max(least, -1) - MARGIN, order.least), [grid.count, 1])
    can_win = exceeds(ops, largest + ops.constant(MARGIN * np.eye(1, k)), bound)
    if not order.hard_sigmoid:
        can_win = can_win * undominated(ops, grid, merit, ops.argmax(least), order.offsets)
    return can_win


def undominated(ops: GraphBuilder, grid: Grid, merit: Value, pivot: Value, offsets: Value) -> Value:
    """0 for masks that stay below one other, the pivot, in all of a cell, else 1: [cells, K].

    A mask has p = s / (1 + exp(-l)), so 1 / p = 1 / s + exp(-(l + log s)); take the pivot's score t a little lower than
    it is, against ties by rounding. The mask stays below the pivot if at the four corners both log p and l + log s do.
    Where s <= t, l + log s is below in between too, as it is interpolated, and 1 / s is at least 1 / t. Where s >= t, p
    is below at a corner if the pivot's logit there is over h(l) = logit(s / t sigmoid(l)); h is convex, so that in
    between, where both logits are means of those at the corners, the pivot's is over h of the mask's as well.

    Args:
        ops: operations.
        grid: the cells.
        merit: log p at the nodes [rows + 1, columns + 1, K].
        pivot: a mask for each cell, int32 [cells].
        offsets: log s [K].
    """
    (rows, columns), k = grid.cells, ops.shape(merit)[2]
    places = ops.reshape(ops.constant(first_corners(grid, k), np.int32) + pivot, [grid.count, 1])
    corners = np.array([0, 1, columns + 1, columns + 2]) * k
    gaps = []
    for values in (merit, grid.nodes + offsets):
        flat = ops.reshape(values, [-1])
        for i, corner in enumerate(corners):
            own = ops.slice(ops.slice(values, 0, i // 2, i // 2 + rows), 1, i % 2, i % 2 + columns)
            pivots = ops.gather(flat, places + ops.constant(corner, np.int32))
            gaps.append(own - ops.reshape(pivots, [rows, columns, 1]))
    worst = ops.reshape(functools.reduce(ops.maximum, gaps), [grid.count, k])
    return 1.0 - exceeds(ops, ops.constant(-MARGIN), worst)


def contest(ops: GraphBuilder, grid: Grid, members: Value, can_win: Value, m: int, merit: Merits) -> Contest:
    """Let the first m candidates of each member cell compete in each of its pixels.

    The j-th candidate's id is the number of masks that fewer than j + 1 candidates precede or are. Neighbours meet
    first, the later one wins if it is strictly better: so ties go to the lower id. Slots in bit-reversed order make
    neighbours the two halves of a tensor, in every round.

    Args:
        ops: operations.
        grid: the cells.
        members: int32 [n], those that take part.
        can_win: their candidates [n, K]; where there are fewer than m, others fill up.
        m: a power of two.
        merit: by which they compete.
    """
    n, k = ops.shape(can_win)
    ranks = ops.dense(can_win, np.triu(np.ones((k, k), np.float32))[:, :-1], np.zeros(k - 1, np.float32))
    order = bit_reversed(m).reshape(m, 1, 1) + 1
    slots = ops.sum(ops.clip01(ops.constant(order) - ops.reshape(ranks, [1, n, k - 1])), -1)
    ids = ops.cast(ops.reshape(slots, [m * n]), np.int32)
    x = pixel_logits(ops, grid, members, ids)
    x = merit(ops, x, ops.reshape(ops.gather(merit.offsets, ids), [m * n, 1]))
    rounds = []
    while ops.shape(x)[0] > n:
        lower, upper = halves(ops, x)
        rounds.append(exceeds(ops, upper, lower))
        x = ops.maximum(lower, upper)
    return Contest(members, ids, tuple(rounds), ops.reshape(won_areas(ops, rounds), [m, n]))


def pixel_logits(ops: GraphBuilder, grid: Grid, members: Value, ids: Value) -> Value:
    """Logits [m * n, P] of masks `ids` [m * n] in the P pixels of the n member cells, from their four corners."""
    _, across, k = ops.shape(grid.nodes)
    repeats = ops.shape(ids)[0] // ops.shape(members)[0]
    first = ops.gather(ops.constant(first_corners(grid, k), np.int32), members)
    first = ops.reshape(ops.concat([first] * repeats, 0) + ids, [-1, 1])
    places = ops.concat([first + ops.constant(step, np.int32) for step in (0, k, across * k, (across + 1) * k)], 1)
    corners = ops.gather(ops.reshape(grid.nodes, [-1]), places)
    weights = bilinear_weights(*grid.pixels)
    return ops.dense(corners, weights, np.zeros(weights.shape[1], np.float32))


def won_areas(ops: GraphBuilder, rounds: list[Value]) -> Value:
    """Pixels won [m * n]: from the final back to the first round, who beats whom of those that get that far."""
    alive = (1.0 - rounds[-1], rounds[-1])
    for wins in rounds[-2::-1]:
        both = ops.concat(alive, 0)
        upper = both * wins
        alive = (both - upper, upper)
    return ops.concat([ops.sum(part, -1) for part in alive], 0)


def paint(ops: GraphBuilder, found: Contest, values: Value) -> Value:
    """The value [K] of each pixel's winner: [n, P]. Exact for integers up to 2048, in float16 too."""
    painted = ops.reshape(ops.gather(values, found.ids), [-1, 1])
    for wins in found.rounds:
        lower, upper = halves(ops, painted)
        painted = lower + wins * (upper - lower)
    return painted


def assemble(ops: GraphBuilder, grid: Grid, table: Value, places: Value, size: tuple[int, int]) -> Value:
    """The image [1, height, width] from cells in rows of a table.

    A row of the image is one row of pixels from each cell that it crosses: those are picked where they lie.

    Args:
        ops: operations.
        grid: the cells.
        table: rows of P pixels.
        places: of each cell in it, int32 [cells].
        size: (height, width) of the image.
    """
    (rows, columns), (height, width) = grid.cells, grid.pixels
    line = np.arange(size[0]) + grid.border[0]
    first = ops.reshape(places * ops.constant(height, np.int32), [rows, columns])
    crossed = ops.gather(first, ops.constant(line // height, np.int32))
    inner = np.repeat(line[:, None] % height, columns, 1)
    picked = ops.gather(ops.reshape(table, [-1, width]), crossed + ops.constant(inner, np.int32))
    image = ops.reshape(picked, [1, size[0], columns * width])
    return ops.slice(image, 2, grid.border[1], grid.border[1] + size[1])


def part_inside(grid: Grid) -> Array:
    """Which part of each cell lies in the image: 1, 1/2 or 1/4 [cells].

    What lies outside repeats what lies inside, so that part of what is counted in the cell counts.
    """
    lines = []
    for n, pixels, border in zip(grid.cells, grid.pixels, grid.border, strict=True):
        edges = np.clip(np.arange(n + 1) * pixels, border, n * pixels - border)
        lines.append(np.diff(edges) / pixels)
    return np.outer(*lines).ravel().astype(np.float32)


def first_corners(grid: Grid, k: int) -> np.typing.NDArray[np.int_]:
    """Where in the flat nodes [rows + 1, columns + 1, K] the top left corner of each cell begins: [cells]."""
    columns = grid.cells[1]
    cell = np.arange(grid.count)
    first: np.typing.NDArray[np.int_] = (cell // columns * (columns + 1) + cell % columns) * k
    return first


def halves(ops: GraphBuilder, x: Value) -> tuple[Value, Value]:
    """The first and the second half of the rows."""
    n = ops.shape(x)[0]
    return ops.slice(x, 0, 0, n // 2), ops.slice(x, 0, n // 2, n)


def bit_reversed(m: int) -> np.typing.NDArray[np.int_]:
    """0 ... m - 1 by their bits read backwards; m a power of two."""
    bits = m.bit_length() - 1
    order: np.typing.NDArray[np.int_] = np.arange(m).reshape([2] * bits).transpose(range(bits)[::-1]).ravel()
    return order


def bilinear_weights(height: int, width: int) -> Array:
    """Weights [4, height * width] of the corners (top left, top right, bottom left, bottom right) at pixel centres."""
    y, x = (np.stack([1 - t, t]) for t in ((np.arange(n) + 0.5) / n for n in (height, width)))
    weights: Array = np.einsum("ip,jq->ijpq", y, x).reshape(4, -1).astype(np.float32)
    return weights
