"""What a model says of an image: segments and the map of where they are."""

import difflib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import Category
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import write_atomically
from maskconver_mobile.inference.drawing import draw_overlay
from maskconver_mobile.inference.id_map import Box, IdMap
from maskconver_mobile.inference.image_output import check_suffix, encode_image
from maskconver_mobile.inference.masks import encode_rle, polygons

if TYPE_CHECKING:
    from supervision import Detections


@dataclass(frozen=True)
class Segment:
    """One thing, or all stuff of one class.

    Attributes:
        id: its value in the panoptic map.
        category_id: its class in the label set.
        label: the class's name.
        is_thing: whether it is one countable object.
        score: of its proposal, 0..1; for stuff the best of its class.
        area: in pixels.
        bbox: x, y, width, height in pixels.
    """

    id: int
    category_id: int
    label: str
    is_thing: bool
    score: float
    area: int
    bbox: Box


@dataclass(frozen=True, eq=False, repr=False)
class PanopticResult:
    """A panoptic segmentation: a sequence of its segments, `result[0]`, and `result["person"]` for those of one label.

    The arrays `ids`, `category_ids`, `labels`, `scores`, `xyxy` and `masks` are in the order of the segments.

    Attributes:
        panoptic_map: int32 [h, w] of segment ids, 0 for void, at the image's own size.
        segments: best score first.
        image: uint8 [h, w, 3] RGB, upright.
        categories: the model's label set.
        timings_ms: how long each stage took, in milliseconds.
    """

    panoptic_map: NDArray[np.int32]
    segments: tuple[Segment, ...]
    image: NDArray[np.uint8]
    categories: tuple[Category, ...]
    timings_ms: dict[str, float]

    def __repr__(self) -> str:
        height, width = self.panoptic_map.shape
        shown = ", ".join(f"{s.label} {s.score:.2f}" for s in self.segments[:5])
        more = ", ..." if len(self.segments) > 5 else ""
        return f"PanopticResult({width}x{height}, {len(self.segments)} segments: {shown}{more})"

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    @overload
    def __getitem__(self, key: int) -> Segment: ...

    @overload
    def __getitem__(self, key: str | slice) -> tuple[Segment, ...]: ...

    def __getitem__(self, key: int | slice | str) -> Segment | tuple[Segment, ...]:
        if not isinstance(key, str):
            return self.segments[key]
        found = tuple(s for s in self.segments if s.label == key)
        if not found and all(c.name != key for c in self.categories):
            near = difflib.get_close_matches(key, [c.name for c in self.categories], 3, 0.5)
            cure = f"did you mean {' or '.join(map(repr, near))}?" if near else "`categories` has those that there are"
            raise MaskConverError(f"no category is called {key!r}; {cure}")
        return found

    @property
    def things(self) -> tuple[Segment, ...]:
        """The countable objects."""
        return tuple(s for s in self.segments if s.is_thing)

    @property
    def stuff(self) -> tuple[Segment, ...]:
        """All that is not countable, one segment a class."""
        return tuple(s for s in self.segments if not s.is_thing)

    @property
    def ids(self) -> NDArray[np.int32]:
        """Their values in the panoptic map, int32 [n]."""
        return np.array([s.id for s in self.segments], np.int32)

    @property
    def category_ids(self) -> NDArray[np.int32]:
        """Classes in the label set, int32 [n]."""
        return np.array([s.category_id for s in self.segments], np.int32)

    @property
    def labels(self) -> NDArray[np.str_]:
        """Names of the classes, text [n]."""
        return np.array([s.label for s in self.segments], np.str_)

    @property
    def scores(self) -> NDArray[np.float32]:
        """Of the segments' proposals, float32 [n], 0..1."""
        return np.array([s.score for s in self.segments], np.float32)

    @property
    def xyxy(self) -> NDArray[np.float32]:
        """Left, top, right and bottom in pixels, float32 [n, 4]; the last two are the first pixels outside."""
        boxes = np.array([s.bbox for s in self.segments], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes

    @property
    def masks(self) -> NDArray[np.bool_]:
        """Where each segment is, bool [n, h, w]."""
        masks: NDArray[np.bool_] = self.panoptic_map == self.ids[:, None, None]
        return masks

    @property
    def category_map(self) -> NDArray[np.int32]:
        """int32 [h, w] of category ids, 0 for void."""
        table = np.zeros(max((s.id for s in self.segments), default=0) + 1, np.int32)
        for segment in self.segments:
            table[segment.id] = segment.category_id
        return table[self.panoptic_map]

    def mask(self, segment: int | Segment) -> NDArray[np.bool_]:
        """Where a segment, or the one of an id, is: bool [h, w].

        Raises:
            MaskConverError: there is no such segment.
        """
        segment_id = self._find(segment).id
        mask: NDArray[np.bool_] = self.panoptic_map == segment_id
        return mask

    def rle(self, segment: int | Segment) -> dict[str, Any]:
        """A segment as COCO's compressed run lengths (`size`, `counts`), which pycocotools reads."""
        return encode_rle(self.mask(segment))

    def polygons(self, segment: int | Segment) -> list[list[float]]:
        """The outlines of a segment's parts as COCO polygons, x, y, x, y, ... in pixels; holes are filled."""
        return polygons(self.mask(segment))

    def crop(self, segment: int | Segment) -> NDArray[np.uint8]:
        """A segment cut out of the image, uint8 [bbox height, bbox width, 4] RGBA, transparent around it."""
        found = self._find(segment)
        x, y, width, height = found.bbox
        part = np.s_[y : y + height, x : x + width]
        return np.dstack([self.image[part], np.where(self.panoptic_map[part] == found.id, 255, 0).astype(np.uint8)])

    def _find(self, segment: int | Segment) -> Segment:
        segment_id = segment.id if isinstance(segment, Segment) else segment
        found = next((s for s in self.segments if s.id == segment_id), None)
        if found is None:
            ids = ", ".join(str(i) for i in sorted(s.id for s in self.segments)) or "none"
            raise MaskConverError(f"no segment {segment_id}; the ids are {ids}")
        return found

    def to_dict(self, masks: Literal["rle", "polygons"] | None = None) -> dict[str, Any]:
        """For JSON: `height`, `width`, `segments` (the fields of `Segment`) and `timings_ms`.

        Args:
            masks: adds `segmentation` to each segment, as in COCO annotations: `rle` or `polygons`.

        Raises:
            MaskConverError: no such form of masks.
        """
        forms = {None: None, "rle": self.rle, "polygons": self.polygons}
        if masks not in forms:
            raise MaskConverError(f"masks is {masks!r}; expected 'rle', 'polygons' or None")
        form = forms[masks]
        segments = [asdict(s) | ({"segmentation": form(s)} if form else {}) for s in self.segments]
        height, width = self.panoptic_map.shape
        return {"height": height, "width": width, "segments": segments, "timings_ms": self.timings_ms}

    def to_json(self, masks: Literal["rle", "polygons"] | None = None) -> str:
        """What `to_dict` returns, as JSON."""
        return json.dumps(self.to_dict(masks))

    def show(self) -> None:
        """Show the overlay: below a notebook's cell, or in the system's viewer of pictures."""
        from maskconver_mobile.inference.notebook import show

        show(self)

    def _repr_png_(self) -> bytes:
        from maskconver_mobile.inference.notebook import as_png

        return as_png(self)

    def _repr_html_(self) -> str:
        from maskconver_mobile.inference.notebook import as_html

        return as_html(self)

    def overlay(self, alpha: float = 0.5, *, boxes: bool = False, labels: bool = True) -> NDArray[np.uint8]:
        """The image with its segments drawn in, uint8 [h, w, 3] RGB (`[..., ::-1]` is what OpenCV shows).

        Args:
            alpha: opacity of the colors, 0..1.
            boxes: around things.
            labels: names and scores where there is room for them.

        Raises:
            MaskConverError: `alpha` is no number from 0 to 1.
        """
        if not 0 <= alpha <= 1:
            raise MaskConverError(f"alpha is {alpha!r}; expected a number from 0 to 1")
        return draw_overlay(
            self.image, self.panoptic_map, self.segments, self.categories, alpha, boxes=boxes, labels=labels
        )

    def save(
        self, path: str | os.PathLike[str], *, alpha: float = 0.5, boxes: bool = False, labels: bool = True
    ) -> None:
        """Write the overlay as an image in the format of the path's suffix, whole or not at all; see `overlay`.

        Raises:
            MaskConverError: an unknown suffix, an image too large for the format, or a folder that cannot be written.
        """
        path = Path(path).expanduser()
        check_suffix(path)
        write_atomically(path, encode_image(self.overlay(alpha, boxes=boxes, labels=labels), path))

    def to_coco(self, image_id: int | str, file_name: str) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """The official COCO panoptic format (https://cocodataset.org/#format-data).

        Args:
            image_id: of the image in the data set.
            file_name: under which the PNG will be stored.

        Returns:
            The PNG's pixels, uint8 [h, w, 3] RGB with id = R + 256 G + 256^2 B; and the entry for "annotations".
        """
        octets = np.ascontiguousarray(self.panoptic_map, "<i4").view(np.uint8)
        png = np.asarray(cv2.cvtColor(octets.reshape(*self.panoptic_map.shape, 4), cv2.COLOR_BGRA2BGR), np.uint8)
        segments_info = [
            {"id": s.id, "category_id": s.category_id, "area": s.area, "bbox": list(s.bbox), "iscrowd": 0}
            for s in self.segments
        ]
        return png, {"image_id": image_id, "file_name": file_name, "segments_info": segments_info}

    def to_supervision(self) -> "Detections":
        """The segments as `supervision.Detections`: xyxy, mask, confidence, class_id and data["class_name"].

        Raises:
            MaskConverError: supervision is not installed.
        """
        try:
            from supervision import Detections
        except ImportError as error:
            raise MaskConverError("supervision is not installed; run `pip install supervision`") from error
        return Detections(
            xyxy=self.xyxy,
            mask=self.masks,
            confidence=self.scores,
            class_id=self.category_ids.astype(int),
            data={"class_name": self.labels},
        )


def from_maps(
    category_map: NDArray[np.int32],
    instance_map: NDArray[np.int32],
    classes: NDArray[np.integer[Any]],
    scores: NDArray[np.floating[Any]],
    image: NDArray[np.uint8],
    categories: tuple[Category, ...],
    timings_ms: dict[str, float],
) -> PanopticResult:
    """As `build_result`, from two maps int32 [h, w]: class ids, 0 for void; and 1 + rank for things, 0 for all else."""
    return build_result(IdMap.of(category_map, instance_map), classes, scores, image, categories, timings_ms)


def build_result(
    merged: IdMap,
    classes: NDArray[np.integer[Any]],
    scores: NDArray[np.floating[Any]],
    image: NDArray[np.uint8],
    categories: tuple[Category, ...],
    timings_ms: dict[str, float],
) -> PanopticResult:
    """Build a result from what a merge says of each pixel.

    A thing is an instance of a category, and stuff is a category outside all instances. Ids count from 1 in the order
    of category and instance.

    Args:
        merged: [h, w]; the instance of a thing is 1 + the rank of its proposal by score.
        classes: integers [K], of the proposals.
        scores: [K], of the proposals.
        image: uint8 [h, w, 3] RGB.
        categories: the label set; a class that it lacks is called "class N". Where it has id 0, that is a class, else
            void.
        timings_ms: how long each stage took.
    """
    panoptic_map, found = merged.segments(zero_is_void=all(c.id for c in categories))
    names = {c.id: c.name for c in categories}
    by_rank = np.sort(scores)[::-1].tolist()
    best = {c: float(scores[classes == c].max()) for c in np.unique(classes).tolist()}
    segments = [
        Segment(
            id=segment_id,
            category_id=one.category_id,
            label=names.get(one.category_id, f"class {one.category_id}"),
            is_thing=one.instance > 0,
            score=by_rank[one.instance - 1] if one.instance else best.get(one.category_id, 0.0),
            area=one.area,
            bbox=one.bbox,
        )
        for segment_id, one in enumerate(found, start=1)
    ]
    segments.sort(key=lambda s: (-s.score, s.id))
    return PanopticResult(panoptic_map, tuple(segments), image, categories, timings_ms)
