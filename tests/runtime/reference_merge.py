"""The panoptic merge step by step, on every pixel of every proposal."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def reference_merge(
    logits: Floats,
    scores: Floats,
    classes: NDArray[np.int32],
    image_info: Floats | None,
    thresholds: tuple[float, float, float],
    hard_sigmoid: bool,
    output_size: tuple[int, int],
    things: Collection[int],
) -> tuple[Ints, Ints]:
    """Category map and instance map on the canvas; `thresholds` are score, overlap and area."""
    masks = np.clip(logits + 3, 0, 6) * np.float32(0.16667) if hard_sigmoid else _soft(logits, image_info, output_size)
    valid = scores > thresholds[0]
    order = np.argsort(-np.where(valid, scores, 0), kind="stable")
    masks = (masks * valid)[..., order]
    scores = np.where(valid, scores, 0).astype(np.float32)[order]
    classes = np.where(valid, classes, 0)[order]
    ids = np.argmax(masks * scores, axis=-1)
    won = np.array([(ids == k).sum() for k in range(len(scores))])
    own = (masks > 0.5).sum(axis=(0, 1))
    kept = (won > thresholds[2]) & (own > 0) & (won > thresholds[1] * own)
    categories = np.where(kept, classes, 0)
    is_thing = np.isin(categories, list(things))
    return categories[ids].astype(np.int64), np.where(is_thing[ids], ids + 1, 0)


def resize(x: Floats, size: tuple[int, int]) -> Floats:
    """Bilinear, half-pixel centres, edges repeated."""
    for axis, length in enumerate(size):
        position = (np.arange(length) + 0.5) * x.shape[axis] / length - 0.5
        low = np.floor(position).astype(int)
        weight = np.expand_dims((position - low).astype(np.float32), tuple({0, 1, 2} - {axis}))
        before, after = (x.take(np.clip(i, 0, x.shape[axis] - 1), axis) for i in (low, low + 1))
        x = before + (after - before) * weight
    return x


def _soft(logits: Floats, image_info: Floats | None, output_size: tuple[int, int]) -> Floats:
    if image_info is None:
        canvas = resize(logits, output_size)
    else:
        height, width = image_info[0].astype(int)
        extent = np.ceil(image_info[1] / image_info[2]).astype(int)
        image = resize(logits, (extent[0], extent[1]))[:height, :width]
        canvas = np.zeros((max(height, output_size[0]), max(width, output_size[1]), logits.shape[2]), np.float32)
        canvas[:height, :width] = image
    with np.errstate(over="ignore"):
        masks: Floats = np.reciprocal(1 + np.exp(-canvas))
    return masks
