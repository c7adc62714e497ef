"""Images of a folder -> input tensors, and the ranges that a graph's tensors take on them."""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.inference.image import Letterbox, load_image, preprocess
from maskconver_mobile.inference.image_file import images_in

Tensor = NDArray[np.generic]
Sample = NDArray[np.float32]
Ranges = dict[str, tuple[float, float]]
T = TypeVar("T")

FEW = 8
FLAT = 4.0
MARGIN = 24.0
"""In levels of 255: an image's mean color and deviation may be as far outside those of the calibration."""
MOST_SPARED = 32
SMALL = 10
SAMPLES = 1 << 17
GOLDEN_RATIO = (1 + 5**0.5) / 2
SMALLEST = 1e-4
"""Of ranges: kernels refuse the steps of a map that is 0 everywhere."""
PARTS = np.linspace(1.0, 0.3, 29).tolist()


@dataclass(frozen=True)
class CalibrationSet:
    """Images as a model takes them.

    Attributes:
        inputs: tensors [1, H, W, 3] of the model's own type.
        skipped: the images that could not be read, with the reason.
        paths: the files of the inputs.
        letterboxes: where the image lies on each of them.
        looks: of each, the mean of red, green and blue, and the deviation of all, in levels of 0..255.
    """

    inputs: tuple[Tensor, ...] = ()
    skipped: tuple[tuple[Path, str], ...] = ()
    paths: tuple[Path, ...] = ()
    letterboxes: tuple[Letterbox, ...] = ()
    looks: tuple[tuple[float, ...], ...] = ()

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why these images may tell too little of what a model will see; empty where nothing speaks against them."""
        found, count = [], len(self.inputs)
        different = len(self.hashes)
        if 0 < different < FEW:
            found.append(f"{different} different calibration images tell little; give {FEW} or more")
        elif different < count / 2:
            found.append(f"only {different} of {count} calibration images are different; give others")
        flat = sum(deviation < FLAT for *_, deviation in self.looks)
        if flat > count / 2:
            found.append(f"{flat} of {count} calibration images show next to nothing; give some as in later use")
        return tuple(found)

    def hold_aside(self, taken: Container[Path]) -> "tuple[CalibrationSet, CalibrationSet]":
        """Images to calibrate on, and others to judge by.

        Those are all but the ones that were taken, if they are a fifth or 32; else so many, evenly spread. Of fewer
        than 10 images none is spared. Copies of what is calibrated on tell nothing and are left out.
        """
        places = range(len(self.inputs))
        aside = {i for i in places if self.paths[i] not in taken}
        spare = min(len(places) // 5, MOST_SPARED) if len(places) >= SMALL else 0
        if len(aside) < spare:
            aside = set(places) - set(spread(places, len(places) - spare))
        chosen = self._only([i for i in places if i not in aside])
        return chosen, self._only([i for i in sorted(aside) if hash(self.inputs[i].tobytes()) not in chosen.hashes])

    @cached_property
    def hashes(self) -> frozenset[int]:
        """Of the inputs: those of copies are equal."""
        return frozenset(hash(image.tobytes()) for image in self.inputs)

    def overlaps(self, other: "CalibrationSet") -> bool:
        """Whether they have an image in common."""
        return not self.hashes.isdisjoint(other.hashes)

    def unlike(self, other: "CalibrationSet") -> int:
        """How many of another's images are darker, brighter, of more contrast or of other colors than all of these."""
        looks = np.array(self.looks)
        low, high = looks.min(0) - MARGIN, looks.max(0) + MARGIN
        return sum(bool(((look < low) | (look > high)).any()) for look in np.array(other.looks))

    def _only(self, places: Sequence[int]) -> "CalibrationSet":
        return replace(
            self,
            inputs=tuple(self.inputs[i] for i in places),
            paths=tuple(self.paths[i] for i in places),
            letterboxes=tuple(self.letterboxes[i] for i in places),
            looks=tuple(self.looks[i] for i in places),
        )


