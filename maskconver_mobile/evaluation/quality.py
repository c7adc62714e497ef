"""Panoptic quality: PQ, SQ and RQ as the official COCO panoptic evaluation defines them.

The measure: Kirillov et al., "Panoptic Segmentation", https://arxiv.org/abs/1801.00868, section 4.
Its rules for void and crowd: https://cocodataset.org/#panoptic-eval.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.coco import Label, SegmentMap


@dataclass(frozen=True)
class PanopticCounts:
    """What is summed over images, per class in the order of the labels.

    Counts of several images, or of several processes, add up with `+`.

    Attributes:
        iou: float64 [classes], the sum of the IoU of true positives.
        true_positives: int64 [classes].
        false_positives: int64 [classes].
        false_negatives: int64 [classes].
    """

    iou: NDArray[np.float64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    false_negatives: NDArray[np.int64]

    @classmethod
    def zero(cls, classes: int) -> "PanopticCounts":
        """Counts of no image at all."""
        return cls(np.zeros(classes), *(np.zeros(classes, np.int64) for _ in range(3)))

    def __add__(self, other: "PanopticCounts") -> "PanopticCounts":
        return PanopticCounts(
            self.iou + other.iou,
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )


@dataclass(frozen=True)
class GroupQuality:
    """Means over the `n` classes of a group that occurred, as fractions; all 0 where none did."""

    pq: float
    sq: float
    rq: float
    n: int


@dataclass(frozen=True)
class ClassQuality:
    """One class: figures as fractions, counts in segments."""

    label: Label
    pq: float
    sq: float
    rq: float
    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def occurs(self) -> bool:
        """Whether the class was annotated or predicted at all; only then it takes part in means."""
        return self.true_positives + self.false_positives + self.false_negatives > 0


@dataclass(frozen=True)
class PanopticQuality:
    """PQ, SQ and RQ of all classes, of things, of stuff, and of each class."""

    all: GroupQuality
    things: GroupQuality
    stuff: GroupQuality
    per_class: tuple[ClassQuality, ...]

    def to_dict(self) -> dict[str, Any]:
        """The figures for JSON: `all`, `things`, `stuff`, and `per_class` by category id."""
        return {
            **{name: asdict(getattr(self, name)) for name in ("all", "things", "stuff")},
            "per_class": {str(c.label.id): {**asdict(c), "label": c.label.name} for c in self.per_class},
        }


def overlaps(
    a: NDArray[np.int32], b: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Which ids of two maps [h, w] meet: three sorted int64 [n], (id in `a`, id in `b`, pixels).

    Ids are in 0..2^24 - 1.
    """
    codes = (a.astype(np.int64) << 24 | b).ravel()
    # Neighbouring pixels mostly agree: sorting runs of equal pairs is many times faster than sorting pixels.
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    lengths = np.diff(starts, append=codes.size)
    pairs, run = np.unique(codes[starts], return_inverse=True)
    pixels = np.bincount(run, weights=lengths, minlength=pairs.size).astype(np.int64)
    return pairs >> 24, pairs & ((1 << 24) - 1), pixels


def intersections(a: SegmentMap, b: SegmentMap) -> NDArray[np.int64]:
    """Pixels that each segment of `a` shares with each of `b`: int64 [1 + len(a), 1 + len(b)].

    Row and column 0 stand for void, the others follow the order of `segments`.

    Raises:
        MaskConverError: the maps differ in size, or a map and its list of segments do not name the same ids.
    """
    if a.ids.shape != b.ids.shape:
        raise MaskConverError(
            f"{b.source}: {_size(b)} pixels, but {a.source} has {_size(a)}; both must have the image's size"
        )
    a_ids, b_ids, pixels = overlaps(a.ids, b.ids)
    table = np.zeros((1 + len(a.segments), 1 + len(b.segments)), np.int64)
    table[_rows(a, a_ids), _rows(b, b_ids)] = pixels
    return table


