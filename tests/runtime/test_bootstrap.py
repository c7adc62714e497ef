import numpy as np
import pytest

from maskconver_mobile.evaluation.bootstrap import difference_interval
from maskconver_mobile.evaluation.quality import PanopticCounts


def image(iou: list[float], false_positives: list[int]) -> PanopticCounts:
    """Counts of two classes with one true positive each where the IoU is above 0."""
    hits = np.array([int(v > 0) for v in iou])
    return PanopticCounts(np.array(iou), hits, np.array(false_positives), 1 - hits)


def test_equal_models_differ_by_nothing() -> None:
    counts = [image([0.9, 0.0], [0, 1]), image([0.6, 0.8], [0, 0])] * 10
    found = difference_interval(counts, counts)
    assert (found.low, found.high) == (0, 0)


def test_a_difference_on_every_image_is_certain() -> None:
    """PQ of one class is 0.9 and 0.6 on whatever images are drawn; the other class never occurs with it."""
    better, worse = ([PanopticCounts(np.array([v, 0.0]), *np.array([[1, 0], [0, 0], [0, 0]]))] * 8 for v in (0.9, 0.6))
    found = difference_interval(worse, better)
    assert (found.low, found.high) == (pytest.approx(0.3), pytest.approx(0.3))


def test_the_interval_covers_zero_where_images_disagree() -> None:
    first = [image([0.9, 0.7], [0, 0]), image([0.6, 0.7], [0, 0])] * 10
    other = [image([0.6, 0.7], [0, 0]), image([0.9, 0.7], [0, 0])] * 10
    found = difference_interval(first, other)
    assert found.low < 0 < found.high
    assert found == difference_interval(first, other)
