"""Two reports against each other: ratios, and a verdict only where the spread allows one."""

from dataclasses import dataclass
from typing import Literal

from maskconver_mobile.benchmarks.results import Report, Result
from maskconver_mobile.errors import MaskConverError

Verdict = Literal["faster", "slower", "no difference", "unclear", "emulated"]


@dataclass(frozen=True)
class Comparison:
    """One measurement of both reports.

    Attributes:
        title: machine, model and how it was run.
        old_ms: median (mean where there is no median) of the old report.
        new_ms: the same of the new one.
        ratio: new over old.
        verdict: `faster` or `slower` where the ratio is further from 1 than the tolerance and the middle halves of
            both samples do not touch; `no difference` within the tolerance; `unclear` where the middle halves overlap
            or are not known; `emulated` where the times mean nothing.
    """

    title: str
    old_ms: float
    new_ms: float
    ratio: float
    verdict: Verdict


def compare(old: Report, new: Report, tolerance: float = 0.05) -> list[Comparison]:
    """Pair results by device, file name, runtime, runner, threads, accelerator and cores.

    Args:
        old: the baseline.
        new: what to judge.
        tolerance: a difference of this part is none.

    Raises:
        MaskConverError: the reports have nothing in common.
    """
    before = {_key(result): result for result in old.results}
    pairs = [(before[_key(result)], result) for result in new.results if _key(result) in before]
    if not pairs:
        raise MaskConverError("the two reports have no measurement in common (same machine, file name and options)")
    return [_compare(old, new, *pair, tolerance) for pair in pairs]


def _compare(old: Report, new: Report, was: Result, now: Result, tolerance: float) -> Comparison:
    ratio = now.invoke.typical / was.invoke.typical
    emulated = old.machine_of(was).emulated or new.machine_of(now).emulated
    verdict = "emulated" if emulated else _verdict(was, now, ratio, tolerance)
    return Comparison(f"{now.machine}: {now.title}", was.invoke.typical, now.invoke.typical, ratio, verdict)


def _verdict(was: Result, now: Result, ratio: float, tolerance: float) -> Verdict:
    if abs(ratio - 1) <= tolerance:
        return "no difference"
    bounds = (was.invoke.p25, was.invoke.p75, now.invoke.p25, now.invoke.p75)
    if any(bound is None for bound in bounds):
        return "unclear"
    was_low, was_high, now_low, now_high = (bound or 0.0 for bound in bounds)
    if now_high < was_low:
        return "faster"
    return "slower" if now_low > was_high else "unclear"


def _key(result: Result) -> tuple[str, ...]:
    parts = (result.machine, result.model.rsplit("/", 1)[-1], result.runtime, result.runner)
    return (*parts, str(result.threads), result.accelerator, result.cores)
