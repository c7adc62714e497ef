"""The panoptic merge without a look at every mask in every pixel: the maps of `plain_merge.panoptic`.

Cells (`cells.py`) are sorted by their number of candidates. Where there is one, nothing is computed; in the others,
tiers of cells let 2, 4, 8, ... masks compete. Shapes are static, so tiers have capacities. Of several plans the graph
takes the smallest that is large enough for the image, and the dense form where none is. The answer is exact either way,
up to rounding in the interpolation of logits.

Everything holds in float16: ids that are floats are at most 2048, and areas are counted in `area_unit`s.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.lowerings import cells
from maskconver_mobile.converters.lowerings.cells import Contest, Grid, Merits, cell_grid, exceeds
from maskconver_mobile.converters.lowerings.plain_merge import MergeThresholds, Proposals, area_unit, count_pixels

Plan = tuple[tuple[int, float], ...]
Maps = tuple[Value, Value]

FEW_SEGMENTS = 24
"""So many large segments have their own areas counted at first; where there are more, those of all are."""
HALF_OF_HARD_SIGMOID = 0.5 / 0.16667 - 3
SMALLEST = 2.0**-24
"""Of the positive numbers of float16. In float32 the sigmoid of what is below is 1/2."""
EXACT = 2048
"""All integers up to it are float16 numbers."""

PLANS: tuple[Plan, ...] = (
    ((32, 0.002), (16, 0.022), (8, 0.07), (4, 0.13), (2, 0.18)),
    ((32, 0.01), (16, 0.05), (8, 0.08), (4, 0.18), (2, 0.22)),
    ((64, 0.004), (32, 0.03), (16, 0.09), (8, 0.16), (4, 0.22), (2, 0.3)),
)
"""How many masks compete, and in which part of all cells: for half of all photographs, for nine tenths, for all."""


@dataclass(frozen=True)
class Scene:
    """What is merged: K masks, most likely first.

    Attributes:
        logits: [1, h, w, K].
        scores: float32 [K], 0 for those that take no part.
        valid: float32 [K], 1 for those that take part, else 0.
        classes: int32 [K], 0 for those that take no part.
        k: the number of masks.
        merits: how they are compared.
        size: of the maps, in pixels.
        thresholds: of the merge.
        is_thing: by class id.
        hard_sigmoid: whether probabilities are relu6(x + 3) * 0.16667.
    """

    logits: Value
    scores: Value
    valid: Value
    classes: Value
    k: int
    merits: Merits
    size: tuple[int, int]
    thresholds: MergeThresholds
    is_thing: NDArray[np.bool_]
    hard_sigmoid: bool


@dataclass(frozen=True)
class Draw:
    """Who can win where.

    Attributes:
        can_win: 1 for the candidates of each cell, else 0 [cells, K].
        alone: the first of them, int32 [cells].
        counts: of the cells with most candidates, how many these are, descending.
        order: those cells, int32.
    """

    can_win: Value
    alone: Value
    counts: Value
    order: Value


def panoptic(
    ops: GraphBuilder,
    found: Proposals,
    logits: Value,
    output_size: tuple[int, int],
    thresholds: MergeThresholds,
    is_thing: NDArray[np.bool_],
    *,
    hard_sigmoid: bool,
) -> Maps:
    """Category and instance maps int32 [1, oh, ow], as `plain_merge.panoptic` has them.

    Args:
        ops: operations.
        found: the proposals.
        logits: their masks [1, h, w, K].
        output_size: (height, width) of the maps.
        thresholds: of the merge.
        is_thing: by class id.
        hard_sigmoid: whether probabilities are relu6(x + 3) * 0.16667.
    """
    takes_part = found.scores > thresholds.object_mask
    valid = ops.cast(takes_part, np.float32)
    classes = ops.where(takes_part, found.classes, ops.constant(0, np.int32))
    order = cells.merits(ops, found.scores, valid, thresholds.object_mask, hard_sigmoid=hard_sigmoid)
    k = ops.shape(logits)[-1]
    scores = found.scores * valid
    scene = Scene(logits, scores, valid, classes, k, order, output_size, thresholds, is_thing, hard_sigmoid)
    grid = cell_grid(ops, logits, output_size)
    maps = dense(ops, scene) if grid is None else in_cells(ops, scene, grid)
    return ops.cast(maps[0], np.int32), ops.cast(maps[1], np.int32)


def in_cells(ops: GraphBuilder, scene: Scene, grid: Grid) -> Maps:
    """Both maps, by the smallest plan that is large enough."""
    can_win = cells.candidates(ops, grid, scene.merits)
    most = max(sum(capacity for _, capacity in tiers(plan, grid, scene.k)) for plan in PLANS)
    draw = Draw(can_win, ops.argmax(can_win), *ops.top_k(ops.sum(can_win, -1), most))
    return by_plan(ops, scene, grid, draw, PLANS)


def by_plan(ops: GraphBuilder, scene: Scene, grid: Grid, draw: Draw, plans: tuple[Plan, ...]) -> Maps:
    """Both maps by the first of these plans that is large enough, else by the dense form."""
    if not plans:
        return dense(ops, scene)
    sizes = tiers(plans[0], grid, scene.k)
    maps: Maps = ops.cond(
        ops.all(fits(ops, draw, sizes)),
        lambda: contested(ops, scene, grid, draw, sizes),
        lambda: by_plan(ops, scene, grid, draw, plans[1:]),
    )
    return maps


def tiers(plan: Plan, grid: Grid, k: int) -> list[tuple[int, int]]:
    """How many masks compete in how many cells, those with most first."""
    all_compete = 1 << (k - 1).bit_length()
    return [(min(m, all_compete), max(1, int(grid.count * part))) for m, part in plan]


def fits(ops: GraphBuilder, draw: Draw, sizes: list[tuple[int, int]]) -> list[Value]:
    """Conditions under which no cell has more candidates than its tier takes."""
    starts = np.cumsum([0, *(capacity for _, capacity in sizes)]).tolist()
    takes = [*(m for m, _ in sizes), 1]
    ends = min(starts[-1], ops.shape(draw.counts)[0] - 1)
    return [
        ops.gather(draw.counts, ops.constant(start, np.int32)) < m + 0.5
        for start, m in zip([*starts[:-1], ends], takes, strict=True)
    ]


def contested(ops: GraphBuilder, scene: Scene, grid: Grid, draw: Draw, sizes: list[tuple[int, int]]) -> Maps:
    """Both maps, with a contest in the cells that have several candidates."""
    contests, start = [], 0
    for m, capacity in sizes:
        who = ops.slice(draw.order, 0, start, start + capacity)
        contests.append(cells.contest(ops, grid, who, ops.gather(draw.can_win, who), m, scene.merits))
        start += capacity
    order = ops.slice(draw.order, 0, 0, start)
    moves = ops.constant(scene.k + np.arange(start), np.int32) - ops.gather(draw.alone, order)
    moved = ops.segment_sum(order, moves, grid.count)
    values = segments(ops, scene, won_areas(ops, scene, grid, contests, draw.alone, moved))
    settled = ops.constant(np.zeros((1, grid.pixels[0] * grid.pixels[1])))
    maps = []
    for value in values:
        table = ops.concat(
            [ops.reshape(value, [scene.k, 1]) + settled, *(cells.paint(ops, outcome, value) for outcome in contests)], 0
        )
        maps.append(cells.assemble(ops, grid, as_integers(ops, scene, table), draw.alone + moved, scene.size))
    return maps[0], maps[1]


def won_areas(
    ops: GraphBuilder, scene: Scene, grid: Grid, contests: list[Contest], alone: Value, moved: Value
) -> Value:
    """Area of each mask [K]: in contests, and as the only candidate `alone` [cells] where nothing is `moved`."""
    unit = area_unit(scene.size)
    inside = ops.constant(cells.part_inside(grid) * unit)
    stays = 1.0 - ops.clip01(ops.cast(moved, np.float32))
    areas = [inside * stays * float(grid.pixels[0] * grid.pixels[1])]
    for outcome in contests:
        won = outcome.areas * ops.gather(inside, outcome.members)
        areas.append(ops.reshape(won, ops.shape(outcome.ids)))
    return ops.segment_sum(ops.concat([alone, *(c.ids for c in contests)], 0), ops.concat(areas, 0), scene.k)


def segments(ops: GraphBuilder, scene: Scene, area: Value) -> Maps:
    """Category and instance value [K] of each mask's pixels. Small segments are void, whatever their own area."""
    if scene.k <= FEW_SEGMENTS:
        return values(ops, scene, kept(ops, scene, area, own_areas(ops, scene, scene.logits), scene.valid))
    areas, ids = ops.top_k(area, FEW_SEGMENTS)
    smallest = ops.gather(areas, ops.constant(FEW_SEGMENTS - 1, np.int32))
    limit = np.float32(scene.thresholds.small_area * area_unit(scene.size))

    def few() -> Value:
        _, height, width, _ = ops.shape(scene.logits)
        chosen = ops.reshape(ops.gather(ops.constant(np.eye(scene.k)), ids), [1, FEW_SEGMENTS, scene.k])
        logits = ops.matmul(ops.reshape(scene.logits, [1, height * width, scene.k]), chosen)
        own = own_areas(ops, scene, ops.reshape(logits, [1, height, width, FEW_SEGMENTS]))
        return ops.segment_sum(ids, kept(ops, scene, areas, own, ops.gather(scene.valid, ids)), scene.k)

    def every() -> Value:
        return kept(ops, scene, area, own_areas(ops, scene, scene.logits), scene.valid)

    return values(ops, scene, ops.cond(smallest < np.nextafter(limit, np.float32(np.inf)), few, every))


