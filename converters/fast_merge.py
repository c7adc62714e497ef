"""The panoptic merge without a look at every mask in every pixel: the maps of `postprocess.panoptic`.

Cells (`cells.py`) are sorted by their number of candidates. Where there is one, nothing is computed; in the others,
tiers of cells let 2, 4, 8, ... masks compete. Shapes are static, so tiers have capacities, which suit photographs;
where an image asks for more, a condition in the graph takes the dense form instead. The answer is exact either way, up
to rounding in the interpolation of logits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.converters import cells
from maskconver_mobile.converters.cells import TINY, Contest, Grid, cell_grid, exceeds, probability
from maskconver_mobile.converters.ops import Tensor, TensorFlowOps
from maskconver_mobile.converters.postprocess import MergeThresholds, Proposals

SEGMENTS = 24
HALF_OF_HARD_SIGMOID = 0.5 / 0.16667 - 3

TIERS = ((64, 0.004), (32, 0.027), (16, 0.08), (8, 0.16), (4, 0.2), (2, 0.21))
"""How many masks compete, and in which part of all cells."""


@dataclass(frozen=True)
class Scene:
    """What is merged: K masks, most likely first.

    Attributes:
        logits: [1, h, w, K].
        scores: float32 [K], 0 for those that take no part.
        valid: float32 [K], 1 for those that take part, else 0.
        classes: int32 [K], 0 for those that take no part.
        size: of the maps, in pixels.
        thresholds: of the merge.
        is_thing: by class id.
        hard_sigmoid: whether probabilities are relu6(x + 3) * 0.16667.
        base: a power of two over K; a pixel's code is its class times this plus its instance id.
    """

    logits: Tensor
    scores: Tensor
    valid: Tensor
    classes: Tensor
    size: tuple[int, int]
    thresholds: MergeThresholds
    is_thing: NDArray[np.bool_]
    hard_sigmoid: bool
    base: int


def panoptic(
    ops: TensorFlowOps,
    found: Proposals,
    logits: Tensor,
    output_size: tuple[int, int],
    thresholds: MergeThresholds,
    is_thing: NDArray[np.bool_],
    *,
    hard_sigmoid: bool,
) -> tuple[Tensor, Tensor]:
    """Category and instance maps int32 [1, oh, ow], as `postprocess.panoptic` has them.

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
    base = 1 << ops.shape(logits)[-1].bit_length()
    scores = found.scores * valid
    scene = Scene(logits, scores, valid, classes, output_size, thresholds, is_thing, hard_sigmoid, base)
    grid = cell_grid(ops, logits, output_size, hard_sigmoid=hard_sigmoid)
    if grid is None:
        codes = dense(ops, scene)
    else:
        quick, certain = in_cells(ops, scene, grid)
        codes = ops.choose(certain, lambda: quick, lambda: dense(ops, scene))
    codes = ops.reshape(codes, [1, *output_size])
    categories = ops.floor(codes * (1 / base))
    return ops.cast(categories, np.int32), ops.cast(codes - categories * float(base), np.int32)


def in_cells(ops: TensorFlowOps, scene: Scene, grid: Grid) -> tuple[Tensor, Tensor]:
    """Codes of the pixels [height, width], and whether the capacities were large enough for them to be right."""
    n, k = grid.count, ops.shape(scene.scores)[0]
    can_win = cells.candidates(ops, grid, scene.scores)
    order, tiers, fits = draw(ops, grid, can_win)
    contests = [cells.contest(ops, grid, who, ops.gather(can_win, who), m, scene.scores) for m, who in tiers]
    total = ops.shape(order)[0]
    moved = ops.scatter_add(order, ops.constant(np.arange(n, n + total), np.int32) - order, n)
    alone = ops.argmax(can_win)
    area = won_areas(ops, grid, contests, alone, moved, k)
    code, enough = largest_codes(ops, scene, area)
    settled = ops.reshape(ops.gather(code, alone), [n, 1]) + ops.constant(
        np.zeros((1, grid.pixels[0] * grid.pixels[1]))
    )
    table = ops.concat([settled, *(cells.paint(ops, outcome, code) for outcome in contests)], 0)
    rows = ops.gather(table, ops.constant(np.arange(n), np.int32) + moved)
    return cells.assemble(ops, grid, rows), ops.all([*fits, enough])


def draw(ops: TensorFlowOps, grid: Grid, can_win: Tensor) -> tuple[Tensor, list[tuple[int, Tensor]], list[Tensor]]:
    """Cells to contests: those with most candidates to the largest.

    Returns:
        The cells with most candidates, int32 [total]; the tiers that follow each other in it, as number of competitors
        and member cells; conditions under which no cell has more candidates than its tier takes.
    """
    k = ops.shape(can_win)[1]
    all_compete = 1 << (k - 1).bit_length()
    sizes = [(min(m, all_compete), max(1, int(grid.count * part))) for m, part in TIERS]
    total = sum(capacity for _, capacity in sizes)
    counts, order = ops.top_k(ops.sum(can_win, -1), total)
    tiers, fits, start = [], [], 0
    for m, capacity in sizes:
        fits.append(ops.gather(counts, ops.constant(start, np.int32)) < m + 0.5)
        tiers.append((m, ops.slice(order, 0, start, start + capacity)))
        start += capacity
    fits.append(ops.gather(counts, ops.constant(total - 1, np.int32)) < 1.5)
    return order, tiers, fits


