import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.coco import Label, SegmentInfo, SegmentMap, read_ground_truth, read_predictions
from maskconver_mobile.evaluation.quality import (
    PanopticCounts,
    PanopticQuality,
    count_segments,
    overlaps,
    panoptic_quality,
)

CAT, DOG, SKY, SEA = 1, 2, 30, 400
LABELS = (
    Label(CAT, "cat", True),
    Label(DOG, "dog", True),
    Label(SKY, "sky", False),
    Label(SEA, "sea", False),
)


def segmentation(rows: Sequence[str], source: str = "map", **segments: SegmentInfo) -> SegmentMap:
    """Letters name segments, `.` is void."""
    ids = {letter: info.id for letter, info in segments.items()} | {".": 0}
    return SegmentMap(source, np.array([[ids[c] for c in row] for row in rows], np.int32), tuple(segments.values()))


TRUTH = segmentation(
    ["aaa..", "aaass", "cccss", "cccss"],
    "truth.png",
    a=SegmentInfo(700_000, CAT, area=6),
    c=SegmentInfo(20, DOG, is_crowd=True, area=6),
    s=SegmentInfo(30, SKY),
)
PREDICTION = segmentation(
    ["aabbb", "aa.ss", "ddess", "dde.s"],
    "prediction.png",
    a=SegmentInfo(1, CAT),
    b=SegmentInfo(2, CAT),
    s=SegmentInfo(3, SKY),
    d=SegmentInfo(4, DOG),
    e=SegmentInfo(5, CAT),
)


def quality(*pairs: tuple[SegmentMap, SegmentMap]) -> PanopticQuality:
    total = PanopticCounts.zero(len(LABELS))
    for truth, prediction in pairs:
        total += count_segments(truth, prediction, LABELS)
    return panoptic_quality(total, LABELS)


def test_hand_computed_figures() -> None:
    """`a` matches at 4/6, `s` at 5/6; `b` lies in void, `d` in a crowd of dogs, `e` is wrong; no dog missed."""
    found = quality((TRUTH, PREDICTION))
    cat, dog, sky, sea = found.per_class
    assert (cat.true_positives, cat.false_positives, cat.false_negatives) == (1, 1, 0)
    assert (cat.pq, cat.sq, cat.rq) == pytest.approx((4 / 9, 2 / 3, 2 / 3))
    assert (sky.pq, sky.sq, sky.rq) == pytest.approx((5 / 6, 5 / 6, 1))
    assert not dog.occurs
    assert not sea.occurs
    assert (found.all.pq, found.all.n) == pytest.approx(((4 / 9 + 5 / 6) / 2, 2))
    assert (found.things.pq, found.things.n) == pytest.approx((4 / 9, 1))
    assert (found.stuff.rq, found.stuff.n) == pytest.approx((1, 1))


def test_figures_of_several_images_are_those_of_summed_counts() -> None:
    nothing = segmentation([".....", ".....", ".....", "....."])
    found = quality((TRUTH, PREDICTION), (TRUTH, nothing)).per_class
    assert (found[0].false_negatives, found[2].false_negatives) == (1, 1)
    assert found[0].pq == pytest.approx((2 / 3) / (1 + 0.5 + 0.5))
    assert found[2].pq == pytest.approx((5 / 6) / 1.5)


def test_void_under_a_match_does_not_count_against_it() -> None:
    truth = segmentation(["aa.."], a=SegmentInfo(9, CAT))
    assert quality((truth, segmentation(["pppp"], p=SegmentInfo(1, CAT)))).all.pq == 1


@pytest.mark.parametrize(
    ("row", "matches"), [("pp..", 0), ("ppp.", 1)], ids=["IoU of exactly one half", "above one half"]
)
def test_a_match_needs_more_than_half(row: str, matches: int) -> None:
    truth = segmentation(["aaaa"], a=SegmentInfo(9, CAT))
    cat = quality((truth, segmentation([row], p=SegmentInfo(1, CAT)))).per_class[0]
    assert (cat.true_positives, cat.false_positives, cat.false_negatives) == (
        matches,
        1 - matches,
        1 - matches,
    )


