"""Two reports against each other: ratios, and a verdict only where the spread allows one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from maskconver_mobile.benchmarks.report.results import Report, Result
from maskconver_mobile.benchmarks.report.stats import Statistics
from maskconver_mobile.errors import MaskConverError

Verdict = Literal["faster", "slower", "no difference", "unclear", "other pictures", "emulated"]


@dataclass(frozen=True)
class Change:
    """One measurement of both reports.

    Attributes:
        title: machine, model and how it was run.
        old_ms: median over photographs (over runs where there are none) of the old report.
        new_ms: the same of the new one.
        ratio: new over old; median of the photographs' ratios.
        verdict: `faster` or `slower` where the ratio is further from 1 than the tolerance and, on more than half of
            the photographs, the middle halves of both samples do not touch; `no difference` within the tolerance;
            `unclear` where the middle halves overlap or are not known; `other pictures` where the reports have no
            photograph in common, or one of them ran on noise; `emulated` where the times mean nothing.
    """

    title: str
    old_ms: float
    new_ms: float
    ratio: float
    verdict: Verdict


def compare_reports(old: Report, new: Report, tolerance: float = 0.05) -> list[Change]:
    """Pair results by device, model, runtime, runner, threads, accelerator and cores.

    A model is known by its file's name, with as many of its folders as tell it from the others of its report; what was
    measured several times is paired in order. Times are those of the photographs that both have.

    Args:
        old: the baseline.
        new: what to judge.
        tolerance: a difference of this part is none.

    Raises:
        MaskConverError: the reports have nothing in common.
    """
    old, new = old.with_short_names(), new.with_short_names()
    before, after = (_by_key(report.results) for report in (old, new))
    pairs = [(before[key], result) for key, result in after.items() if key in before]
    if not pairs:
        raise MaskConverError("the two reports have no measurement in common (same machine, file name and options)")
    return [_compare(old, new, *pair, tolerance) for pair in pairs]


def _compare(old: Report, new: Report, was: Result, now: Result, tolerance: float) -> Change:
    pairs = _shared(was, now)
    comparable = bool(pairs)
    pairs = pairs or [(was.invoke, now.invoke)]
    before, after = np.array([[one.typical, other.typical] for one, other in pairs]).T
    ratio = float(np.median(after / before))
    verdict: Verdict = "emulated"
    if not (old.machine_of(was).emulated or new.machine_of(now).emulated):
        verdict = _verdict(pairs, ratio, tolerance) if comparable else "other pictures"
    title = f"{now.machine}: {now.title}"
    return Change(title, float(np.median(before)), float(np.median(after)), ratio, verdict)


def _shared(was: Result, now: Result) -> list[tuple[Statistics, Statistics]]:
    """What both measured on the same input: each common photograph, or their noise."""
    if not was.photos and not now.photos:
        return [(was.invoke, now.invoke)]
    before = {photo.photo: photo.invoke for photo in was.photos}
    return [(before[photo.photo], photo.invoke) for photo in now.photos if photo.photo in before]


def _verdict(pairs: list[tuple[Statistics, Statistics]], ratio: float, tolerance: float) -> Verdict:
    if abs(ratio - 1) <= tolerance:
        return "no difference"
    (found, count), *_ = Counter(_direction(*pair) for pair in pairs).most_common(1)
    return found if 2 * count > len(pairs) else "unclear"


def _direction(was: Statistics, now: Statistics) -> Verdict:
    if was.middle_half is None or now.middle_half is None:
        return "unclear"
    (was_low, was_high), (now_low, now_high) = was.middle_half, now.middle_half
    if now_high < was_low:
        return "faster"
    return "slower" if now_low > was_high else "unclear"


def _by_key(results: Sequence[Result]) -> dict[tuple[object, ...], Result]:
    seen: Counter[tuple[object, ...]] = Counter()
    found: dict[tuple[object, ...], Result] = {}
    for r in results:
        key = (r.machine, r.model, r.runtime, r.runner, r.threads, r.accelerator, r.cores)
        numbered = (*key, seen[key])
        found[numbered] = r
        seen[key] += 1
    return found
