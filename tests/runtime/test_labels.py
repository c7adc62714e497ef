import json
from pathlib import Path

import pytest

from maskconver_mobile.card import Category
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.labels import coco_panoptic, color_of, generic_categories, read_categories, semantic_categories


def test_coco_has_its_official_categories() -> None:
    labels = coco_panoptic()
    assert [c.id for c in labels] == sorted({c.id for c in labels})
    things = [c for c in labels if c.is_thing]
    stuff = [c for c in labels if not c.is_thing]
    assert (len(things), things[0].id, things[-1].id) == (80, 1, 90)
    assert (len(stuff), stuff[0].id, stuff[-1].id) == (53, 92, 200)
    assert labels[0] == Category(1, "person", True, (220, 20, 60))
    assert labels[-1] == Category(200, "rug-merged", False, (250, 141, 255))


def test_coco_equals_the_data_set(shared: Path) -> None:
    raw = json.loads((shared / "coco" / "val" / "panoptic.json").read_text())["categories"]
    assert {(c.id, c.name, c.is_thing) for c in coco_panoptic()} == {(r["id"], r["name"], r["isthing"]) for r in raw}


def test_coco_colors_are_distinct() -> None:
    assert len({c.color for c in coco_panoptic()}) == 133


def test_generic_categories() -> None:
    labels = generic_categories(13, 4)
    assert [c.id for c in labels] == list(range(1, 13))
    assert [(c.name, c.is_thing) for c in labels[2:4]] == [("thing 3", True), ("stuff 4", False)]
    assert labels == generic_categories(13, 4)
    assert len({c.color for c in generic_categories(201, 91)}) == 200


def test_semantic_label_sets() -> None:
    pascal, cityscapes, coco, other = map(semantic_categories, (21, 19, 91, 7))
    for labels, count in ((pascal, 21), (cityscapes, 19), (other, 7)):
        assert [c.id for c in labels] == list(range(count))
    assert (pascal[0].name, pascal[0].color) == ("background", (0, 0, 0))
    assert (pascal[15].name, pascal[15].color) == ("person", (192, 128, 128))
    assert (pascal[20].name, pascal[20].color) == ("tv/monitor", (0, 64, 128))
    assert (cityscapes[0].name, cityscapes[18].name) == ("road", "bicycle")
    assert [c.name for c in coco[:2]] == ["background", "person"]
    assert (len(coco), coco[-1].id, other[3].name) == (81, 90, "class 3")
    assert not any(c.is_thing for labels in (pascal, cityscapes, coco, other) for c in labels)


def test_neighbouring_colors_differ() -> None:
    for number in range(200):
        pair = zip(color_of(number), color_of(number + 1), strict=True)
        assert sum(abs(a - b) for a, b in pair) > 90


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: {"info": {}, "categories": c}], ids=["list", "object"])
def test_reads_a_label_set(tmp_path: Path, wrap: "type[list[object]]") -> None:
    raw = [
        {"id": 7, "name": "road", "isthing": 0},
        {"id": 2, "name": "bolt", "isthing": True, "color": [1, 2, 3], "supercategory": "part"},
    ]
    found = read_categories(write(tmp_path / "labels.json", wrap(raw)))
    assert found == (Category(2, "bolt", True, (1, 2, 3)), Category(7, "road", False, color_of(7)))


GOOD = {"id": 1, "name": "bolt", "isthing": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no categories"),
        ({}, "no categories"),
        ("text", "no categories"),
        ([3], "category 0: is a int"),
        ([{"id": 1, "name": "bolt"}], "category 0 lacks 'isthing'"),
        ([GOOD, GOOD], "id 1 is there twice"),
        ([GOOD, GOOD | {"id": -1}], "category 1: id is -1"),
        ([GOOD | {"id": "1"}], "id is '1'"),
        ([GOOD | {"id": True}], "id is True"),
        ([GOOD | {"id": 1 << 40}], "expected a whole number in 0..16383"),
        ([GOOD | {"name": " "}], "name is ' '; expected text"),
        ([GOOD | {"isthing": "yes"}], "isthing is 'yes'"),
        ([GOOD | {"isthing": [1]}], "isthing is [1]"),
        ([GOOD | {"color": [1, 2]}], "color is [1, 2]"),
        ([GOOD | {"color": [1, 2, 256]}], "color is [1, 2, 256]"),
        ([GOOD | {"color": "red"}], "color is 'red'"),
    ],
)
def test_a_wrong_label_set_is_one_line(tmp_path: Path, content: object, message: str) -> None:
    path = write(tmp_path / "labels.json", content)
    with pytest.raises(MaskConverError) as error:
        read_categories(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"id,name\n1,bolt", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_file_that_is_not_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(MaskConverError, match="is not JSON"):
        read_categories(path)


def test_a_file_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match=r"missing\.json: cannot be read"):
        read_categories(tmp_path / "missing.json")
    with pytest.raises(MaskConverError, match="cannot be read"):
        read_categories(tmp_path)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(MaskConverError, match="more than the 67108864 that are read"):
        read_categories(path)
