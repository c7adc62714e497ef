"""Many images through one model, and the files that come of it."""

import glob
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import write_atomically
from maskconver_mobile.image import encode_png
from maskconver_mobile.panoptic import PanopticResult
from maskconver_mobile.segmenter import Segmenter

OVERLAY, PANOPTIC = "_overlay", "panoptic"
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})


@dataclass(frozen=True)
class Segmented:
    """What came of an image: the result, and its entry in the COCO panoptic format."""

    result: PanopticResult
    annotation: dict[str, Any]


def find_images(sources: Iterable[str]) -> list[Path]:
    """Files, the images of folders (by suffix) and glob patterns, each once and in a stable order.

    Raises:
        MaskConverError: a source names nothing.
    """
    found: dict[Path, None] = {}
    for source in sources:
        try:
            matches = _matches(source)
        except OSError as error:
            raise MaskConverError(f"{source[:200]}: cannot be looked for ({error.strerror})") from error
        if not matches:
            what = "no images in this folder" if Path(source).is_dir() else "no such image"
            raise MaskConverError(f"{source}: {what}; give image files, folders or glob patterns")
        found.update(dict.fromkeys(matches))
    return list(found)


def _matches(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        return [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
    if path.exists():
        return [path]
    return [Path(p) for p in sorted(glob.glob(source, recursive=True)) if Path(p).is_file()]


def without_results(paths: Sequence[Path], output: Path) -> list[Path]:
    """Leave out what `segment_files` wrote to `output` earlier of other images among `paths`."""
    output, stems = output.resolve(), Counter(path.stem for path in paths)

    def own(path: Path) -> bool:
        folder, name = path.parent.resolve(), path.stem.removesuffix(OVERLAY)
        if folder == output:
            return name != path.stem and name in stems
        return folder == output / PANOPTIC and stems[path.stem] > 1

    return [path for path in paths if not own(path)]


def image_ids(paths: Sequence[Path]) -> dict[Path, int | str]:
    """Ids of images in COCO's format: the number that a name is, or the name where it is none or others have it too."""
    numbers = {path: int(path.stem) for path in paths if path.stem.isascii() and path.stem.isdecimal()}
    counts = Counter(numbers.values())
    return {path: numbers[path] if counts[numbers.get(path, -1)] == 1 else path.stem for path in paths}


def segment_files(
    segmenter: Segmenter, paths: Sequence[Path], output: Path
) -> Iterator[tuple[Path, Segmented | MaskConverError]]:
    """Segment files one by one and write `NAME_overlay.png`, `panoptic/NAME.png` and `panoptic.json`.

    The last is in the official COCO panoptic results format. An image that cannot be read yields its error, and the
    others go on.

    Raises:
        MaskConverError: two images share a name and would overwrite each other's results, or the output cannot be
            written.
    """
    _refuse_same_names(paths)
    annotations, ids = [], image_ids(paths)
    for path in paths:
        try:
            result = segmenter.segment(path)
        except MaskConverError as error:
            yield path, error
            continue
        png, annotation = result.to_coco(ids[path], f"{path.stem}.png")
        write_atomically(output / f"{path.stem}{OVERLAY}.png", encode_png(result.overlay()))
        write_atomically(output / PANOPTIC / f"{path.stem}.png", encode_png(png))
        annotations.append(annotation)
        yield path, Segmented(result, annotation)
    categories = [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in segmenter.card.categories]
    document = {"annotations": annotations, "categories": categories}
    write_atomically(output / f"{PANOPTIC}.json", json.dumps(document).encode())


def _refuse_same_names(paths: Sequence[Path]) -> None:
    by_name: dict[str, Path] = {}
    for path in paths:
        other = by_name.setdefault(path.stem, path)
        if other != path:
            raise MaskConverError(f"{path} and {other}: their results would have the same name; segment them apart")
