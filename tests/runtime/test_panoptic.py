import json
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from maskconver_mobile.card import Category
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.coco import read_ids, read_predictions
from maskconver_mobile.result import PanopticResult, Segment, from_maps

CAT, SKY, SEA, ODD = 5, 9, 11, 8
CATEGORIES = (
    Category(CAT, "cat", True, (200, 30, 30)),
    Category(SKY, "sky", False, (30, 30, 200)),
    Category(SEA, "sea", False, (30, 200, 200)),
)
# Proposals by score: cat, sea, cat, sky, odd, sky
CLASSES = np.array([CAT, SEA, CAT, SKY, ODD, SKY], np.int32)
SCORES = np.array([0.875, 0.75, 0.625, 0.5, 0.375, 0.25], np.float32)
KEYS = {".": (0, 0), "a": (CAT, 1), "b": (CAT, 3), "s": (SKY, 0), "w": (SEA, 0), "o": (ODD, 5)}


def result(*rows: str, scores: NDArray[np.float32] = SCORES, classes: NDArray[np.int32] = CLASSES) -> PanopticResult:
    """From a picture of letters; see KEYS."""
    keys = np.array([[KEYS[letter] for letter in row] for row in rows], np.int32)
    image = np.full((*keys.shape[:2], 3), 100, np.uint8)
    return from_maps(keys[..., 0], keys[..., 1], classes, scores, image, CATEGORIES, {"decode": 1.5})


SCENE = (
    "sss.aa",
    "ss..aa",
    "wwwobb",
    "swwo.b",
)


def test_segments() -> None:
    assert result(*SCENE).segments == (
        Segment(1, CAT, "cat", True, 0.875, 4, (4, 0, 2, 2)),
        Segment(5, SEA, "sea", False, 0.75, 5, (0, 2, 3, 2)),
        Segment(2, CAT, "cat", True, 0.625, 3, (4, 2, 2, 2)),
        Segment(4, SKY, "sky", False, 0.5, 6, (0, 0, 3, 4)),
        Segment(3, ODD, "class 8", True, 0.375, 2, (3, 2, 1, 2)),
    )


def test_panoptic_map() -> None:
    found = result(*SCENE)
    assert found.panoptic_map.dtype == np.int32
    assert found.panoptic_map.tolist() == [
        [4, 4, 4, 0, 1, 1],
        [4, 4, 0, 0, 1, 1],
        [5, 5, 5, 3, 2, 2],
        [4, 5, 5, 3, 0, 2],
    ]


def test_category_map() -> None:
    found = result(*SCENE)
    assert found.category_map.dtype == np.int32
    assert found.category_map.tolist() == [[KEYS[letter][0] for letter in row] for row in SCENE]


def test_masks() -> None:
    found = result(*SCENE)
    for segment in found.segments:
        mask = found.mask(segment.id)
        assert mask.dtype == np.bool_
        assert mask.sum() == segment.area
    with pytest.raises(MaskConverError, match=r"^no segment 6; the ids are 1, 2, 3, 4, 5$"):
        found.mask(6)
    with pytest.raises(MaskConverError):
        found.mask(0)


def test_an_empty_result() -> None:
    found = result("...", "...")
    assert found.segments == ()
    assert not found.panoptic_map.any()
    assert not found.category_map.any()
    assert np.array_equal(found.overlay(), found.image)
    assert found.to_coco(1, "x.png")[1]["segments_info"] == []
    assert repr(found) == "PanopticResult(3x2, 0 segments: )"
    with pytest.raises(MaskConverError, match="the ids are none"):
        found.mask(1)


def test_scores_in_any_order_rank_as_in_the_merge() -> None:
    shuffled = np.array([3, 5, 0, 2, 1, 4])
    assert result(*SCENE, scores=SCORES[shuffled], classes=CLASSES[shuffled]).segments == result(*SCENE).segments


def test_stuff_that_no_proposal_explains_scores_nothing() -> None:
    assert result("sw", scores=SCORES[:2], classes=CLASSES[:2]).segments[1] == Segment(
        1, SKY, "sky", False, 0.0, 1, (0, 0, 1, 1)
    )


def test_equal_scores_are_ordered_by_id() -> None:
    equal = np.full(6, 0.5, np.float32)
    assert [s.id for s in result(*SCENE, scores=equal).segments] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(5))
def test_areas_and_boxes_of_random_maps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 30, 2)
    letters = rng.choice(list(KEYS), (rows, columns))
    found = result(*("".join(row) for row in letters))
    assert sum(s.area for s in found.segments) == np.count_nonzero(letters != ".")
    for segment in found.segments:
        y, x = np.nonzero(found.mask(segment.id))
        box = (x.min(), y.min(), x.max() - x.min() + 1, y.max() - y.min() + 1)
        assert segment.bbox == box
        assert segment.area == len(y)


def test_values_are_plain_python() -> None:
    for segment in result(*SCENE).segments:
        assert type(segment.id) is type(segment.category_id) is type(segment.area) is int
        assert type(segment.score) is float
        assert type(segment.is_thing) is bool
        assert [type(v) for v in segment.bbox] == [int] * 4


def test_repr_is_short_and_helpful() -> None:
    expected = "PanopticResult(6x4, 5 segments: cat 0.88, sea 0.75, cat 0.62, sky 0.50, class 8 0.38)"
    assert repr(result(*SCENE)) == expected