@pytest.mark.parametrize(("row", "wrong"), [("pppp", 1), (".ppp", 0)], ids=["exactly half", "more than half"])
def test_unmatched_predictions_mostly_in_void_are_ignored(row: str, wrong: int) -> None:
    truth = segmentation(["aa.."], a=SegmentInfo(9, DOG))
    assert quality((truth, segmentation([row], p=SegmentInfo(1, CAT)))).per_class[0].false_positives == wrong


def test_a_crowd_excuses_its_own_class_only_and_the_last_of_a_class_is_the_one() -> None:
    truth = segmentation(["ccccdddd"], c=SegmentInfo(1, CAT, is_crowd=True), d=SegmentInfo(2, CAT, is_crowd=True))
    first = segmentation(["pp......"], p=SegmentInfo(1, CAT))
    last = segmentation(["......pp"], p=SegmentInfo(1, CAT))
    other = segmentation(["......pp"], p=SegmentInfo(1, DOG))
    assert quality((truth, first)).per_class[0].false_positives == 1
    assert not quality((truth, last)).per_class[0].occurs
    assert quality((truth, other)).per_class[1].false_positives == 1


def test_no_segments_at_all_gives_zeros() -> None:
    nothing = segmentation(["...."])
    found = quality((nothing, nothing))
    assert (found.all.pq, found.all.sq, found.all.rq, found.all.n) == (0, 0, 0, 0)


def random_segmentation(rng: np.random.Generator, *, crowds: bool) -> SegmentMap:
    coarse = rng.integers(0, 9, (4, 5))
    ids = np.kron(coarse, np.ones((3, 3), np.int64))
    noise = rng.random(ids.shape) < 0.15
    ids = np.where(noise, rng.integers(0, 9, ids.shape), ids) * 1_700_001 % (1 << 24)
    segments = tuple(
        SegmentInfo(int(i), int(rng.choice([CAT, DOG, SKY])), crowds and rng.random() < 0.25)
        for i in rng.permutation(np.unique(ids[ids > 0]))
    )
    return SegmentMap("random", ids.astype(np.int32), segments)


def overlapping(rng: np.random.Generator, truth: SegmentMap) -> SegmentMap:
    """The truth, damaged: some segments of another class, some pixels of other segments."""
    ids = np.where(rng.random(truth.ids.shape) < 0.25, np.roll(truth.ids, 2, 1), truth.ids)
    segments = [replace(s, is_crowd=False) for s in truth.segments if (ids == s.id).any()]
    return SegmentMap("damaged", ids, tuple(replace(s, category_id=DOG) if rng.random() < 0.2 else s for s in segments))


def plain_counts(truth: SegmentMap, prediction: SegmentMap) -> tuple[Mapping[int, float], ...]:
    """The definition, pixel set by pixel set."""

    def pixels(ids: NDArray[np.int32], value: int) -> set[int]:
        return {i for i, v in enumerate(ids.ravel().tolist()) if v == value}

    iou = defaultdict[int, float](float)
    tp, fp, fn = Counter[int](), Counter[int](), Counter[int]()
    void = pixels(truth.ids, 0)
    crowds = {s.category_id: pixels(truth.ids, s.id) for s in truth.segments if s.is_crowd}
    matched = set()
    for t in truth.segments:
        if t.is_crowd:
            continue
        area = pixels(truth.ids, t.id)
        hit = False
        for p in prediction.segments:
            visible = pixels(prediction.ids, p.id) - void
            overlap = len(area & visible) / len(area | visible)
            if p.category_id == t.category_id and overlap > 0.5:
                hit = True
                matched.add(p.id)
                tp[t.category_id] += 1
                iou[t.category_id] += overlap
        fn[t.category_id] += not hit
    for p in prediction.segments:
        own = pixels(prediction.ids, p.id)
        excused = len(own & (void | crowds.get(p.category_id, set())))
        fp[p.category_id] += p.id not in matched and excused <= len(own) / 2
    return iou, tp, fp, fn