def kept(ops: GraphBuilder, scene: Scene, area: Value, own_area: Value, valid: Value) -> Value:
    """1 for masks that keep their pixels, else 0."""
    limits, own = scene.thresholds, own_area * valid
    small_area = limits.small_area * area_unit(scene.size)
    conditions = [area > small_area, own > 0.0, area > limits.overlap * own]
    return ops.cast(ops.all(conditions), np.float32)


def values(ops: GraphBuilder, scene: Scene, keeps: Value) -> Maps:
    """Category and instance value [K] of the masks' pixels, 0 where they keep none."""
    thing = ops.gather(ops.constant(scene.is_thing, np.float32), scene.classes)
    return ops.cast(scene.classes, np.float32) * keeps, ops.constant(np.arange(1, scene.k + 1)) * (thing * keeps)


def as_integers(ops: GraphBuilder, scene: Scene, x: Value) -> Value:
    """Values of pixels as bytes where all fit: conditions copy what their branches return."""
    return ops.to_bytes(x) if max(len(scene.is_thing), scene.k + 1) <= 256 else ops.cast(x, np.int32)


def own_areas(ops: GraphBuilder, scene: Scene, logits: Value) -> Value:
    """Area where each mask's probability is over 1/2, for even horizontal scales: [masks].

    Rows are interpolated. Along a row, s pixels lie between mask values a and b, and interpolation crosses 0 at most
    once between them: relu(a) + relu(b) over |a| + |b| is the positive part of the way, so with q = (a + b) / (|a| +
    |b|), ceil(s (1 + q) / 2 - 1/2) of the pixels' centers are on it. Half as many lie before the first value and behind
    the last, which repeat there. Groups of rows are counted before all of them, lest a count leave float16.
    """
    _, _, width, count = ops.shape(logits)
    height, scale = scene.size[0], scene.size[1] // width
    x = logits - (HALF_OF_HARD_SIGMOID if scene.hard_sigmoid else SMALLEST)
    x = ops.concat([ops.slice(x, 2, 0, 1), x, ops.slice(x, 2, width - 1, width)], 2)
    x = ops.resize(x, (height, width + 2))
    pair = np.ones((1, 2, count, 1), np.float32)
    most = ops.maximum(ops.depthwise(ops.abs(x), pair, None), SMALLEST)
    early = min(scale / 2, 16)
    way = ops.depthwise(x, pair * np.float32(early), None) / most
    way = way if early == scale / 2 else way * (scale / 2 / early)
    positive = ops.ceil(way + (scale / 2 - 0.5))
    group = max(g for g in range(1, height + 1) if height % g == 0 and (g == 1 or g * scale <= EXACT))
    columns = ops.sum(ops.reshape(positive, [height // group, group, width + 2, count]), 1)
    weights = np.array([0.5, *[1] * (width - 1), 0.5, 0]).reshape(-1, 1) * area_unit(scene.size)
    return ops.sum(ops.reshape(columns * ops.constant(weights), [height // group * (width + 2), count]), 0)


def dense(ops: GraphBuilder, scene: Scene) -> Maps:
    """Both maps, with all masks interpolated in all pixels."""
    height, width = scene.size
    masks = ops.reshape(ops.resize(scene.logits, scene.size), [height * width, scene.k])
    probability = cells.mask_probability(ops, masks, hard_sigmoid=scene.hard_sigmoid)
    winner = ops.argmax(probability * scene.scores)
    one = ops.clip01(ops.cast(winner, np.float32) + 1.0) * area_unit(scene.size)
    area = ops.segment_sum(winner, one, scene.k)
    if width % (2 * ops.shape(scene.logits)[2]) == 0:
        own = own_areas(ops, scene, scene.logits)
    else:
        half = HALF_OF_HARD_SIGMOID if scene.hard_sigmoid else 0.0
        own = count_pixels(ops, exceeds(ops, masks, ops.constant(half)), scene.size)
    keeps = kept(ops, scene, area, own, scene.valid)
    winner = ops.reshape(winner, [1, *scene.size])
    maps = [ops.gather(as_integers(ops, scene, value), winner) for value in values(ops, scene, keeps)]
    return maps[0], maps[1]
