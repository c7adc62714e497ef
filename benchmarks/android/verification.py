"""The same input tensors through a phone's runtime and through this machine's: is it the same answer?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.stability import CategoryMap, Where, agreement, noisy_images, stable_pixels
from maskconver_mobile.formats.runtimes import Tensors
from maskconver_mobile.inference.image import Letterbox, load_image
from maskconver_mobile.segmenter import Segmenter

Fetch = Callable[[int, str, NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Verification:
    """How far a phone's answers are from this machine's.

    Attributes:
        stable_agreement: share of the pixels that this machine is sure of (see `stability`) that have the same
            category, 0..1, in the mean of the photographs; None where it is sure of none.
        agreement: share of all pixels, in the mean.
        worst: share of all pixels of the worst photograph.
        worst_photo: its file name.
        max_differences: by output tensor, over all photographs: the largest absolute difference, or for tensors of
            whole numbers the largest share of values that differ.
    """

    stable_agreement: float | None
    agreement: float
    worst: float
    worst_photo: str
    max_differences: Mapping[str, float] = field(default_factory=dict)


class Verifier:
    """One model on this machine, with which answers of other machines are compared."""

    def __init__(self, model: Path, photos: Sequence[Path], threads: int) -> None:
        """Load the model.

        Args:
            model: a MaskConver model with a card.
            photos: at least one image file.
            threads: of this machine's runtime.

        Raises:
            MaskConverError: the model cannot be read.
        """
        self._segmenter = Segmenter(model, num_threads=threads)
        self._photos = photos
        self._stable: dict[Path, Where] = {}

    def compare(self, fetch: Fetch) -> Verification:
        """Compare answers.

        Args:
            fetch: returns the other machine's tensor, given the index of the photograph, the tensor's name, and this
                machine's tensor, whose dtype and shape it must have.

        Raises:
            MaskConverError: a photograph cannot be read, or the other machine puts out NaN or infinity.
        """
        differences: dict[str, float] = {}
        all_, stable = {}, []
        for i, photo in enumerate(self._photos):
            own = self._segmenter.run(photo)
            other = {name: fetch(i, name, tensor) for name, tensor in own.items()}
            for name, tensor in own.items():
                if not np.isfinite(other[name]).all():
                    raise MaskConverError(
                        f"{photo.name}: NaN or infinity in {name}; try --no-half-precision or no --gpu"
                    )
                differences[name] = max(differences.get(name, 0.0), _difference(tensor, other[name]))
            here, there = self._map(photo, own), self._map(photo, other)
            all_[photo.name] = float((here == there).mean())
            stable.append(agreement(here, there, self._stable_pixels(photo, here)))
        judged = [share for share in stable if share is not None]
        worst = min(all_, key=lambda name: all_[name])
        return Verification(
            stable_agreement=sum(judged) / len(judged) if judged else None,
            agreement=sum(all_.values()) / len(all_),
            worst=all_[worst],
            worst_photo=worst,
            max_differences=differences,
        )

    def _map(self, photo: Path, outputs: Tensors) -> CategoryMap:
        height, width = load_image(photo).shape[:2]
        return self._segmenter.category_map(outputs, Letterbox.fit((height, width), self._segmenter.card.input_size))

    def _stable_pixels(self, photo: Path, own: CategoryMap) -> Where:
        if photo not in self._stable:
            noisy = (self._segmenter.segment(image).category_map for image in noisy_images(load_image(photo)))
            self._stable[photo] = stable_pixels([own, *noisy])
        return self._stable[photo]


def _difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    if np.issubdtype(a.dtype, np.integer):
        return float((a != b).mean())
    return float(np.abs(a.astype(np.float64) - b).max(initial=0))