@pytest.mark.parametrize("seed", range(25))
def test_random_maps_agree_with_the_plain_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_segmentation(rng, crowds=True)
    for prediction in (overlapping(rng, truth), random_segmentation(rng, crowds=False)):
        found = count_segments(truth, prediction, LABELS)
        expected = plain_counts(truth, prediction)
        columns = (found.iou, found.true_positives, found.false_positives, found.false_negatives)
        for column, counter in zip(columns, expected, strict=True):
            np.testing.assert_allclose(column, [counter[label.id] for label in LABELS], rtol=1e-12)


def test_overlaps_count_every_pixel_once() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.choice(np.array([0, 5, (1 << 24) - 1], np.int32), (7, 11)) for _ in range(2))
    pairs = Counter(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    assert dict(pairs) == {(int(i), int(j)): int(n) for i, j, n in zip(*overlaps(a, b), strict=True)}


BAD_PAIRS = {
    "size": (TRUTH, segmentation(["...."], "p.png"), r"p\.png: 4 x 1 pixels, but truth\.png has 5 x 4"),
    "id in the map alone": (
        replace(TRUTH, segments=TRUTH.segments[1:]),
        PREDICTION,
        r"truth\.png: pixels have .*id 700000",
    ),
    "id in the list alone": (
        replace(TRUTH, segments=(*TRUTH.segments, SegmentInfo(8, CAT))),
        PREDICTION,
        r"truth\.png: segments_info lists id 8",
    ),
    "predicted id in the map alone": (
        TRUTH,
        replace(PREDICTION, segments=PREDICTION.segments[:-1]),
        r"prediction\.png: pixels have .*id 5",
    ),
    "predicted id in the list alone": (
        TRUTH,
        replace(PREDICTION, segments=(*PREDICTION.segments, SegmentInfo(8, CAT))),
        r"prediction\.png: segments_info lists id 8",
    ),
    "id twice": (
        TRUTH,
        replace(PREDICTION, segments=(*PREDICTION.segments, SegmentInfo(5, DOG))),
        r"prediction\.png: .*twice",
    ),
    "unknown category": (
        TRUTH,
        replace(PREDICTION, segments=(*PREDICTION.segments[:-1], SegmentInfo(5, 77))),
        r"prediction\.png: segment 5 has category 77",
    ),
    "area": (
        replace(TRUTH, segments=(replace(TRUTH.segments[0], area=7), *TRUTH.segments[1:])),
        PREDICTION,
        r"truth\.png: segment 700000 has 6 pixels but .* 7",
    ),
}


@pytest.mark.parametrize("case", BAD_PAIRS)
def test_maps_and_lists_that_do_not_fit_are_refused(case: str) -> None:
    truth, prediction, message = BAD_PAIRS[case]
    with pytest.raises(MaskConverError, match=message):
        count_segments(truth, prediction, LABELS)


def test_equals_the_official_evaluation(shared: Path) -> None:
    val, golden = shared / "coco" / "val", shared / "golden" / "pq"
    truth = read_ground_truth([val / "images"], [val / "panoptic.json"], [val / "panoptic"])
    predictions = read_predictions(golden / "pred.json")
    counts = PanopticCounts.zero(len(truth.labels))
    for sample in truth.samples:
        counts += count_segments(sample.truth.load(), predictions[sample.truth.image_id].load(), truth.labels)
    found = panoptic_quality(counts, truth.labels).to_dict()
    expected = json.loads((golden / "expected.json").read_text())
    for group in ("All", "Things", "Stuff"):
        assert found[group.lower()] == pytest.approx(expected[group], abs=1e-6)
    assert found["per_class"].keys() == expected["per_class"].keys()
    for category, figures in expected["per_class"].items():
        assert {key: found["per_class"][category][key] for key in figures} == pytest.approx(figures, abs=1e-6)
