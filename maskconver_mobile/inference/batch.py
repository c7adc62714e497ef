"""Many images through one model, and the files that come of it."""

import glob
import json
import os
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskconver_mobile.card import Category
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import distinct_names, read_json, write_atomically
from maskconver_mobile.inference.image import encode_png
from maskconver_mobile.inference.image_file import images_in
from maskconver_mobile.inference.image_output import encode_image
from maskconver_mobile.result import PanopticResult
from maskconver_mobile.segmenter import Segmenter

OVERLAY, PANOPTIC = "_overlay", "panoptic"
MAX_JSON_BYTES = 1 << 30


@dataclass(frozen=True)
class Segmented:
    """What came of an image: the result, and its entry in the COCO panoptic format."""

    result: PanopticResult
    annotation: dict[str, Any]


def find_images(sources: Iterable[str], *, recursive: bool = False) -> list[Path]:
    """Files, the images of folders (by suffix) and glob patterns, each once and in a stable order.

    Args:
        sources: what to look for.
        recursive: the images of the folders in folders too.

    Raises:
        MaskConverError: a source names nothing.
    """
    found: dict[Path, None] = {}
    for source in sources:
        try:
            matches = _matches(source, recursive)
        except OSError as error:
            raise MaskConverError(f"{source[:200]}: cannot be looked for ({error.strerror})") from error
        if not matches:
            what = "no images in this folder" if Path(source).is_dir() else "no such image"
            raise MaskConverError(f"{source}: {what}; give image files, folders or glob patterns")
        found.update(dict.fromkeys(matches))
    return list(found)


def _matches(source: str, recursive: bool) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        return images_in(path, recursive=recursive)
    if path.exists():
        return [path]
    return [Path(p) for p in sorted(glob.glob(source, recursive=True)) if Path(p).is_file()]


def without_results(paths: Sequence[Path], output: Path) -> list[Path]:
    """Leave out what `segment_files` wrote to `output` earlier of other images among `paths`."""
    output, stems = output.resolve(), Counter(path.stem for path in paths)

    def own(path: Path) -> bool:
        folder, name = path.parent.resolve(), path.stem.removesuffix(OVERLAY)
        if output / PANOPTIC in (folder, *folder.parents):
            return stems[path.stem] > 1
        return output in (folder, *folder.parents) and name != path.stem and name in stems

    return [path for path in paths if not own(path)]


def result_names(paths: Sequence[Path]) -> dict[Path, str]:
    """What the results of images are called: the image's name, with as many of its folders as tell it from others.

    The name goes without its suffix where that alone does not tell two images of one folder apart.

    Raises:
        MaskConverError: two images would still have results of one name.
    """
    places = {path: os.path.abspath(path.with_suffix("")) for path in dict.fromkeys(paths)}
    counts = Counter(places.values())
    places = {path: place if counts[place] == 1 else os.path.abspath(path) for path, place in places.items()}
    by_place: dict[str, Path] = {}
    by_name = defaultdict(list)
    for path, place in places.items():
        other = by_place.setdefault(place, path)
        if other != path:
            raise MaskConverError(f"{path} and {other}: their results would have the same name; segment them apart")
        by_name[os.path.basename(place)].append(place)
    names: dict[str, str] = {}
    for name, alike in by_name.items():
        names |= dict.fromkeys(alike, name) if len(alike) == 1 else distinct_names(alike)
    return {path: names[place].lstrip(os.sep) for path, place in places.items()}


def image_ids(paths: Sequence[Path]) -> dict[Path, int | str]:
    """Ids of images in COCO's format: the number that a name is, or the name where it is none or others have it too."""
    names = result_names(paths)
    numbers = {path: int(path.stem) for path in paths if path.stem.isascii() and path.stem.isdecimal()}
    counts = Counter(numbers.values())
    return {path: numbers[path] if counts[numbers.get(path, -1)] == 1 else names[path] for path in paths}


def write_result(result: PanopticResult, name: str, image_id: int | str, output: Path, overlay: str) -> dict[str, Any]:
    """Write `panoptic/NAME.png` and, where `overlay` is a suffix, `NAME_overlay` with it; the COCO annotation."""
    png, annotation = result.to_coco(image_id, f"{name}.png")
    if overlay:
        path = overlay_path(output, name, overlay)
        write_atomically(path, encode_image(result.overlay(), path))
    write_atomically(output / PANOPTIC / f"{name}.png", encode_png(png))
    return annotation


def overlay_path(output: Path, name: str, suffix: str = ".png") -> Path:
    """Where `write_result` puts an overlay."""
    return output / f"{name}{OVERLAY}{suffix}"


def segment_files(
    segmenter: Segmenter,
    paths: Sequence[Path],
    output: Path,
    *,
    overlay: str = ".png",
    done: Mapping[str, dict[str, Any]] | None = None,
) -> Generator[tuple[Path, Segmented | MaskConverError], None, None]:
    """Segment files one by one and write what `write_result` does, and `panoptic.json`.

    The last is in the official COCO panoptic results format, with the images that could not be read in `failed`; it is
    written however the work ends, once a first image was segmented. Close the iterator (`contextlib.closing`) to end
    early. An image that cannot be read yields its error, and the others go on.

    Args:
        segmenter: the model.
        paths: image files.
        output: folder.
        overlay: suffix of the overlays; none are written if it is empty.
        done: annotations of an earlier call (see `earlier_results`) by file name, whose images are passed over.

    Raises:
        MaskConverError: two images would have results of one name, or the output cannot be written.
    """
    names, ids, done = result_names(paths), image_ids(paths), done or {}
    annotations, failed = list(done.values()), []
    try:
        for path in paths:
            if f"{names[path]}.png" in done:
                continue
            try:
                result = segmenter.segment(path)
            except MaskConverError as error:
                failed.append({"file_name": str(path), "error": str(error)})
                yield path, error
                continue
            annotations.append(write_result(result, names[path], ids[path], output, overlay))
            yield path, Segmented(result, annotations[-1])
    finally:
        if annotations or failed:
            document = {"annotations": annotations, "categories": _coco(segmenter.card.categories)}
            document |= {"failed": failed} if failed else {}
            write_atomically(output / f"{PANOPTIC}.json", json.dumps(document).encode())


def earlier_results(segmenter: Segmenter, output: Path, overlay: str = ".png") -> dict[str, dict[str, Any]]:
    """Annotations by file name that an earlier `segment_files` left in `output`, with all their files there.

    Raises:
        MaskConverError: they are of another label set, or unreadable.
    """
    path = output / f"{PANOPTIC}.json"
    if not path.is_file():
        return {}
    document = read_json(path, MAX_JSON_BYTES, "another folder, or leave --resume out")
    try:
        if document["categories"] != _coco(segmenter.card.categories):
            raise MaskConverError(f"{path}: is of a model with other labels; give another folder")
        found = {str(annotation["file_name"]): dict(annotation) for annotation in document["annotations"]}
    except (KeyError, TypeError, ValueError) as error:
        raise MaskConverError(f"{path}: holds no results ({error!r}); give another folder") from error

    def whole(name: str) -> bool:
        picture = overlay_path(output, name.removesuffix(".png"), overlay)
        return (output / PANOPTIC / name).is_file() and (not overlay or picture.is_file())

    return {name: annotation for name, annotation in found.items() if whole(name)}


def _coco(categories: Sequence[Category]) -> list[dict[str, Any]]:
    return [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in categories]