def choose_images(folder: Path, count: int | None = None) -> list[Path]:
    """`count` images of a folder, evenly spread over its sorted names; all without a count, or where it holds fewer.

    Raises:
        MaskConverError: no such folder, or no images in it.
    """
    if not folder.is_dir():
        raise MaskConverError(f"{folder}: no such folder; calibration needs a folder of images like those of later use")
    images = images_in(folder)
    if not images:
        raise MaskConverError(f"{folder}: no images in this folder; calibration needs some like those of later use")
    return images if count is None else spread(images, count)


def spread(values: Sequence[T], count: int) -> list[T]:
    """`count` of some values, evenly spread; all where there are fewer."""
    count = min(count, len(values))
    return [values[i * len(values) // count] for i in range(count)]


def read_calibration(
    images: Sequence[Path], card: ModelCard, on_image: Callable[[], None] = lambda: None
) -> CalibrationSet:
    """Input tensors made as the runtime makes them; unreadable images are skipped.

    Args:
        images: files.
        card: of the model, which says what it takes.
        on_image: called after each image, for progress.

    Raises:
        MaskConverError: none of the images can be read.
    """
    inputs, letterboxes, skipped, paths, looks = [], [], [], [], []
    for path in images:
        try:
            image = load_image(path)
            tensor, letterbox = preprocess(image, card)
            inputs.append(tensor)
            letterboxes.append(letterbox)
            paths.append(path)
            looks.append((*image.mean((0, 1)).tolist(), float(image.std())))
        except MaskConverError as error:
            skipped.append((path, str(error)))
        on_image()
    if not inputs:
        reason = skipped[0][1] if skipped else "there are none"
        raise MaskConverError(f"none of {len(images)} images can be read (first: {reason})")
    return CalibrationSet(tuple(inputs), tuple(skipped), tuple(paths), tuple(letterboxes), tuple(looks))


class Samples(dict[str, list[Sample]]):
    """Values of tensors by name, about as many of each whatever the number of inputs."""

    def __init__(self, names: Iterable[str], inputs: int) -> None:
        """Of these tensors, seen with so many inputs."""
        super().__init__((name, []) for name in names)
        self._count = SAMPLES // inputs

    def take(self, name: str, values: Sample) -> None:
        """Sample a tensor's values for one more input."""
        self[name].append(sample(values, self._count))

    def ranges(self, bits: int = 8) -> Ranges:
        """The range that integers should span, for every tensor."""
        return {name: best_range(np.concatenate(found), bits) for name, found in self.items()}


def best_range(values: NDArray[Any], bits: int = 8) -> tuple[float, float]:
    """The part of the values' range, 0 included, whose steps leave the smallest mean squared error.

    Clipping a few large values makes all steps finer; both ends are drawn in alike. Banner et al. (2019, "Post training
    4-bit quantization of convolutional networks for rapid deployment") weigh the same two errors by a fitted density.

    Args:
        values: samples.
        bits: of the integers.

    Returns:
        Low (not above 0) and high (not below 0).
    """
    values = values.astype(np.float64)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)

    def error(part: float) -> float:
        step = max(part * (high - low) / (2**bits - 1), np.finfo(np.float32).tiny)
        clipped = values - np.clip(values, part * low, part * high)
        return float(np.square(clipped).mean() + step**2 / 12)

    part = min(PARTS, key=error)
    return part * low, max(part * high, part * low + SMALLEST)


def sample(values: Sample, count: int) -> Sample:
    """Up to `count` values from all over, with the smallest and the largest.

    Multiples of the golden ratio, modulo 1, spread evenly (Weyl's theorem) and fall in with no layout: every n-th value
    of a map whose channels lie side by side would be one channel's.
    """
    flat = values.ravel()
    if flat.size > count:
        places = (np.arange(count) * GOLDEN_RATIO % 1.0 * flat.size).astype(np.int64)
        flat = np.concatenate([flat[places], [flat.min(), flat.max()]])
    return flat.astype(np.float32)
