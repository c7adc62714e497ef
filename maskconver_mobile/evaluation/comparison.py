"""Two models on the same images, without ground truth: how far the second strays from the first."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.coco import SegmentMap
from maskconver_mobile.evaluation.quality import intersections
from maskconver_mobile.evaluation.stability import CategoryMap, agreement, noisy_images, stable_pixels
from maskconver_mobile.formats.runtimes import Tensors
from maskconver_mobile.inference.image import Pixels, load_image
from maskconver_mobile.result import PanopticResult
from maskconver_mobile.segmenter import Segmenter

MATCH_IOU = 0.5
IDENTICAL_DB = 200.0
PROPOSAL_TENSORS = ("scores", "mask_logits")


@dataclass(frozen=True)
class ImageComparison:
    """One image.

    Attributes:
        image: its file.
        measures: by name, higher is better except for `max_abs`; absent where it is not defined.
            `pixel_agreement`: share of pixels with the same category.
            `stable_agreement`: the same of the reference's stable pixels, absent where it has none.
            `stable_share`: share of the pixels that are stable.
            `segment_overlap`: 2 x matches / all segments of both; a match has the same category and an IoU
            above 0.5.
            `matched_iou`: mean IoU of the matches.
            `top_k_overlap`: share of the first model's proposals that the second has too (`match_proposals`).
            `TENSOR.cosine`, `TENSOR.snr_db`, `TENSOR.max_abs`: `tensor_errors` of each float output that both
            have; those of `scores` and `mask_logits` compare the proposals in common.
    """

    image: Path
    measures: dict[str, float]


@dataclass(frozen=True)
class Summary:
    """A measure over images; `p10` is the 10th percentile, counted from the bad end."""

    mean: float
    p10: float
    worst: float
    worst_image: Path


@dataclass(frozen=True)
class Comparison:
    """All images, and those that could not be read with the reason."""

    images: tuple[ImageComparison, ...]
    skipped: tuple[tuple[Path, str], ...]

    @property
    def agreement(self) -> float:
        """Mean pixel agreement, as a fraction."""
        return self.summary()["pixel_agreement"].mean

    @property
    def stable_agreement(self) -> float | None:
        """Mean agreement on stable pixels, as a fraction; None where it was not measured or no pixel is stable."""
        found = self.summary().get("stable_agreement")
        return None if found is None else found.mean

    def summary(self) -> dict[str, Summary]:
        """Mean, 10th percentile and worst of each measure over the images that have it."""
        names = dict.fromkeys(name for one in self.images for name in one.measures)
        return {name: self._summarise(name) for name in names}

    def _summarise(self, name: str) -> Summary:
        found = [(one.measures[name], one.image) for one in self.images if name in one.measures]
        values = [value for value, _ in found]
        errors = name.endswith(".max_abs")
        worst, image = (max if errors else min)(found, key=lambda pair: pair[0])
        p10 = float(np.percentile(values, 90 if errors else 10))
        return Summary(sum(values) / len(values), p10, worst, image)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: `images` (each `image` and its `measures`), `summary` by measure, and `skipped`."""
        return {
            "images": [{"image": str(one.image), "measures": one.measures} for one in self.images],
            "summary": {
                name: {"mean": s.mean, "p10": s.p10, "worst": s.worst, "worst_image": str(s.worst_image)}
                for name, s in self.summary().items()
            },
            "skipped": [{"image": str(path), "reason": reason} for path, reason in self.skipped],
        }


def compare(
    a: Segmenter,
    b: Segmenter,
    images: Sequence[Path],
    on_image: Callable[[], None] = lambda: None,
    *,
    stable: bool = False,
) -> Comparison:
    """Compare model `b` with model `a`, the reference, on image files; unreadable ones are skipped.

    Args:
        a: the reference.
        b: any model of any format, level and input size.
        images: image files.
        on_image: called after each image, for progress.
        stable: measure agreement on stable pixels too, which takes six more runs of `a` per image.

    Raises:
        MaskConverError: no image could be read, or a model puts out NaN or infinity.
    """
    compared, skipped = [], []
    for path in images:
        try:
            pixels = load_image(path)
        except MaskConverError as error:
            skipped.append((path, str(error)))
        else:
            compared.append(ImageComparison(path, _measures(a, b, pixels, path, stable)))
        on_image()
    if not compared:
        raise MaskConverError(f"none of {len(images)} images can be read (first: {skipped[0][1] if skipped else '-'})")
    return Comparison(tuple(compared), tuple(skipped))


def tensor_errors(a: NDArray[np.generic], b: NDArray[np.generic]) -> dict[str, float]:
    """How far `b` is from `a`, both of one shape.

    Returns:
        `cosine`: of the angle between them as vectors. `snr_db`: 10 log10(sum a^2 / sum (a - b)^2), kept
        within -200..200; 200 stands for identical tensors. `max_abs`: the largest absolute difference.
    """
    x, y = (np.asarray(t, np.float64).ravel() for t in (a, b))
    signal, noise = float(x @ x), float((x - y) @ (x - y))
    length = np.sqrt(signal * float(y @ y))
    floor = 10 ** (-IDENTICAL_DB / 10)
    ratio = max(signal, noise * floor) / max(noise, signal * floor) if signal or noise else 1 / floor
    return {
        "cosine": float(np.clip(x @ y / length, -1, 1)) if length else float(not noise),
        "snr_db": float(10 * np.log10(ratio)),
        "max_abs": float(np.abs(x - y).max(initial=0)),
    }


