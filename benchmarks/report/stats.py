"""Numbers that describe a row of timings, and how far two rows may be told apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskconver_mobile.errors import MaskConverError

THROTTLED = 1.1
"""A drift above this is worth a warning; quarters of a short run differ by less without any cause."""

MIN_RUNS = 3
"""Fewer timings have no middle half to speak of."""


@dataclass(frozen=True)
class Statistics:
    """One row of timings, in milliseconds.

    Attributes:
        count: how many timings.
        mean: arithmetic mean.
        std: standard deviation of the population (divisor `count`).
        min: shortest.
        max: longest.
        p25: first quartile. Like the other percentiles None where a tool tells only its averages.
        p50: median.
        p75: third quartile.
        p90: 90th percentile.
        p95: 95th percentile.
    """

    count: int
    mean: float
    std: float
    min: float
    max: float
    p25: float | None = None
    p50: float | None = None
    p75: float | None = None
    p90: float | None = None
    p95: float | None = None

    @property
    def typical(self) -> float:
        """The median, or the mean where there is no median."""
        return self.mean if self.p50 is None else self.p50

    @property
    def middle_half(self) -> tuple[float, float] | None:
        """From p25 to p75; None where they are not known, or stand for fewer than three timings."""
        if self.count < MIN_RUNS or self.p25 is None or self.p75 is None:
            return None
        return self.p25, self.p75


@dataclass(frozen=True)
class Ratio:
    """Time of one model over time of another, taken round by round.

    Attributes:
        median: below 1 where the model is faster than its baseline.
        p25: first quartile of the per-round ratios.
        p75: third quartile of the per-round ratios.
    """

    median: float
    p25: float
    p75: float


def summarize(samples_ms: Sequence[float]) -> Statistics:
    """Describe timings; percentiles interpolate linearly between neighbours.

    Raises:
        MaskConverError: there is no timing.
    """
    if not samples_ms:
        raise MaskConverError("no timing was taken; ask for at least one run")
    values = np.asarray(samples_ms, np.float64)
    p25, p50, p75, p90, p95 = (float(v) for v in np.percentile(values, (25, 50, 75, 90, 95)))
    return Statistics(
        count=len(values),
        mean=float(values.mean()),
        std=float(values.std()),
        min=float(values.min()),
        p25=p25,
        p50=p50,
        p75=p75,
        p90=p90,
        p95=p95,
        max=float(values.max()),
    )


def ratio(samples_ms: Sequence[float], baseline_ms: Sequence[float]) -> Ratio:
    """Compare timings of the same rounds, so that slow drift of the machine cancels."""
    rounds = np.asarray(samples_ms, np.float64) / np.asarray(baseline_ms, np.float64)
    p25, median, p75 = (float(v) for v in np.percentile(rounds, (25, 50, 75)))
    return Ratio(median=median, p25=p25, p75=p75)


def drift(samples_ms: Sequence[float]) -> float:
    """Median of the last quarter over median of the first: above 1 where the run slowed down (throttling)."""
    quarter = len(samples_ms) // 4
    if quarter == 0:
        return 1.0
    return float(np.median(samples_ms[-quarter:]) / np.median(samples_ms[:quarter]))
