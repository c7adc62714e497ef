"""The panoptic merge on the host: scored mask logits to a category map and an instance map."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import ModelCard
from maskconver_mobile.inference.id_map import IdMap
from maskconver_mobile.inference.image import Letterbox, restore
from maskconver_mobile.inference.tiling import Flags, Floats, Ids, Indices, TiledMasks


@dataclass(frozen=True)
class MergeRule:
    """How proposals become segments.

    Attributes:
        object_mask_threshold: a proposal takes part if it scores above it.
        overlap_threshold: a proposal is kept if it wins more than this part of its own mask's pixels.
        small_area_threshold: a proposal is kept if it wins more than so many pixels.
        output_size: (height, width) of the canvas on which proposals are merged, in pixels.
        hard_sigmoid: merge at the masks' own size with relu6(logit + 3) * 0.16667 for the sigmoid.
        things: ids of the classes whose proposals stay apart; proposals of every other class melt into one.
        rescale: merge at the image's size; else on the canvas as it is.
    """

    object_mask_threshold: float
    overlap_threshold: float
    small_area_threshold: float
    output_size: tuple[int, int]
    hard_sigmoid: bool
    things: frozenset[int]
    rescale: bool = True

    @classmethod
    def from_card(cls, card: ModelCard, **thresholds: float) -> "MergeRule":
        """The rule of a model; `thresholds` replace the card's own.

        Things come before stuff in a model's class ids, so an id without a category counts as a thing below the last
        thing's id.
        """
        stuff = {c.id for c in card.categories if not c.is_thing}
        last = max((c.id for c in card.categories if c.is_thing), default=0)
        values = {
            "object_mask_threshold": card.object_mask_threshold,
            "overlap_threshold": card.overlap_threshold,
            "small_area_threshold": card.small_area_threshold,
            **thresholds,
        }
        return cls(
            output_size=card.output_size,
            hard_sigmoid=card.hard_sigmoid,
            rescale=card.rescale_predictions,
            things=frozenset(range(1, last + 1)) - stuff,
            **values,
        )


def merge_image(
    mask_logits: Floats,
    scores: Floats,
    classes: NDArray[np.integer[Any]],
    letterbox: Letterbox | None,
    rule: MergeRule,
) -> IdMap:
    """Merge proposals, with the result at the image's own size.

    Areas are those of the whole canvas all the same: what lies outside the image belongs to the best proposal.

    Args:
        mask_logits: float32 [h, w, K].
        scores: float32 [K], in any order.
        classes: integers [K].
        letterbox: how the image lies on the model's canvas, or None if it fills it.
        rule: thresholds and sizes.

    Returns:
        Of each pixel the class id, 0 for void; and 1 + the rank of its proposal by score for things, 0 for all else.
    """
    valid = np.flatnonzero(scores > rule.object_mask_threshold)
    order = valid[np.argsort(-scores[valid], kind="stable")]
    height, width, count = mask_logits.shape
    logits = np.ascontiguousarray(mask_logits.reshape(-1, count).T[order], np.float32).reshape(-1, height, width)
    on_canvas = rule.hard_sigmoid or not rule.rescale
    merge = _hard if rule.hard_sigmoid else _soft
    ids, kept = merge(logits, scores[order].astype(np.float32), None if on_canvas else letterbox, rule)
    if on_canvas and letterbox is not None:
        ids = restore(ids, letterbox)
    categories = np.where(kept, classes[order], 0).astype(np.int32)
    is_thing = [c in rule.things for c in categories.tolist()]
    return IdMap(ids, categories, np.where(is_thing, np.arange(1, len(order) + 1), 0).astype(np.int32))


def _canvas(letterbox: Letterbox | None, rule: MergeRule) -> tuple[int, int]:
    if letterbox is None:
        return rule.output_size
    (height, width), (image_height, image_width) = rule.output_size, letterbox.image_size
    return max(height, image_height), max(width, image_width)


def _soft(logits: Floats, scores: Floats, letterbox: Letterbox | None, rule: MergeRule) -> tuple[Ids, Flags]:
    """The winner of each pixel of the image, and which proposals are kept."""
    canvas = _canvas(letterbox, rule)
    extent, size = (canvas, canvas) if letterbox is None else (letterbox.extent, letterbox.image_size)
    if not len(scores):
        return np.zeros(size, np.uint8), np.zeros(0, np.bool_)
    masks = TiledMasks(logits, extent, size)
    ids, areas = masks.winners(scores)
    # Around the image all masks are 0.5, so the best score wins there.
    areas[0] += canvas[0] * canvas[1] - size[0] * size[1]
    kept = areas > rule.small_area_threshold
    large = np.flatnonzero(kept)
    least, most = masks.area_bounds(large)
    kept[large] = _wins_enough(areas[large], most, rule) & (least > 0)
    in_doubt = large[~kept[large] & _wins_enough(areas[large], np.maximum(least, 1), rule) & (most > 0)]
    kept[in_doubt] = _wins_enough(areas[in_doubt], masks.areas(in_doubt), rule)
    return ids, kept


def _hard(logits: Floats, scores: Floats, _: Letterbox | None, rule: MergeRule) -> tuple[Ids, Flags]:
    """As `_soft`, at the masks' own size."""
    masks = np.clip(logits + np.float32(3), 0, 6) * np.float32(0.16667)
    count = len(scores)
    ids = np.argmax(masks * scores[:, None, None], axis=0) if count else np.zeros(logits.shape[1:], np.intp)
    areas = np.bincount(ids.ravel(), minlength=count)[:count]
    kept = (areas > rule.small_area_threshold) & _wins_enough(areas, np.count_nonzero(masks > 0.5, axis=(1, 2)), rule)
    return ids.astype(np.min_scalar_type(count)), kept


def _wins_enough(areas: Indices, own_areas: Indices, rule: MergeRule) -> Flags:
    """Whether proposals win enough of their own masks' areas, which must not be empty."""
    return (own_areas > 0) & (areas > rule.overlap_threshold * own_areas)
