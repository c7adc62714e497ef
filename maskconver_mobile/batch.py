"""Many images through one model, and the files that come of it."""

import glob
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import write_atomically
from maskconver_mobile.panoptic import PanopticResult
from maskconver_mobile.segmenter import Segmenter

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})


def find_images(sources: Iterable[str]) -> list[Path]:
    """Files, the images of folders (by suffix) and glob patterns, each once and in a stable order.

    Raises:
        MaskConverError: a source names nothing, or two images share a name and would overwrite each other's results.
    """
    found: dict[Path, None] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            matches = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]
        elif path.exists():
            matches = [path]
        else:
            matches = [Path(p) for p in sorted(glob.glob(source, recursive=True)) if Path(p).is_file()]
        if not matches:
            what = "no images in this folder" if path.is_dir() else "no such image"
            raise MaskConverError(f"{source}: {what}; give image files, folders or glob patterns")
        found.update(dict.fromkeys(matches))
    by_name: dict[str, Path] = {}
    for path in found:
        other = by_name.setdefault(path.stem, path)
        if other != path:
            raise MaskConverError(f"{path} and {other}: their results would have the same name; segment them apart")
    return list(found)


def segment_files(
    segmenter: Segmenter, paths: Sequence[Path], output: Path
) -> Iterator[tuple[Path, PanopticResult | MaskConverError]]:
    """Segment files one by one and write `NAME_overlay.png`, `panoptic/NAME.png` and `panoptic.json`.

    The last is in the official COCO panoptic results format. An image that cannot be read yields its error, and the
    others go on.

    Raises:
        MaskConverError: the output cannot be written.
    """
    annotations = []
    for path in paths:
        try:
            result = segmenter.segment(path)
        except MaskConverError as error:
            yield path, error
            continue
        png, annotation = result.to_coco(int(path.stem) if path.stem.isdigit() else path.stem, f"{path.stem}.png")
        result.save(output / f"{path.stem}_overlay.png")
        write_atomically(output / "panoptic" / f"{path.stem}.png", encode_png(png))
        annotations.append(annotation)
        yield path, result
    categories = [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in segmenter.card.categories]
    document = {"annotations": annotations, "categories": categories}
    write_atomically(output / "panoptic.json", json.dumps(document).encode())


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """An RGB image [h, w, 3] as PNG."""
    ok, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not ok:
        raise MaskConverError(f"a PNG of {image.shape[1]}x{image.shape[0]} pixels cannot be encoded")
    return encoded.tobytes()
