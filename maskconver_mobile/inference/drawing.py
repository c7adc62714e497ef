"""Segments drawn over their photograph."""

import colorsys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import Category
from maskconver_mobile.inference.image import Pixels
from maskconver_mobile.inference.label_layout import Color, draw_labels
from maskconver_mobile.labels import color_of

if TYPE_CHECKING:
    from maskconver_mobile.result import Segment


def draw_overlay(
    image: Pixels,
    panoptic_map: NDArray[np.int32],
    segments: Sequence["Segment"],
    categories: Sequence[Category],
    alpha: float,
    *,
    boxes: bool = False,
    labels: bool = True,
) -> Pixels:
    """Colors, outlines and labels.

    Args:
        image: uint8 [h, w, 3] RGB.
        panoptic_map: int32 [h, w] of segment ids, 0 for void, which stays as it is.
        segments: whose ids stand in the map; earlier ones get their label first.
        categories: give the colors; things of one category differ a little.
        alpha: opacity of the colors, 0..1.
        boxes: around things, in their colors.
        labels: in segments with room for one, and beside small things.

    Returns:
        uint8 [h, w, 3], a new image.
    """
    colors = segment_colors(segments, categories)
    ids = panoptic_map.astype(np.uint8 if panoptic_map.max(initial=0) < 256 else np.uint16)
    canvas = np.asarray(cv2.addWeighted(image, 1 - alpha, _painted(ids, colors), alpha, 0), np.uint8)
    cv2.copyTo(image, (ids == 0).view(np.uint8), canvas)
    unit = max(1.0, min(image.shape[:2]) / 480)
    edges = _outlines(ids, round(unit))
    cv2.bitwise_or(canvas, cv2.merge([edges, edges, edges]), canvas)  # of white all bits are set
    if boxes:
        for thing in (s for s in segments if s.is_thing):
            x, y, width, height = thing.bbox
            cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), colors[thing.id], round(2 * unit))
    if labels:
        draw_labels(canvas, panoptic_map, segments, colors)
    return canvas


def segment_colors(segments: Sequence["Segment"], categories: Sequence[Category]) -> dict[int, Color]:
    """RGB by segment id: the category's color for its lowest id, and variations of it for the others.

    The order of the segments, which is that of their scores, plays no part.
    """
    bases = {c.id: c.color for c in categories}
    seen: Counter[int] = Counter()
    colors = {}
    for segment in sorted(segments, key=lambda s: s.id):
        base = bases.get(segment.category_id, color_of(segment.category_id))
        colors[segment.id] = _vary(base, seen[segment.category_id])
        seen[segment.category_id] += 1
    return colors


def _vary(color: Color, step: int) -> Color:
    """Hue and lightness swing ever further from the color's own: 0, +1, -1, +2, ..."""
    if step == 0:
        return color
    swing = (step + 1) // 2 * (1 if step % 2 else -1)
    hue, lightness, saturation = colorsys.rgb_to_hls(*(v / 255 for v in color))
    lightness = 0.25 + (lightness - 0.25 + 0.17 * swing) % 0.55
    red, green, blue = colorsys.hls_to_rgb((hue + 0.05 * swing) % 1, lightness, max(saturation, 0.3))
    return round(red * 255), round(green * 255), round(blue * 255)


def _painted(ids: NDArray[np.unsignedinteger[Any]], colors: dict[int, Color]) -> Pixels:
    """The colors of the segments, uint8 [h, w, 3]."""
    table = np.zeros((max(256, max(colors, default=0) + 1), 3), np.uint8)
    for segment_id, color in colors.items():
        table[segment_id] = color
    if ids.dtype == np.uint8:
        return np.asarray(cv2.applyColorMap(ids, table[:, None]), np.uint8)
    return table.take(ids, axis=0)


def _outlines(ids: NDArray[np.unsignedinteger[Any]], thickness: int) -> Pixels:
    """255 where another segment begins, 0 elsewhere."""
    edges: Pixels = np.zeros(ids.shape, np.uint8)
    edges[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edges[1:] |= ids[1:] != ids[:-1]
    edges *= 255
    if thickness > 1:
        cv2.dilate(edges, np.ones((thickness, thickness), np.uint8), edges)
    return edges
