"""COCO's panoptic format: a JSON file of annotations beside a folder of PNGs whose pixels are segment ids.

The format: https://cocodataset.org/#format-data, "Panoptic Segmentation".
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import read_json
from maskconver_mobile.inference.image_file import open_image
from maskconver_mobile.labels import parse_flag

if TYPE_CHECKING:
    from maskconver_mobile.result import PanopticResult

MAX_JSON_BYTES = 1 << 30
MAX_SEGMENT_ID = (1 << 24) - 1


@dataclass(frozen=True)
class Label:
    """One category of a data set."""

    id: int
    name: str
    is_thing: bool


@dataclass(frozen=True)
class SegmentInfo:
    """One segment of one image: `id` is its value in the map; `area` in pixels, where it is stated."""

    id: int
    category_id: int
    is_crowd: bool = False
    area: float | None = None


@dataclass(frozen=True)
class SegmentMap:
    """A panoptic segmentation in memory.

    Attributes:
        source: what errors call it, such as the file it was read from.
        ids: int32 [h, w], the id of each pixel's segment, 0 where there is none (void).
        segments: the segments that `ids` is made of.
    """

    source: str
    ids: NDArray[np.int32]
    segments: tuple[SegmentInfo, ...]

    @classmethod
    def of(cls, result: "PanopticResult", source: str) -> "SegmentMap":
        """What a model said of an image."""
        segments = tuple(SegmentInfo(s.id, s.category_id) for s in result.segments)
        return cls(source, result.panoptic_map, segments)

    @property
    def category_map(self) -> NDArray[np.int32]:
        """int32 [h, w]: the category id of each pixel, 0 for void; `segments` must name every id of the map."""
        categories = {0: 0, **{s.id: s.category_id for s in self.segments}}
        known = np.array(sorted(categories), np.int32)
        return np.array([categories[int(i)] for i in known], np.int32)[np.searchsorted(known, self.ids)]


@dataclass(frozen=True)
class Annotation:
    """A panoptic segmentation on disk."""

    image_id: int | str
    png: Path
    segments: tuple[SegmentInfo, ...]

    def load(self) -> SegmentMap:
        """Read the PNG.

        Raises:
            MaskConverError: see `read_ids`.
        """
        return SegmentMap(str(self.png), read_ids(self.png), self.segments)


@dataclass(frozen=True)
class Sample:
    """An image file and the truth about it.

    Attributes:
        image: the file.
        truth: what is in it.
        size: (width, height) that the annotations state.
    """

    image: Path
    truth: Annotation
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class GroundTruth:
    """Annotated images with the label set of their annotations."""

    labels: tuple[Label, ...]
    samples: tuple[Sample, ...]


def read_ground_truth(
    images: Sequence[Path],
    annotations: Sequence[Path],
    panoptic_dirs: Sequence[Path],
    *,
    limit: int | None = None,
) -> GroundTruth:
    """Read one or more annotated sets as one, in the order of their annotations.

    Args:
        images: per set, the folder of the images.
        annotations: per set, the JSON file.
        panoptic_dirs: per set, the folder of the PNGs.
        limit: take only so many images, from the beginning.

    Raises:
        MaskConverError: a file is missing or malformed, the sets have different categories, something is
            there twice, or no image is left.
    """
    if not len(images) == len(annotations) == len(panoptic_dirs):
        raise MaskConverError(
            f"{len(images)} image folders, {len(annotations)} annotation files and {len(panoptic_dirs)} "
            "panoptic folders do not pair up; give one of each per set"
        )
    sets = [_read_set(*paths) for paths in zip(images, annotations, panoptic_dirs, strict=True)]
    for path, other in zip(annotations, sets, strict=True):
        if set(other.labels) != set(sets[0].labels):
            raise MaskConverError(
                f"{path}: its categories differ from those of {annotations[0]}; evaluate the sets one by one"
            )
    samples = tuple(sample for one in sets for sample in one.samples)
    _unique((s.truth.image_id for s in samples), "image_id", " and ".join(map(str, annotations)))
    samples = samples[:limit]
    if not samples:
        raise MaskConverError(f"{', '.join(map(str, annotations))}: no annotated image is left to evaluate")
    _require([s.image for s in samples], "image", "the images folder")
    _require([s.truth.png for s in samples], "panoptic PNG", "the panoptic folder")
    return GroundTruth(sets[0].labels, samples)


def find_set(folder: Path) -> tuple[Path, Path, Path]:
    """Where an annotated set keeps its images, its annotations and its PNGs.

    Either `images`, `panoptic.json` and `panoptic`, or as COCO is unpacked: `NAME`, `annotations/panoptic_NAME.json`
    and `annotations/panoptic_NAME`.

    Raises:
        MaskConverError: the folder holds no such set, or several.
    """
    found = [folder / "panoptic.json", *sorted((folder / "annotations").glob("panoptic_*.json"))]
    found = [path for path in found if path.is_file()]
    if len(found) != 1:
        there = f"{len(found)} annotation files" if found else "neither panoptic.json nor annotations/panoptic_*.json"
        raise MaskConverError(f"{folder}: has {there}; give --images, --annotations and --panoptic-dir")
    own = folder / found[0].stem.removeprefix("panoptic_")
    return own if own.is_dir() and own.name != "panoptic" else folder / "images", found[0], found[0].with_suffix("")


def read_predictions(path: Path) -> dict[int | str, Annotation]:
    """Read predictions by image id: `NAME.json`, with its PNGs in the folder `NAME` beside it.

    Raises:
        MaskConverError: the file is missing, malformed, or has an image twice.
    """
    try:
        found = _annotations(_read_json(path), path.with_suffix(""))
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(path, error) from error
    _unique((a.image_id for a in found), "image_id", str(path))
    return {a.image_id: a for a in found}


def read_ids(path: Path) -> NDArray[np.int32]:
    """The segment ids of a panoptic PNG, int32 [h, w]: red + 256 green + 65536 blue.

    Raises:
        MaskConverError: the file is missing, unreadable or no 8-bit RGB PNG, or not opaque.
    """
    try:
        with open_image(path, str(path), ("PNG",)) as png:
            if png.mode not in ("RGB", "RGBA"):
                raise MaskConverError(f"{path}: a panoptic PNG is 8-bit RGB and this one is {png.mode}; write it again")
            rgb = np.asarray(png, dtype=np.uint8)
        if rgb.shape[2] == 4 and rgb[..., 3].min(initial=255) < 255:
            raise MaskConverError(f"{path}: a panoptic PNG is opaque and this one is not; write it again as RGB")
    except FileNotFoundError as error:
        raise MaskConverError(f"{path}: no such panoptic PNG; check the panoptic folder") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise MaskConverError(f"{path}: not a readable PNG ({error}); write it again") from error
    ids: NDArray[np.int32] = rgb[..., 2].astype(np.int32)
    for channel in (1, 0):
        ids <<= 8
        ids |= rgb[..., channel]
    return ids


def _read_set(images: Path, annotations: Path, panoptic_dir: Path) -> GroundTruth:
    raw = _read_json(annotations)
    try:
        labels = tuple(_label(c) for c in raw["categories"])
        names = [(_image_id(i["id"]), _below(images, i["file_name"])) for i in raw["images"]]
        sizes = {_image_id(i["id"]): _size(i) for i in raw["images"]}
        truths = _annotations(raw, panoptic_dir)
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(annotations, error) from error
    _unique((label.id for label in labels), "category", str(annotations))
    _unique((image_id for image_id, _ in names), "image", str(annotations))
    files, known = dict(names), {label.id for label in labels}
    for truth in truths:
        if truth.image_id not in files:
            raise MaskConverError(f"{annotations}: image_id {truth.image_id!r} is not among its images; add it there")
        for segment in truth.segments:
            if segment.category_id not in known:
                raise MaskConverError(
                    f"{annotations}: segment {segment.id} of {truth.png.name} has category "
                    f"{segment.category_id}, which its categories lack; add it there"
                )
    return GroundTruth(labels, tuple(Sample(files[t.image_id], t, sizes[t.image_id]) for t in truths))


def _read_json(path: Path) -> dict[str, Any]:
    raw = read_json(path, MAX_JSON_BYTES, "COCO panoptic JSON")
    if not isinstance(raw, dict):
        raise MaskConverError(f"{path}: a JSON {type(raw).__name__}, expected the object of COCO panoptic JSON")
    return raw


def _label(raw: dict[str, Any]) -> Label:
    return Label(_integer(raw["id"]), str(raw["name"]), parse_flag(raw["isthing"], "isthing"))


def _annotations(raw: dict[str, Any], panoptic_dir: Path) -> tuple[Annotation, ...]:
    return tuple(_annotation(a, panoptic_dir, place) for place, a in enumerate(raw["annotations"]))


def _annotation(raw: dict[str, Any], panoptic_dir: Path, place: int) -> Annotation:
    where = f"annotation {place}"
    try:
        image_id = _image_id(raw["image_id"])
        where = f"image_id {image_id!r}"
        png, segments = _below(panoptic_dir, raw["file_name"]), []
        for number, segment in enumerate(raw["segments_info"]):
            where = (
                f"image_id {image_id!r}, segment {segment.get('id', number) if isinstance(segment, dict) else number}"
            )
            segments.append(_segment(segment))
    except KeyError as error:
        raise ValueError(f"{where}: key {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    return Annotation(image_id, png, tuple(segments))


def _size(raw: dict[str, Any]) -> tuple[int, int] | None:
    sides = raw.get("width"), raw.get("height")
    return None if None in sides else (_integer(sides[0]), _integer(sides[1]))


def _segment(raw: dict[str, Any]) -> SegmentInfo:
    identity = _integer(raw["id"])
    if not 0 < identity <= MAX_SEGMENT_ID:
        raise ValueError(f"segment id {identity} is outside 1..{MAX_SEGMENT_ID}")
    area = raw.get("area")
    if area is not None and (not isinstance(area, int | float) or isinstance(area, bool) or not math.isfinite(area)):
        raise TypeError(f"area is {area!r} where a number belongs")
    return SegmentInfo(identity, _integer(raw["category_id"]), parse_flag(raw.get("iscrowd", 0), "iscrowd"), area)


def _integer(value: object) -> int:
    """A whole number, also written as 7.0, as programs do that have one type of number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} where an integer belongs")
    return value


def _below(folder: Path, name: object) -> Path:
    """A file below a folder; an annotation may name no other."""
    if not isinstance(name, str):
        raise TypeError(f"file_name is {name!r} where text belongs")
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.name:
        raise ValueError(f"file_name {name!r} is not below its folder")
    return folder / path


def _image_id(value: object) -> int | str:
    return value if isinstance(value, str) else _integer(value)


def _malformed(path: Path, error: Exception) -> MaskConverError:
    reason = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
    return MaskConverError(f"{path}: not COCO panoptic JSON ({reason}); compare it with the format's description")


def _unique(values: Iterable[object], what: str, where: str) -> None:
    seen: set[object] = set()
    for value in values:
        if value in seen:
            raise MaskConverError(f"{where}: {what} {value!r} is there twice; keep one")
        seen.add(value)


def _require(paths: list[Path], what: str, folder: str) -> None:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise MaskConverError(f"{missing[0]}: the {what} of an annotation is missing{more}; check {folder}")
