"""The same input tensors through a phone's runtime and through this machine's: is it the same answer?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.image import Letterbox, load_image
from maskconver_mobile.segmenter import Segmenter

Fetch = Callable[[int, str, NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Verification:
    """How far a phone's answers are from this machine's.

    Attributes:
        agreement: share of pixels with the same category, 0..1, in the mean of the photographs.
        worst: of the worst photograph.
        worst_photo: its file name.
        max_differences: by output tensor, over all photographs: the largest absolute difference, or for tensors of
            whole numbers the largest share of values that differ.
    """

    agreement: float
    worst: float
    worst_photo: str
    max_differences: Mapping[str, float] = field(default_factory=dict)


def verify(model: Path, photos: Sequence[Path], threads: int, fetch: Fetch) -> Verification:
    """Compare answers.

    Args:
        model: a MaskConver model with a card.
        photos: at least one image file.
        threads: of this machine's runtime.
        fetch: returns the other machine's tensor, given the index of the photograph, the tensor's name, and this
            machine's tensor, whose dtype and shape it must have.

    Raises:
        MaskConverError: a file cannot be read, or the other machine puts out NaN or infinity.
    """
    segmenter = Segmenter(model, num_threads=threads)
    agreements, differences = {}, dict[str, float]()
    for i, photo in enumerate(photos):
        own = segmenter.run(photo)
        other = {name: fetch(i, name, tensor) for name, tensor in own.items()}
        for name, tensor in own.items():
            if not np.isfinite(other[name]).all():
                raise MaskConverError(f"{photo.name}: NaN or infinity in {name}; try --no-half-precision, or no --gpu")
            differences[name] = max(differences.get(name, 0.0), _difference(tensor, other[name]))
        height, width = load_image(photo).shape[:2]
        letterbox = Letterbox.fit((height, width), segmenter.card.input_size)
        maps = [segmenter.category_map(outputs, letterbox) for outputs in (own, other)]
        agreements[photo.name] = float((maps[0] == maps[1]).mean())
    worst = min(agreements, key=lambda name: agreements[name])
    return Verification(sum(agreements.values()) / len(agreements), agreements[worst], worst, differences)


def _difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    if np.issubdtype(a.dtype, np.integer):
        return float((a != b).mean())
    return float(np.abs(a.astype(np.float64) - b).max(initial=0))