def match_proposals(a: Tensors, b: Tensors) -> NDArray[np.int64] | None:
    """Pair the proposals of two models one to one, the largest overlap first.

    Two proposals may pair when they have the same class and their masks (logits above 0) an IoU above 0.5;
    two empty masks count as equal. Where neither graph puts out mask logits (level `panoptic`), the class
    alone decides.

    Returns:
        int64 [n, 2], indices into both, in the first model's order; or None where mask logits cannot be
        compared, because one model lacks them or they differ in size.
    """
    classes = [t["classes"][0] for t in (a, b)]
    likeness = (classes[0][:, None] == classes[1]).astype(np.float64)
    masks = [t["mask_logits"][0] > 0 for t in (a, b) if "mask_logits" in t]
    if len(masks) == 1 or (masks and masks[0].shape[:2] != masks[1].shape[:2]):
        return None
    if masks:
        likeness *= _mask_iou(*(m.reshape(-1, m.shape[-1]).astype(np.float32) for m in masks))
    pairs = []
    while likeness.max(initial=0) > MATCH_IOU:
        i, j = np.unravel_index(likeness.argmax(), likeness.shape)
        pairs.append((i, j))
        likeness[i], likeness[:, j] = 0, 0
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def agreement_measures(a: CategoryMap, b: CategoryMap, noisy: Iterable[CategoryMap] | None = None) -> dict[str, float]:
    """Measures of the pixels of two category maps; `noisy` are the reference's maps of noisy images, if it saw any."""
    measures = {"pixel_agreement": agreement(a, b)}
    if noisy is not None:
        stable = stable_pixels([a, *noisy])
        measures |= {"stable_agreement": agreement(a, b, stable), "stable_share": float(stable.mean())}
    return {name: value for name, value in measures.items() if value is not None}


def _measures(a: Segmenter, b: Segmenter, pixels: Pixels, path: Path, stable: bool) -> dict[str, float]:
    (one, first), (other, second) = (_segment(model, pixels, path) for model in (a, b))
    noisy = (a.segment(image).category_map for image in noisy_images(pixels)) if stable else None
    measures = agreement_measures(one.category_map, other.category_map, noisy)
    measures |= _segment_measures(one, other)
    pairs = match_proposals(first, second)
    if pairs is None:
        pairs = np.empty((0, 2), np.int64)
    else:
        measures["top_k_overlap"] = len(pairs) / first["classes"].shape[-1]
    for tensors, columns in ((first, pairs[:, 0]), (second, pairs[:, 1])):
        tensors.update({n: tensors[n][..., columns] for n in PROPOSAL_TENSORS if n in tensors})
    return measures | shared_errors(first, second)


def shared_errors(a: Tensors, b: Tensors) -> dict[str, float]:
    """`TENSOR.MEASURE` by `tensor_errors` of the float tensors that both have in one shape."""
    measures = {}
    for name, one in a.items():
        other = b.get(name, one[:0])
        if one.size and one.shape == other.shape and np.issubdtype(one.dtype, np.floating):
            measures.update({f"{name}.{key}": value for key, value in tensor_errors(one, other).items()})
    return measures


def _segment(segmenter: Segmenter, pixels: Pixels, path: Path) -> tuple[PanopticResult, Tensors]:
    result, outputs = segmenter.segment_with_outputs(pixels)
    for name, tensor in outputs.items():
        if not np.isfinite(tensor).all():
            raise MaskConverError(
                f"{path}: model {segmenter.card.name} ({segmenter.card.recipe}) puts out NaN or infinity in "
                f"{name}; convert it with another recipe"
            )
    return result, dict(outputs)


def _segment_measures(a: PanopticResult, b: PanopticResult) -> dict[str, float]:
    shared = intersections(SegmentMap.of(a, "first model"), SegmentMap.of(b, "second model"))
    areas = shared.sum(axis=1)[1:, None] + shared.sum(axis=0)[1:]
    iou = shared[1:, 1:] / (areas - shared[1:, 1:])
    categories = [np.array([s.category_id for s in result.segments], np.int64) for result in (a, b)]
    matched = iou[(categories[0][:, None] == categories[1]) & (iou > MATCH_IOU)]
    segments = len(a.segments) + len(b.segments)
    measures = {"segment_overlap": 2 * len(matched) / segments if segments else 1.0}
    return {**measures, "matched_iou": float(matched.mean())} if len(matched) else measures


def _mask_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """IoU of masks [pixels, n] and [pixels, m] of zeros and ones: [n, m]."""
    shared = (a.T @ b).astype(np.float64)
    union = a.sum(0)[:, None] + b.sum(0) - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0)
