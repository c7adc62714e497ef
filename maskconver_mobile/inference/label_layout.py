"""Where labels go: inside their segment if it has room, beside it if it is a small thing, otherwise nowhere."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.inference.image import Pixels

if TYPE_CHECKING:
    from maskconver_mobile.result import Segment

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE = (255, 255, 255)
# Places are looked for in a map of at most this height and width.
_SEARCH_SIZE = 256
# A label lies on its own segment to this part at least, and is at most this part of it.
_LEAST_INSIDE = 0.8
_LARGEST_SHARE = 0.4
# Of a label beside a thing, at most this part may lie on things.
_MOST_ON_THINGS = 0.1


@dataclass(frozen=True)
class _Style:
    scale: float
    stroke: int

    @classmethod
    def of(cls, height: int, width: int) -> "_Style":
        scale = max(0.4, min(height, width) / 1000)
        return cls(scale, max(1, round(1.6 * scale)))


@dataclass(frozen=True)
class _Text:
    words: str
    width: int
    height: int
    margin: int
    baseline: int

    @classmethod
    def of(cls, segment: "Segment", style: _Style) -> "_Text":
        words = f"{_drawable(segment.label)} {segment.score:.2f}"
        (width, height), baseline = cv2.getTextSize(words, _FONT, style.scale, style.stroke)
        return cls(words, width, height, height // 2, baseline)

    @property
    def box(self) -> tuple[int, int]:
        """Width and height with the space around."""
        return self.width + 3 * self.margin, self.height + self.baseline + self.margin


def draw_labels(
    canvas: Pixels, panoptic_map: NDArray[np.int32], segments: Sequence["Segment"], colors: dict[int, Color]
) -> None:
    """Name and score of the segments, on their picture.

    Args:
        canvas: uint8 [h, w, 3] RGB, drawn on.
        panoptic_map: int32 [h, w] of segment ids.
        segments: earlier ones choose their place first.
        colors: RGB by segment id.
    """
    style = _Style.of(*panoptic_map.shape)
    layout = _Layout(panoptic_map, segments)
    texts = {segment.id: _Text.of(segment, style) for segment in segments}
    left = []
    for segment in segments:
        place = layout.inside(segment, *texts[segment.id].box)
        if place is None:
            left.append(segment)
        else:
            _draw(canvas, texts[segment.id], place, colors[segment.id], style)
    for segment in (s for s in left if s.is_thing):
        place = layout.beside(segment, *texts[segment.id].box)
        if place is not None:
            _draw(canvas, texts[segment.id], place, colors[segment.id], style)


class _Layout:
    """The picture in small, and which of it labels have taken."""

    def __init__(self, panoptic_map: NDArray[np.int32], segments: Sequence["Segment"]) -> None:
        self._height, self._width = panoptic_map.shape
        self._step = max(1, -(-max(panoptic_map.shape) // _SEARCH_SIZE))
        self._map = panoptic_map[self._step // 2 :: self._step, self._step // 2 :: self._step]
        self._things = np.isin(self._map, [s.id for s in segments if s.is_thing])
        self._taken = np.zeros(self._map.shape, bool)

    def inside(self, segment: "Segment", width: int, height: int) -> Rectangle | None:
        """Where a box of this size lies best on a segment: wholly, then as deep inside as may be."""
        if width * height > _LARGEST_SHARE * segment.area or width > self._width or height > self._height:
            return None
        mask = ((self._map == segment.id) & ~self._taken).astype(np.uint8)
        if segment.is_thing:
            mask = _without_head(mask)
        size = -(-width // self._step), -(-height // self._step)
        covered = cv2.boxFilter(mask, cv2.CV_32F, size, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
        depth = cv2.distanceTransform(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
        depth = depth[1:-1, 1:-1][size[1] // 2 :, size[0] // 2 :]
        covered = covered[: depth.shape[0], : depth.shape[1]]
        _, _, _, (x, y) = cv2.minMaxLoc(covered + 0.3 * depth / max(float(depth.max(initial=0)), 1e-6))
        return self._take(x * self._step, y * self._step, width, height) if covered[y, x] >= _LEAST_INSIDE else None

    def beside(self, segment: "Segment", width: int, height: int) -> Rectangle | None:
        """The first place around a thing's box that is free of labels and of other things."""
        for left, top in _around(segment, width, height):
            if left < 0 or top < 0 or left + width > self._width or top + height > self._height:
                continue
            part = self._part(left, top, width, height)
            if not self._taken[part].any() and self._things[part].mean() <= _MOST_ON_THINGS:
                return self._take(left, top, width, height)
        return None

    def _take(self, left: int, top: int, width: int, height: int) -> Rectangle:
        left, top = min(left, self._width - width), min(top, self._height - height)
        self._taken[self._part(left, top, width, height)] = True
        return left, top, left + width, top + height

    def _part(self, left: int, top: int, width: int, height: int) -> tuple[slice, slice]:
        step = self._step
        return slice(top // step, -(-(top + height) // step)), slice(left // step, -(-(left + width) // step))


def _around(segment: "Segment", width: int, height: int) -> Iterator[tuple[int, int]]:
    """Left and top of a box above, below, right and left of a segment's own."""
    x, y, w, h = segment.bbox
    yield x + (w - width) // 2, y - height
    yield x + (w - width) // 2, y + h
    yield x + w, y + (h - height) // 2
    yield x - width, y + (h - height) // 2


def _without_head(mask: Pixels) -> Pixels:
    """A mask without the upper third of its rows, where faces are."""
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows):
        mask[: rows[0] + (rows[-1] + 1 - rows[0]) // 3] = 0
    return mask


def _drawable(label: str) -> str:
    """In letters that OpenCV's font has; its releases draw others in ways of their own."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", label) if not unicodedata.combining(c))
    return plain.encode("ascii", "replace").decode()


def _draw(canvas: Pixels, text: _Text, place: Rectangle, color: Color, style: _Style) -> None:
    """White on a dark shade of the segment's color, with a bar of the color itself."""
    left, top, right, bottom = place
    patch = canvas[top:bottom, left:right]
    patch[:] = cv2.addWeighted(patch, 0.2, np.full_like(patch, [v * 0.4 for v in color]), 0.8, 0)
    patch[:, : text.margin] = color
    origin = left + 2 * text.margin, top + text.margin // 2 + text.height
    cv2.putText(canvas, text.words, origin, _FONT, style.scale, _WHITE, style.stroke, cv2.LINE_AA)