def count_segments(truth: SegmentMap, prediction: SegmentMap, labels: Sequence[Label]) -> PanopticCounts:
    """Match the segments of one image and count.

    A prediction matches a segment of its own class at an IoU above 0.5, where pixels that the truth leaves
    void do not count against the prediction. Crowd segments are never matched and never missed. An unmatched
    prediction is no false positive if more than half of it lies in void or in a crowd of its class.

    Raises:
        MaskConverError: the maps differ in size, a map and its list of segments disagree, or a category is
            unknown.
    """
    table = intersections(truth, prediction)
    _check_areas(truth, table[1:].sum(axis=1))
    rows = {label.id: row for row, label in enumerate(labels)}
    truth_class, predicted_class = _classes(truth, rows), _classes(prediction, rows)
    crowd = np.array([s.is_crowd for s in truth.segments], bool)

    void, shared = table[0, 1:], table[1:, 1:]
    predicted_area = table[:, 1:].sum(axis=0)
    union = table[1:].sum(axis=1)[:, None] + (predicted_area - void) - shared
    matched = (truth_class[:, None] == predicted_class) & ~crowd[:, None] & (2 * shared > union)
    truth_row, column = np.nonzero(matched)

    ignored = void.copy()
    # One crowd per class and image counts, the last one: the official evaluation keeps them so.
    for category, row in {truth_class[row]: row for row in np.flatnonzero(crowd)}.items():
        ignored += shared[row] * (predicted_class == category)
    missed = ~crowd & ~matched.any(axis=1)
    wrong = ~matched.any(axis=0) & (2 * ignored <= predicted_area)

    hits = predicted_class[column]
    iou = shared[truth_row, column] / union[truth_row, column]
    return PanopticCounts(
        np.bincount(hits, iou, len(labels)).astype(np.float64),
        _histogram(hits, len(labels)),
        _histogram(predicted_class[wrong], len(labels)),
        _histogram(truth_class[missed], len(labels)),
    )


def panoptic_quality(counts: PanopticCounts, labels: Sequence[Label]) -> PanopticQuality:
    """The figures of summed counts.

    Per class PQ = sum of IoU / (TP + FP / 2 + FN / 2) = SQ x RQ; per group the plain mean over its classes.
    A class without any true positive, false positive or false negative takes no part in the means.
    """
    classes = tuple(_class_quality(counts, row, label) for row, label in enumerate(labels))
    return PanopticQuality(
        _group(classes),
        _group([c for c in classes if c.label.is_thing]),
        _group([c for c in classes if not c.label.is_thing]),
        classes,
    )


def _class_quality(counts: PanopticCounts, row: int, label: Label) -> ClassQuality:
    iou, tp = float(counts.iou[row]), int(counts.true_positives[row])
    fp, fn = int(counts.false_positives[row]), int(counts.false_negatives[row])
    weight = tp + 0.5 * fp + 0.5 * fn
    if not weight:
        return ClassQuality(label, 0.0, 0.0, 0.0, 0, 0, 0)
    return ClassQuality(label, iou / weight, iou / tp if tp else 0.0, tp / weight, tp, fp, fn)


def _group(classes: Sequence[ClassQuality]) -> GroupQuality:
    counted = [c for c in classes if c.occurs]
    n = max(len(counted), 1)
    return GroupQuality(
        sum(c.pq for c in counted) / n,
        sum(c.sq for c in counted) / n,
        sum(c.rq for c in counted) / n,
        len(counted),
    )


def _rows(segmentation: SegmentMap, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    declared = [s.id for s in segmentation.segments]
    rows = {0: 0, **{identity: row for row, identity in enumerate(declared, start=1)}}
    found = {int(identity) for identity in ids}
    where = segmentation.source
    if len(set(declared)) < len(declared):
        raise MaskConverError(f"{where}: a segment id is listed twice in segments_info; ids must be unique per image")
    if unlisted := sorted(found - rows.keys()):
        raise MaskConverError(f"{where}: pixels have segment id {unlisted[0]}, which segments_info lacks; add it")
    if absent := sorted(set(declared) - found):
        raise MaskConverError(f"{where}: segments_info lists id {absent[0]}, which no pixel has; remove it")
    return np.array([rows[int(identity)] for identity in ids], np.int64)


def _check_areas(truth: SegmentMap, areas: NDArray[np.int64]) -> None:
    for segment, area in zip(truth.segments, areas, strict=True):
        if segment.area is not None and abs(segment.area - area) >= 1:
            raise MaskConverError(
                f"{truth.source}: segment {segment.id} has {area} pixels but segments_info says area "
                f"{segment.area}; use the PNG and the JSON that belong together"
            )


def _classes(segmentation: SegmentMap, rows: dict[int, int]) -> NDArray[np.int64]:
    for segment in segmentation.segments:
        if segment.category_id not in rows:
            raise MaskConverError(
                f"{segmentation.source}: segment {segment.id} has category {segment.category_id}, which the "
                "annotations do not know; evaluate against annotations with the model's own label set"
            )
    return np.array([rows[s.category_id] for s in segmentation.segments], np.int64)


def _histogram(values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return np.bincount(values, minlength=size).astype(np.int64)


def _size(segmentation: SegmentMap) -> str:
    height, width = segmentation.ids.shape
    return f"{width} x {height}"
