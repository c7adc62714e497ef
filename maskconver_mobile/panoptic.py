"""What a model says of an image: segments and the map of where they are."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskconver_mobile.card import Category
from maskconver_mobile.drawing import draw_overlay
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import write_atomically
from maskconver_mobile.id_map import Box, IdMap
from maskconver_mobile.image import encode_png

if TYPE_CHECKING:
    from supervision import Detections

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


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
    """A panoptic segmentation.

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

    @property
    def category_map(self) -> NDArray[np.int32]:
        """int32 [h, w] of category ids, 0 for void."""
        table = np.zeros(max((s.id for s in self.segments), default=0) + 1, np.int32)
        for segment in self.segments:
            table[segment.id] = segment.category_id
        return table[self.panoptic_map]

    def mask(self, segment_id: int) -> NDArray[np.bool_]:
        """Where a segment is, bool [h, w].

        Raises:
            MaskConverError: there is no such segment.
        """
        if all(s.id != segment_id for s in self.segments):
            ids = ", ".join(str(i) for i in sorted(s.id for s in self.segments)) or "none"
            raise MaskConverError(f"no segment {segment_id}; the ids are {ids}")
        mask: NDArray[np.bool_] = self.panoptic_map == segment_id
        return mask

    def overlay(self, alpha: float = 0.5) -> NDArray[np.uint8]:
        """The image with its segments drawn in, uint8 [h, w, 3]; `alpha` is the opacity of their colours, 0..1."""
        return draw_overlay(self.image, self.panoptic_map, self.segments, self.categories, alpha)

    def save(self, path: str | Path) -> None:
        """Write the overlay as an image in the format of the path's suffix, whole or not at all.

        Raises:
            MaskConverError: an unknown suffix, an image too large for the format, or a folder that cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in _FORMATS:
            raise MaskConverError(f"{path}: unknown suffix {path.suffix!r}; expected one of {', '.join(_FORMATS)}")
        write_atomically(path, self._encoded(path))

    def _encoded(self, path: Path) -> bytes:
        format = _FORMATS[path.suffix.lower()]
        if format == "PNG":
            return encode_png(self.overlay())
        encoded = io.BytesIO()
        try:
            Image.fromarray(self.overlay()).save(encoded, format, quality=90)
        except (OSError, ValueError) as error:
            raise MaskConverError(f"{path}: cannot be encoded ({error}); save it as .png") from error
        return encoded.getvalue()

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
        boxes = np.array([s.bbox for s in self.segments], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        ids = np.array([s.id for s in self.segments], np.int32)
        return Detections(
            xyxy=boxes,
            mask=self.panoptic_map == ids[:, None, None],
            confidence=np.array([s.score for s in self.segments], np.float32),
            class_id=np.array([s.category_id for s in self.segments], int),
            data={"class_name": np.array([s.label for s in self.segments], str)},
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
