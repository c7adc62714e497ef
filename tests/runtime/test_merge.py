from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from reference_merge import reference_merge

from maskconver_mobile.card import Category, ModelCard
from maskconver_mobile.inference.image import Letterbox, restore
from maskconver_mobile.inference.merge import MergeRule, merge_image

COCO_THINGS = frozenset(range(1, 91))
RULE = MergeRule(0.1, 0.3, 20, (96, 128), False, frozenset(range(1, 6)))


@dataclass(frozen=True)
class Proposals:
    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int32]

    def merge(self, letterbox: Letterbox | None, rule: MergeRule) -> NDArray[np.int32]:
        """On the whole canvas where areas are counted: `rule.output_size`, or larger where the image is."""
        found = merge_image(self.logits, self.scores, self.classes, letterbox, rule)
        if letterbox is None or rule.hard_sigmoid:
            return np.stack(found.maps)
        height, width = letterbox.image_size
        ids = np.zeros(np.maximum(rule.output_size, letterbox.image_size), found.ids.dtype)
        ids[:height, :width] = found.ids  # what lies around the image belongs to the best proposal, whose id is 0
        return np.stack(replace(found, ids=ids).maps)

    def merge_image(self, letterbox: Letterbox | None, rule: MergeRule) -> NDArray[np.int32]:
        return np.stack(merge_image(self.logits, self.scores, self.classes, letterbox, rule).maps)

    def reference(self, letterbox: Letterbox | None, rule: MergeRule) -> NDArray[np.int64]:
        info = None if letterbox is None else letterbox.image_info
        thresholds = (rule.object_mask_threshold, rule.overlap_threshold, rule.small_area_threshold)
        return np.stack(
            reference_merge(
                self.logits,
                self.scores,
                self.classes,
                info,
                thresholds,
                rule.hard_sigmoid,
                rule.output_size,
                rule.things,
            )
        )


