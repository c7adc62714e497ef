import numpy as np
import pytest

from maskconver_mobile.benchmarks.report.stats import drift, ratio, summarize
from maskconver_mobile.errors import MaskConverError


def test_summary_of_known_numbers() -> None:
    found = summarize([float(v) for v in range(1, 102)])
    assert (found.count, found.min, found.p25, found.p50, found.p90, found.max) == (101, 1, 26, 51, 91, 101)
    assert found.mean == 51
    assert found.std == pytest.approx(np.arange(1, 102).std())


def test_no_timing_is_an_error() -> None:
    with pytest.raises(MaskConverError, match="no timing"):
        summarize([])


def test_ratio_is_taken_round_by_round() -> None:
    baseline = [1.0, 10.0, 100.0, 1000.0]
    found = ratio([2 * v for v in baseline], baseline)
    assert (found.p25, found.median, found.p75) == (2, 2, 2)


def test_drift_sees_the_last_quarter() -> None:
    assert drift([1.0] * 6 + [2.0] * 2) == 2
    assert drift([1.0, 5.0]) == 1