def test_results_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        result("a").segments = ()  # type: ignore[misc]


# COCO


def test_coco_annotation() -> None:
    png, annotation = result(*SCENE).to_coco(42, "000042.png")
    assert png.dtype == np.uint8
    assert png.shape == (4, 6, 3)
    assert json.loads(json.dumps(annotation)) == annotation
    assert annotation == {
        "image_id": 42,
        "file_name": "000042.png",
        "segments_info": [
            {"id": 1, "category_id": CAT, "area": 4, "bbox": [4, 0, 2, 2], "iscrowd": 0},
            {"id": 5, "category_id": SEA, "area": 5, "bbox": [0, 2, 3, 2], "iscrowd": 0},
            {"id": 2, "category_id": CAT, "area": 3, "bbox": [4, 2, 2, 2], "iscrowd": 0},
            {"id": 4, "category_id": SKY, "area": 6, "bbox": [0, 0, 3, 4], "iscrowd": 0},
            {"id": 3, "category_id": ODD, "area": 2, "bbox": [3, 2, 1, 2], "iscrowd": 0},
        ],
    }


def test_coco_png_spreads_ids_over_the_channels() -> None:
    ids = np.array([[0, 255, 256, 65_536 * 3 + 256 * 2 + 1]], np.int32)
    png, _ = replace(result("...."), panoptic_map=ids).to_coco(1, "x.png")
    assert png[0].tolist() == [[0, 0, 0], [255, 0, 0], [0, 1, 0], [1, 2, 3]]


def test_coco_files_are_read_back(tmp_path: Path) -> None:
    found = result(*SCENE)
    png, annotation = found.to_coco(42, "a.png")
    (tmp_path / "pred").mkdir()
    Image.fromarray(png).save(tmp_path / "pred" / "a.png")
    (tmp_path / "pred.json").write_text(json.dumps({"annotations": [annotation]}))
    read = read_predictions(tmp_path / "pred.json")[42]
    assert np.array_equal(read_ids(read.png), found.panoptic_map)
    assert [(s.id, s.category_id, s.area) for s in read.segments] == [
        (s.id, s.category_id, s.area) for s in found.segments
    ]


def test_coco_has_the_keys_of_the_official_files(shared: Path) -> None:
    _, annotation = result(*SCENE).to_coco(42, "a.png")
    truth = json.loads((shared / "coco" / "val" / "panoptic.json").read_text())["annotations"][0]
    predicted = json.loads((shared / "golden" / "pq" / "pred.json").read_text())["annotations"][0]
    assert set(annotation) == set(truth) == set(predicted)
    assert set(annotation["segments_info"][0]) == set(truth["segments_info"][0])
    assert set(predicted["segments_info"][0]) <= set(annotation["segments_info"][0])


# Saving


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".bmp", ".tif"])
def test_save(tmp_path: Path, suffix: str) -> None:
    found = result(*SCENE)
    path = tmp_path / f"overlay{suffix}"
    found.save(str(path))
    with Image.open(path) as image:
        written = np.asarray(image.convert("RGB"))
    assert written.shape == (4, 6, 3)
    if suffix in (".png", ".bmp", ".tif"):
        assert np.array_equal(written, found.overlay())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["overlay.xyz", "overlay", ".png"])
def test_save_under_an_unknown_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(MaskConverError, match=r"unknown suffix.*expected one of \.png, \.jpg"):
        result(*SCENE).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_save_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MaskConverError) as error:
        result(*SCENE).save(tmp_path / "file" / "overlay.png")
    assert "\n" not in str(error.value)


def test_save_too_large_for_the_format_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "overlay.webp"
    path.write_bytes(b"old")
    with pytest.raises(MaskConverError, match=r"cannot be encoded.*save it as \.png"):
        result("a" * 20_000).save(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


# supervision


@dataclass
class FakeDetections:
    xyxy: NDArray[np.float32]
    mask: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    class_id: NDArray[np.int64]
    data: dict[str, Any]


@pytest.fixture
def supervision(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    def install(present: bool) -> None:
        module = ModuleType("supervision")
        module.Detections = FakeDetections  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "supervision", module if present else None)

    return install


def test_to_supervision(supervision: Callable[[bool], None]) -> None:
    supervision(True)
    found = result(*SCENE)
    detections = found.to_supervision()
    assert detections.xyxy.tolist()[:2] == [[4, 0, 6, 2], [0, 2, 3, 4]]
    assert detections.mask.dtype == np.bool_
    assert [m.sum() for m in detections.mask] == [4, 5, 3, 6, 2]
    assert detections.confidence.tolist() == SCORES[:5].tolist()
    assert detections.class_id.tolist() == [CAT, SEA, CAT, SKY, ODD]
    assert detections.data["class_name"].tolist() == ["cat", "sea", "cat", "sky", "class 8"]


def test_to_supervision_of_nothing(supervision: Callable[[bool], None]) -> None:
    supervision(True)
    detections = result("..", "..").to_supervision()
    assert detections.xyxy.shape == (0, 4)
    assert detections.mask.shape == (0, 2, 2)


def test_to_supervision_says_how_to_install_it(supervision: Callable[[bool], None]) -> None:
    supervision(False)
    with pytest.raises(MaskConverError, match=r"^supervision is not installed; run `pip install supervision`$"):
        result("a").to_supervision()