def random_proposals(seed: int, height: int = 12, width: int = 16, count: int = 12, spread: float = 4) -> Proposals:
    """Blobs of random size and sign, unsorted, some below the threshold."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centers = rng.uniform(0, 1, (2, count)) * [[height], [width]]
    distance = np.hypot(y[..., None] - centers[0], x[..., None] - centers[1]) / rng.uniform(1, 8, count)
    logits = 3 - 3 * distance + rng.normal(0, spread, (height, width, count))
    classes = rng.integers(1, 9, count)
    return Proposals(logits.astype(np.float32), rng.uniform(0, 1, count).astype(np.float32), classes.astype(np.int32))


def golden_cases(path: Path) -> Iterator[tuple[Proposals, Letterbox | None, MergeRule, NDArray[np.int32]]]:
    with np.load(path) as arrays:
        for i in range(len({name.split("/")[0] for name in arrays})):
            image_size, canvas_size = arrays[f"{i}/image_info"][:2].astype(int).tolist()
            letterbox = Letterbox.fit(tuple(image_size), tuple(canvas_size))
            assert letterbox.image_info.tolist() == arrays[f"{i}/image_info"].tolist()
            expected = np.stack([arrays[f"{i}/category_map"], arrays[f"{i}/instance_map"]])
            hard = bool(arrays[f"{i}/hard_sigmoid"])
            score, overlap, area = arrays[f"{i}/thresholds"].tolist()
            rule = MergeRule(score, overlap, area, expected.shape[1:], hard, COCO_THINGS)
            proposals = Proposals(arrays[f"{i}/logits"], arrays[f"{i}/scores"], arrays[f"{i}/classes"])
            yield proposals, None if hard else letterbox, rule, expected


def test_equals_the_original_implementation(data: Path) -> None:
    cases = list(golden_cases(data / "merge_cases.npz"))
    assert len(cases) == 3
    for proposals, letterbox, rule, expected in cases:
        assert np.array_equal(proposals.merge(letterbox, rule), expected)
        assert np.array_equal(proposals.reference(letterbox, rule), expected)


def test_equals_the_original_implementation_on_every_golden_case(shared: Path) -> None:
    cases = list(golden_cases(shared / "golden" / "merge_cases.npz"))
    assert len(cases) == 8
    for proposals, letterbox, rule, expected in cases:
        assert np.array_equal(proposals.merge(letterbox, rule), expected)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "image_size",
    [(96, 128), (90, 61), (97, 33), (150, 140), (7, 9), (1, 1), (1, 300), (257, 1)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_equals_the_reference_for_any_image_size(seed: int, image_size: tuple[int, int]) -> None:
    letterbox = Letterbox.fit(image_size, (48, 64))
    proposals = random_proposals(seed)
    expected = proposals.reference(letterbox, RULE)
    assert np.array_equal(proposals.merge(letterbox, RULE), expected)
    assert np.array_equal(proposals.merge_image(letterbox, RULE), expected[:, : image_size[0], : image_size[1]])


@pytest.mark.parametrize("spread", [0, 0.5, 10, 30])
@pytest.mark.parametrize("mask_size", [(12, 16), (1, 1), (1, 7), (96, 128), (120, 40), (5, 200)])
def test_equals_the_reference_for_any_mask(mask_size: tuple[int, int], spread: float) -> None:
    proposals = random_proposals(11, *mask_size, spread=spread)
    assert np.array_equal(proposals.merge(None, RULE), proposals.reference(None, RULE))


def test_equals_the_reference_for_more_proposals_than_a_byte_counts() -> None:
    proposals = random_proposals(5, count=400, spread=1)
    rule = MergeRule(0.01, 0, 0, (40, 60), False, frozenset({1}))
    expected = proposals.reference(None, rule)
    assert expected[1].max() > 0
    assert np.array_equal(proposals.merge(None, rule), expected)


@pytest.mark.parametrize("overlap", [0, 0.2, 0.5, 0.7, 0.9, 1])
@pytest.mark.parametrize("small_area", [0, 100, 700])
def test_thresholds_decide_as_in_the_reference(overlap: float, small_area: float) -> None:
    rule = MergeRule(0.2, overlap, small_area, (96, 128), False, RULE.things)
    letterbox = Letterbox.fit((70, 90), (48, 64))
    for seed in range(6):
        proposals = random_proposals(seed, spread=1)
        assert np.array_equal(proposals.merge(letterbox, rule), proposals.reference(letterbox, rule))


def test_the_first_of_equals_wins() -> None:
    logits = np.full((4, 4, 3), 30, np.float32)
    rule = MergeRule(0.1, 0, 0, (32, 32), False, frozenset({1, 2, 3}))
    scores = np.array([0.4, 0.8, 0.8], np.float32)
    category_map, instance_map = merge_image(logits, scores, np.array([1, 2, 3]), None, rule).maps
    assert np.unique(category_map).tolist() == [2]
    assert np.unique(instance_map).tolist() == [1]


def test_all_masks_far_below_zero_fall_to_the_best_score() -> None:
    logits = np.full((4, 4, 2), -2000, np.float32)
    logits[0, 0] = 1
    rule = MergeRule(0.1, 0, 0, (32, 32), False, frozenset({1, 2}))
    category_map, _ = merge_image(logits, np.array([0.4, 0.8], np.float32), np.array([1, 2]), None, rule).maps
    assert np.unique(category_map).tolist() == [2]


def test_padding_counts_for_the_best_score() -> None:
    logits = np.full((8, 8, 1), -5, np.float32)
    logits[0, 0] = 5
    letterbox = Letterbox.fit((32, 16), (32, 32))
    scores, classes = np.array([0.9], np.float32), np.array([7])
    kept = MergeRule(0.1, 0, 32 * 32 - 1, (32, 32), False, frozenset())
    dropped = MergeRule(0.1, 0, 32 * 32, (32, 32), False, frozenset())
    assert np.unique(merge_image(logits, scores, classes, letterbox, kept).category_map).tolist() == [7]
    assert np.unique(merge_image(logits, scores, classes, letterbox, dropped).category_map).tolist() == [0]


@pytest.mark.parametrize("hard_sigmoid", [False, True])
@pytest.mark.parametrize("scores", [[0.1, 0.05], [float("nan"), 0]])
def test_no_valid_proposal_gives_an_empty_picture(scores: list[float], hard_sigmoid: bool) -> None:
    rule = MergeRule(0.1, 0.5, 10, (20, 30), hard_sigmoid, frozenset())
    letterbox = Letterbox.fit((17, 40), (40, 60))
    logits = np.ones((20, 30, len(scores)), np.float32)
    maps = merge_image(logits, np.array(scores, np.float32), np.ones(len(scores), np.int32), letterbox, rule).maps
    assert [m.shape for m in maps] == [(17, 40)] * 2
    assert not any(m.any() for m in maps)


@pytest.mark.parametrize("seed", range(5))
def test_hard_sigmoid_merges_at_mask_size(seed: int) -> None:
    proposals = random_proposals(seed, 30, 40)
    rule = MergeRule(0.1, 0.3, 4, (30, 40), True, RULE.things)
    at_mask_size = proposals.merge(None, rule)
    assert np.array_equal(at_mask_size, proposals.reference(None, rule))
    letterbox = Letterbox.fit((100, 70), (240, 320))
    expected = np.stack([restore(m, letterbox) for m in at_mask_size])
    assert np.array_equal(proposals.merge_image(letterbox, rule), expected)
    assert np.array_equal(proposals.merge(letterbox, rule), expected)


@pytest.mark.parametrize("seed", range(5))
def test_without_rescaling_the_canvas_is_merged_as_it_is(seed: int) -> None:
    proposals = random_proposals(seed)
    rule = replace(RULE, rescale=False)
    letterbox = Letterbox.fit((70, 190), (48, 64))
    expected = np.stack([restore(m, letterbox) for m in proposals.reference(None, rule)])
    assert np.array_equal(proposals.merge_image(letterbox, rule), expected)


def card(*categories: Category) -> ModelCard:
    return ModelCard(
        name="model",
        level="masks",
        target="cpu",
        recipe="float32",
        input_size=(64, 64),
        input_type="uint8",
        mean=(124, 116, 104),
        std=(58, 57, 57),
        output_size=(96, 128),
        num_instances=12,
        num_classes=10,
        object_mask_threshold=0.01,
        overlap_threshold=0.7,
        small_area_threshold=256,
        hard_sigmoid=False,
        categories=categories,
    )


def test_rule_comes_from_the_card() -> None:
    labels = [Category(i, f"c{i}", i < 5, (0, 0, 0)) for i in (1, 2, 4, 6, 9)]
    rule = MergeRule.from_card(card(*labels), overlap_threshold=0.5)
    assert rule == MergeRule(0.01, 0.5, 256, (96, 128), False, frozenset({1, 2, 3, 4}))


def test_rule_of_a_label_set_without_things() -> None:
    assert MergeRule.from_card(card(Category(3, "sky", False, (0, 0, 0)))).things == frozenset()
