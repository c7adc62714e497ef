"""Which pixels a model is sure of, so that agreement is not a measure of luck; see docs/precision.md.

Pure functions of category maps, whoever computed them: another process, an emulated phone, a file.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.inference.image import Pixels

DRAWS = 6
SEED = 0

CategoryMap = NDArray[np.integer[Any]]
Where = NDArray[np.bool_]


def noisy(image: Pixels, draw: int) -> Pixels:
    """An image [h, w, c] with -1, 0 or 1 added to each of its values, kept within 0..255.

    The noise depends on the image's shape and on `draw` (0, 1, ...) alone: it is the same on every call.
    """
    noise = np.random.default_rng((SEED, draw)).integers(-1, 2, image.shape, np.int16)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def noisy_images(image: Pixels) -> Iterator[Pixels]:
    """`DRAWS` noisy versions of an image: beside the image itself, what the reference must see for `stable_pixels`."""
    return (noisy(image, draw) for draw in range(DRAWS))


def stable_pixels(maps: Sequence[CategoryMap]) -> Where:
    """Pixels that have the same category in all maps [h, w]: bool [h, w].

    Raises:
        MaskConverError: there is no map, or they differ in size.
    """
    if not maps:
        raise MaskConverError("no category map is given; expected the reference's maps of the image and of noisy ones")
    stable = np.ones(maps[0].shape, np.bool_)
    for other in maps[1:]:
        stable &= _equal(maps[0], other)
    return stable


def agreement(a: CategoryMap, b: CategoryMap, where: Where | None = None) -> float | None:
    """Share of pixels with the same category in both maps [h, w]; of those in `where` if given, None if there is none.

    Raises:
        MaskConverError: the maps differ in size.
    """
    equal = _equal(a, b)
    chosen = equal if where is None else equal[where]
    return float(chosen.mean()) if chosen.size else None


def _equal(a: CategoryMap, b: CategoryMap) -> Where:
    if a.shape != b.shape:
        raise MaskConverError(f"category maps of {list(a.shape)} and {list(b.shape)} pixels; expected one size")
    return np.asarray(a == b)
