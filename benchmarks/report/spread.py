"""Timings of several photographs: how far the picture moves the time, beside how far chance does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from maskconver_mobile.benchmarks.report.stats import Statistics, drift, summarize


@dataclass(frozen=True)
class PhotoTiming:
    """Timings of one photograph.

    Attributes:
        photo: its file name.
        invoke: timings of the model's run, in milliseconds.
        samples_ms: every one of them in the order taken; empty where the runner tells only its averages.
        stages: median milliseconds of each stage from the file to segments; empty where they were not measured.
    """

    photo: str
    invoke: Statistics
    samples_ms: tuple[float, ...] = ()
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """Milliseconds over photographs, of which each counts by its median (or mean, where there is no median).

    Attributes:
        count: how many photographs.
        median: of the photographs.
        p90: their 90th percentile, between neighbours linearly interpolated.
        worst: the slowest one.
        worst_photo: its file name.
        noise: how wide the middle half of one photograph's runs is, median over photographs; None where that is not
            known.
    """

    count: int
    median: float
    p90: float
    worst: float
    worst_photo: str
    noise: float | None


def spread(photos: Sequence[PhotoTiming]) -> Spread | None:
    """Describe photographs; None if there are none."""
    halves = [photo.invoke.middle_half for photo in photos]
    widths = [half[1] - half[0] for half in halves if half is not None]
    noise = float(np.median(widths)) if widths else None
    return _describe({photo.photo: photo.invoke.typical for photo in photos}, noise)


def stages_spread(photos: Sequence[PhotoTiming]) -> Spread | None:
    """The same of all stages together; None if they were not measured."""
    return _describe({photo.photo: sum(photo.stages.values()) for photo in photos if photo.stages}, None)


def _describe(milliseconds: Mapping[str, float], noise: float | None) -> Spread | None:
    if not milliseconds:
        return None
    worst = max(milliseconds, key=lambda photo: milliseconds[photo])
    median, p90 = (float(v) for v in np.percentile(list(milliseconds.values()), (50, 90)))
    return Spread(len(milliseconds), median, p90, milliseconds[worst], worst, noise)


def by_photo(names: Sequence[str], samples_ms: Sequence[float]) -> tuple[PhotoTiming, ...]:
    """Timings taken of photographs in turn, sorted by photograph."""
    parts = ((name, tuple(samples_ms[i :: len(names)])) for i, name in enumerate(names))
    return tuple(PhotoTiming(name, summarize(part), part) for name, part in parts)


def drift_in_turn(samples_ms: Sequence[float], photos: Sequence[PhotoTiming]) -> float:
    """As `drift`, of timings taken of photographs in turn, each against its photograph's median."""
    if not photos:
        return drift(samples_ms)
    return drift([sample / photos[i % len(photos)].invoke.typical for i, sample in enumerate(samples_ms)])
