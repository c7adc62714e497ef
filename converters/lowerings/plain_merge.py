"""The panoptic merge of proposals and masks, as graph operations without loops (the plain form)."""

from dataclasses import dataclass

import numpy as np

from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.lowerings.cells import mask_probability, merits


@dataclass(frozen=True)
class Proposals:
    """K centers, best first: classes int32 [K], scores float32 [K]."""

    classes: Value
    scores: Value


@dataclass(frozen=True)
class MergeThresholds:
    """Thresholds of the panoptic merge; areas in pixels of the size where it runs."""

    object_mask: float
    overlap: float
    small_area: float


def area_unit(size: tuple[int, int]) -> float:
    """In this many per pixel areas are counted: a power of two, which is exact, and no area leaves float16."""
    return float(2.0 ** -max(0, (size[0] * size[1] - 1).bit_length() - 15))


def count_pixels(ops: GraphBuilder, flags: Value, size: tuple[int, int]) -> Value:
    """Areas [K], in `area_unit`s, of flags [pixels, K] that are 0 or 1. Rows are counted before they are added up."""
    flags = ops.reshape(flags, [*size, ops.shape(flags)[-1]])
    return ops.sum(ops.sum(flags, 1) * area_unit(size), 0)


def panoptic(
    ops: GraphBuilder,
    found: Proposals,
    logits: Value,
    output_size: tuple[int, int],
    thresholds: MergeThresholds,
    is_thing: np.typing.NDArray[np.bool_],
    *,
    hard_sigmoid: bool,
    log_merits: bool = False,
) -> tuple[Value, Value]:
    """Category and instance maps int32 [1, oh, ow] from proposals sorted by score.

    A pixel goes to the proposal with the largest mask probability times score; a proposal keeps its pixels where it
    won enough of its own area. Class ids index `is_thing`. With `log_merits` the logarithms of those products are
    compared: float16 rounds products to 0 where it still tells their logarithms apart.
    """
    masks = ops.resize(logits, output_size)
    probability = mask_probability(ops, masks, hard_sigmoid=hard_sigmoid)
    valid = found.scores > thresholds.object_mask
    weight = ops.cast(valid, np.float32)
    classes = ops.where(valid, found.classes, ops.constant(0, np.int32))
    k = ops.shape(logits)[-1]
    pixels = output_size[0] * output_size[1]
    probability = ops.reshape(probability, [pixels, k]) * weight
    if log_merits:
        order = merits(ops, found.scores, weight, thresholds.object_mask, hard_sigmoid=hard_sigmoid)
        winner = ops.argmax(order(ops, ops.reshape(masks, [pixels, k]), order.offsets))
    else:
        winner = ops.argmax(probability * (found.scores * weight))
    ids = ops.constant(np.arange(k), np.int32)
    won = ops.cast(ops.equal(ops.reshape(winner, [pixels, 1]), ids), np.float32)
    area = count_pixels(ops, won, output_size)
    own_area = count_pixels(ops, ops.cast(probability > 0.5, np.float32), output_size)
    small_area = thresholds.small_area * area_unit(output_size)
    kept = ops.all([area > small_area, own_area > 0.0, area > thresholds.overlap * own_area])
    thing = ops.gather(ops.constant(is_thing, np.int32), classes)
    kept = ops.cast(kept, np.int32)
    shape = [1, *output_size]
    category_map = ops.reshape(ops.gather(classes * kept, winner), shape)
    instance_map = ops.reshape(ops.gather((ids + 1) * thing * kept, winner), shape)
    return category_map, instance_map
