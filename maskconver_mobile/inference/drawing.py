"""Segments drawn over their photograph."""

import colorsys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import Category
from maskconver_mobile.inference.image import Pixels
from maskconver_mobile.labels import color_of

if TYPE_CHECKING:
    from maskconver_mobile.result import Segment

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE = (255, 255, 255)
# Places for labels are looked for in a map of at most this height and width.
_SEARCH_SIZE = 256


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
    """Colours, outlines, and a label for each segment with room for one.

    Args:
        image: uint8 [h, w, 3] RGB.
        panoptic_map: int32 [h, w] of segment ids, 0 for void, which stays as it is.
        segments: whose ids stand in the map; earlier ones get their label first.
        categories: give the colours; things of one category differ a little.
        alpha: opacity of the colours, 0..1.
        boxes: around things, in their colors.
        labels: in segments with room for one.

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
        _draw_labels(canvas, panoptic_map, segments, colors)
    return canvas


def segment_colors(segments: Sequence["Segment"], categories: Sequence[Category]) -> dict[int, Color]:
    """RGB by segment id: the category's colour for its lowest id, and variations of it for the others.

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
    """Hue and lightness swing ever further from the colour's own: 0, +1, -1, +2, ..."""
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


def _draw_labels(
    canvas: Pixels, panoptic_map: NDArray[np.int32], segments: Sequence["Segment"], colors: dict[int, Color]
) -> None:
    height, width = panoptic_map.shape
    step = max(1, -(-max(height, width) // _SEARCH_SIZE))
    small = panoptic_map[step // 2 :: step, step // 2 :: step]
    scale = max(0.4, min(height, width) / 1000)
    stroke = max(1, round(1.6 * scale))
    taken: list[Rectangle] = []
    for segment in segments:
        text = f"{_drawable(segment.label)} {segment.score:.2f}"
        (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, scale, stroke)
        margin = text_height // 2
        box_width, box_height = text_width + 2 * margin, text_height + baseline + margin
        mask = (small == segment.id).astype(np.uint8)
        if segment.is_thing:
            mask = _without_head(mask)
        x, y, radius = _innermost(mask)
        if radius * step < 0.6 * box_height or segment.area < box_width * box_height:
            continue
        left = int(np.clip(x * step - box_width // 2, 0, max(0, width - box_width)))
        top = int(np.clip(y * step - box_height // 2, 0, max(0, height - box_height)))
        box = (left, top, left + box_width, top + box_height)
        if any(_overlap(box, other) for other in taken):
            continue
        taken.append(box)
        _draw_label(
            canvas, text, box, (left + margin, top + margin // 2 + text_height), colors[segment.id], scale, stroke
        )


def _drawable(label: str) -> str:
    """In letters that OpenCV's font has; its releases draw others in ways of their own."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", label) if not unicodedata.combining(c))
    return plain.encode("ascii", "replace").decode()


def _without_head(mask: Pixels) -> Pixels:
    """A mask without the upper third of its rows, where faces are."""
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows):
        mask[: rows[0] + (rows[-1] + 1 - rows[0]) // 3] = 0
    return mask


def _innermost(mask: Pixels) -> tuple[int, int, float]:
    """The point deepest inside a mask, x and y, and its distance from the outside."""
    distance = cv2.distanceTransform(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    _, radius, _, (x, y) = cv2.minMaxLoc(distance)
    return x - 1, y - 1, radius


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _draw_label(
    canvas: Pixels, text: str, box: Rectangle, origin: tuple[int, int], color: Color, scale: float, stroke: int
) -> None:
    left, top, right, bottom = box
    patch = canvas[top:bottom, left:right]
    patch[:] = cv2.addWeighted(patch, 0.25, np.full_like(patch, [v * 0.45 for v in color]), 0.75, 0)
    cv2.putText(canvas, text, origin, _FONT, scale, _WHITE, stroke, cv2.LINE_AA)
