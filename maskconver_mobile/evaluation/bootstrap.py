"""How far a difference of panoptic quality depends on the images that happened to be there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.evaluation.quality import PanopticCounts

RESAMPLES = 1000
SEED = 0


@dataclass(frozen=True)
class Interval:
    """The middle 95% of a bootstrap, as fractions."""

    low: float
    high: float


def difference_interval(first: Sequence[PanopticCounts], other: Sequence[PanopticCounts]) -> Interval:
    """How much higher the PQ of `other` is than that of `first`, by a paired bootstrap.

    Images are drawn with replacement, the same for both, `RESAMPLES` times (Efron and Tibshirani, An Introduction
    to the Bootstrap, 1993, section 13.3). Deterministic.

    Args:
        first: counts per image.
        other: counts of the same images in the same order.
    """
    images = len(first)
    weights = np.random.default_rng(SEED).multinomial(images, np.full(images, 1 / images), RESAMPLES)
    difference = _pq(weights, other) - _pq(weights, first)
    low, high = (float(v) for v in np.percentile(difference, (2.5, 97.5)))
    return Interval(low, high)


def _pq(weights: NDArray[Any], counts: Sequence[PanopticCounts]) -> NDArray[np.float64]:
    """PQ over all classes of every resample: weights [resamples, images] to [resamples]."""
    iou = weights @ np.stack([c.iou for c in counts])
    segments = weights @ np.stack([c.true_positives + 0.5 * (c.false_positives + c.false_negatives) for c in counts])
    occurs = segments > 0
    per_class = np.where(occurs, iou / np.maximum(segments, 0.5), 0.0)
    return np.asarray(per_class.sum(1) / np.maximum(occurs.sum(1), 1), np.float64)
