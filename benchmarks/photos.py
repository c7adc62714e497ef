"""The photographs that benchmarks run on: how long a graph takes depends on the picture."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import maskconver_mobile
from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.inference.batch import find_images
from maskconver_mobile.inference.image import load_image, preprocess

MAX_PHOTOS = 100
ON_NOISE = ("ran on noise: it has no model card that says what it makes of a photograph",)
DEMO = Path(maskconver_mobile.__file__).parent / "demo"


def find_photos(folder: Path | None = None) -> tuple[Path, ...]:
    """The photographs of a folder by name, or the bundled ones (`demo/photos/CREDITS.txt` says whose they are).

    Raises:
        MaskConverError: the folder holds no image, or more than 100.
    """
    if folder is None:
        return (DEMO / "astronaut.jpg", *find_images([str(DEMO / "photos")]))
    found = tuple(find_images([str(folder)]))
    if len(found) > MAX_PHOTOS:
        raise MaskConverError(f"{folder}: has {len(found)} images; give a folder of at most {MAX_PHOTOS}")
    return found


class PreparedPhotos:
    """Photographs as input tensors in files of raw values, for whoever runs a model; a context manager.

    Models that take the same share their files, which are gone after `close`.
    """

    def __init__(self, photos: Sequence[Path]) -> None:
        self.photos = tuple(photos)
        self._folder = tempfile.TemporaryDirectory()
        self._made: dict[tuple[object, ...], tuple[Path, ...]] = {}

    def __enter__(self) -> "PreparedPhotos":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()

    def inputs(self, card: ModelCard | None) -> tuple[Path, ...]:
        """One file for each photograph; none for a model without a card, whose input nobody knows.

        Raises:
            MaskConverError: a photograph cannot be read.
        """
        if card is None:
            return ()
        key = (card.input_size, card.input_type, card.mean, card.std)
        if key not in self._made:
            folder = Path(self._folder.name) / str(len(self._made))
            folder.mkdir()
            self._made[key] = tuple(self._prepare(photo, card, folder) for photo in self.photos)
        return self._made[key]

    def _prepare(self, photo: Path, card: ModelCard, folder: Path) -> Path:
        path = folder / f"{photo.name}.raw"
        path.write_bytes(preprocess(load_image(photo), card)[0].tobytes())
        return path