def won_areas(ops: TensorFlowOps, grid: Grid, contests: list[Contest], alone: Tensor, moved: Tensor, k: int) -> Tensor:
    """Pixels won by each mask [K]: in contests, and as the only candidate `alone` [cells] where nothing is `moved`."""
    inside = ops.constant(cells.part_inside(grid))
    stays = 1.0 - ops.clip01(ops.cast(moved, np.float32))
    areas = [inside * stays * float(grid.pixels[0] * grid.pixels[1])]
    for outcome in contests:
        won = outcome.areas * ops.gather(inside, outcome.members)
        areas.append(ops.reshape(won, ops.shape(outcome.ids)))
    return ops.scatter_add(ops.concat([alone, *(c.ids for c in contests)], 0), ops.concat(areas, 0), k)


def largest_codes(ops: TensorFlowOps, scene: Scene, area: Tensor) -> tuple[Tensor, Tensor]:
    """Codes [K] and whether they are right: small segments are void, so own areas are counted for the largest alone."""
    k = ops.shape(area)[0]
    count = min(SEGMENTS, k)
    areas, ids = ops.top_k(area, count)
    _, height, width, _ = ops.shape(scene.logits)
    chosen = ops.reshape(ops.gather(ops.constant(np.eye(k)), ids), [1, count, k])
    logits = ops.matmul(ops.reshape(scene.logits, [1, height * width, k]), chosen)
    own = own_areas(ops, scene, ops.reshape(logits, [1, height, width, count])) * ops.gather(scene.valid, ids)
    codes = ops.scatter_add(ids, kept_codes(ops, scene, ids, areas, own), k)
    smallest = ops.gather(areas, ops.constant(count - 1, np.int32))
    limit = np.float32(scene.thresholds.small_area if count < k else np.inf)
    return codes, smallest < np.nextafter(limit, np.float32(np.inf))


def kept_codes(ops: TensorFlowOps, scene: Scene, ids: Tensor, area: Tensor, own_area: Tensor) -> Tensor:
    """The pixel codes of proposals `ids`, 0 for those that are not kept."""
    limits = scene.thresholds
    kept = ops.all([area > limits.small_area, own_area > 0.0, area > limits.overlap * own_area])
    classes = ops.gather(scene.classes, ids)
    instances = (ids + 1) * ops.gather(ops.constant(scene.is_thing, np.int32), classes)
    return ops.cast((classes * scene.base + instances) * ops.cast(kept, np.int32), np.float32)


def own_areas(ops: TensorFlowOps, scene: Scene, logits: Tensor) -> Tensor:
    """Pixels where each mask's probability is over 1/2, for even horizontal scales: [masks].

    Rows are interpolated. Along a row, s pixels lie between mask values a and b, and interpolation crosses 0 at most
    once between them: relu(a) + relu(b) over |a| + |b| is the positive part of the way, so with q = (a + b) / (|a| +
    |b|), ceil(s (1 + q) / 2 - 1/2) of the pixels' centres are on it. Half as many lie before the first value and behind
    the last, which repeat there.
    """
    _, _, width, count = ops.shape(logits)
    height, scale = scene.size[0], scene.size[1] // width
    x = logits - (HALF_OF_HARD_SIGMOID if scene.hard_sigmoid else TINY)
    x = ops.concat([ops.slice(x, 2, 0, 1), x, ops.slice(x, 2, width - 1, width)], 2)
    x = ops.resize(x, (height, width + 2))
    pair = np.ones((1, 2, count, 1), np.float32)
    most = ops.maximum(ops.depthwise(ops.abs(x), pair, None), TINY)
    positive = ops.ceil(ops.depthwise(x, pair * np.float32(scale / 2), None) / most + (scale / 2 - 0.5))
    columns = ops.reshape(ops.sum(positive, 1), [width + 2, count])
    weights = np.array([0.5, *[1] * (width - 1), 0.5, 0]).reshape(-1, 1)
    return ops.sum(columns * ops.constant(weights), 0)


def dense(ops: TensorFlowOps, scene: Scene) -> Tensor:
    """Codes of the pixels [height, width], with all masks interpolated in all of them."""
    (height, width), k = scene.size, ops.shape(scene.scores)[0]
    pixels = height * width
    masks = ops.reshape(ops.resize(scene.logits, scene.size), [pixels, k])
    winner = ops.argmax(probability(ops, masks, hard_sigmoid=scene.hard_sigmoid) * scene.scores)
    area = ops.scatter_add(winner, ops.clip01(ops.cast(winner, np.float32) + 1.0), k)
    if width % (2 * ops.shape(scene.logits)[2]) == 0:
        own = own_areas(ops, scene, scene.logits)
    else:
        own = ops.sum(exceeds(ops, masks, ops.constant(HALF_OF_HARD_SIGMOID if scene.hard_sigmoid else 0.0)), 0)
    codes = kept_codes(ops, scene, ops.constant(np.arange(k), np.int32), area, own * scene.valid)
    return ops.reshape(ops.gather(codes, winner), scene.size)
