"""A result as its users handle it: a sequence, arrays, JSON, COCO annotations, a notebook's cell."""

import base64
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from maskconver_mobile import MaskConverError, Segmenter
from maskconver_mobile.card import Category
from maskconver_mobile.inference.drawing import segment_colors
from maskconver_mobile.inference.masks import encode_rle, polygons
from maskconver_mobile.result import PanopticResult, from_maps
from maskconver_mobile.segmenter import DEFAULT_MODEL

CAT, SKY = 5, 9
CATEGORIES = (Category(CAT, "<cat>", True, (200, 30, 30)), Category(SKY, "sky", False, (30, 30, 200)))
KEYS = {".": (0, 0), "a": (CAT, 1), "b": (CAT, 2), "s": (SKY, 0)}
SCENE = ("ssss.aa.", "sss..aa.", "....bbb.", "s...b.b.", "....bbb.")


def result(*rows: str) -> PanopticResult:
    keys = np.array([[KEYS[letter] for letter in row] for row in rows], np.int32)
    image = np.random.default_rng(0).integers(0, 256, (*keys.shape[:2], 3), np.uint8)
    classes, scores = np.array([CAT, CAT, SKY], np.int32), np.array([0.75, 0.5, 0.25], np.float32)
    return from_maps(keys[..., 0], keys[..., 1], classes, scores, image, CATEGORIES, {"decode": 1.5})


def test_a_sequence_of_segments() -> None:
    found = result(*SCENE)
    assert len(found) == 3
    assert list(found) == list(found.segments)
    assert found[0] is found.segments[0]
    assert found[-2:] == found.segments[-2:]
    assert found["<cat>"] == found.things == found.segments[:2]
    assert found["sky"] == found.stuff == found.segments[2:]
    assert result("aa")["sky"] == ()
    assert not result("..")
    with pytest.raises(IndexError):
        found[3]
    with pytest.raises(MaskConverError, match=r"^no category is called 'cat'; did you mean '<cat>'\?$"):
        found["cat"]
    with pytest.raises(MaskConverError, match="no category is called 'zebra'; `categories` has those"):
        found["zebra"]


def test_arrays_are_parallel() -> None:
    found = result(*SCENE)
    assert (found.ids.dtype, found.ids.tolist()) == (np.int32, [1, 2, 3])
    assert found.category_ids.tolist() == [CAT, CAT, SKY]
    assert found.labels.tolist() == ["<cat>", "<cat>", "sky"]
    assert (found.scores.dtype, found.scores.tolist()) == (np.float32, [0.75, 0.5, 0.25])
    assert (found.xyxy.dtype, found.xyxy.tolist()) == (np.float32, [[5, 0, 7, 2], [4, 2, 7, 5], [0, 0, 4, 4]])
    assert found.masks.dtype == np.bool_
    for one, mask in zip(found, found.masks, strict=True):
        np.testing.assert_array_equal(mask, found.mask(one))
    empty = result("..")
    assert (empty.xyxy.shape, empty.masks.shape, empty.labels.shape) == ((0, 4), (0, 1, 2), (0,))


def test_json() -> None:
    found = result(*SCENE)
    document = json.loads(found.to_json("rle"))
    assert document == found.to_dict("rle") | {"segments": json.loads(json.dumps(found.to_dict("rle")["segments"]))}
    assert (document["height"], document["width"], document["timings_ms"]) == (5, 8, {"decode": 1.5})
    first = document["segments"][0]
    assert first.pop("segmentation") == found.rle(1)
    assert first == {
        "id": 1,
        "category_id": CAT,
        "label": "<cat>",
        "is_thing": True,
        "score": 0.75,
        "area": 4,
        "bbox": [5, 0, 2, 2],
    }
    assert "segmentation" not in json.loads(found.to_json())["segments"][0]
    assert found.to_dict("polygons")["segments"][0]["segmentation"] == found.polygons(1)
    with pytest.raises(MaskConverError, match="masks is 'png'; expected 'rle', 'polygons' or None"):
        found.to_dict("png")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(8))
def test_run_lengths_are_those_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 400, 2)
    blob = rng.random((height // 20 + 1, width // 20 + 1)) < rng.choice([0.05, 0.5, 0.95])
    mask = np.kron(blob, np.ones((20, 20), np.bool_))[:height, :width] ^ (rng.random((height, width)) < 0.01)
    expected = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_rle(mask) == {"size": list(expected["size"]), "counts": expected["counts"].decode()}


@pytest.mark.parametrize("value", [False, True])
def test_run_lengths_of_one_value(value: bool) -> None:
    mask = np.full((300, 500), value)
    np.testing.assert_array_equal(coco_mask.decode(encode_rle(mask)), mask)


def filled(outlines: list[list[float]], height: int, width: int) -> NDArray[np.bool_]:
    """By pycocotools."""
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(outlines, height, width))).astype(np.bool_)


def test_polygons_of_a_photograph_are_its_segments() -> None:
    """Without their holes."""
    found = Segmenter(num_threads=2)(DEFAULT_MODEL.with_name("astronaut.jpg"))
    height, width = found.panoptic_map.shape
    for one in found:
        drawn = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(found.polygons(one), height, width))).astype(
            bool
        )
        assert (drawn | ~found.mask(one)).all()
        again = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons(drawn), height, width)))
        np.testing.assert_array_equal(again, drawn)


def test_polygons_of_small_shapes() -> None:
    found = result(*SCENE)
    assert len(found.polygons(3)) == 2
    assert found.polygons(1) == [[5.25, 0.25, 5.25, 1.75, 6.75, 1.75, 6.75, 0.25]]
    assert result("a").polygons(1) == [[0.25, 0.25, 0.25, 0.75, 0.75, 0.75, 0.75, 0.25]]


def test_a_crop_is_transparent_around_its_segment() -> None:
    found = result(*SCENE)
    cut = found.crop(found[1])
    np.testing.assert_array_equal(cut[..., :3], found.image[2:5, 4:7])
    assert (cut[..., 3] // 255).tolist() == [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    cut[:] = 0
    assert found.image.any()
    with pytest.raises(MaskConverError, match="no segment 9; the ids are 1, 2, 3"):
        found.crop(9)


def test_the_image_may_be_written_to() -> None:
    found = Segmenter(num_threads=2)(DEFAULT_MODEL.with_name("astronaut.jpg"))
    found.image[:] = 0


def test_colors_do_not_follow_the_scores() -> None:
    found = result(*SCENE)
    turned = replace(found, segments=found.segments[::-1])
    colors = segment_colors(found.segments, CATEGORIES)
    assert colors == segment_colors(turned.segments, CATEGORIES)
    assert colors[1] == CATEGORIES[0].color != colors[2]
    np.testing.assert_array_equal(found.overlay(labels=False), turned.overlay(labels=False))


def test_what_an_overlay_shows_can_be_chosen(tmp_path: Path) -> None:
    size = 120
    found = result(*["." * size] * 20, *["." * 20 + "a" * (size - 40) + "." * 20] * (size - 40), *["." * size] * 20)
    plain = found.overlay(0.3, labels=False)
    assert (found.overlay(0.3) != plain).any()
    boxed = found.overlay(0.3, boxes=True, labels=False)
    assert (boxed[20, 20:100] == CATEGORIES[0].color).all()
    assert (plain[20, 21:100] != CATEGORIES[0].color).any()
    np.testing.assert_array_equal(boxed[30:90, 30:90], plain[30:90, 30:90])
    found.save(tmp_path / "a.png", alpha=0.3, boxes=True, labels=False)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), boxed)
    with pytest.raises(MaskConverError, match=r"alpha is 50; expected a number from 0 to 1"):
        found.overlay(50)


def test_save_knows_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    result("a").save("~/a.png")
    assert (tmp_path / "a.png").exists()


def test_a_notebook_shows_it() -> None:
    found = result(*SCENE)
    html = found._repr_html_()
    assert "&lt;cat&gt;" in html
    assert "<cat>" not in html
    encoded = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    assert encoded is not None
    for png in (found._repr_png_(), base64.b64decode(encoded[1])):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), found.overlay())
    wide = result("a" * 3000)
    assert Image.open(io.BytesIO(wide._repr_png_())).size == (1024, 1)


def test_show(monkeypatch: pytest.MonkeyPatch) -> None:
    found, shown = result(*SCENE), list[Any]()
    monkeypatch.setattr(Image.Image, "show", lambda picture: shown.append(np.asarray(picture)))
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    found.show()
    np.testing.assert_array_equal(shown.pop(), found.overlay())
    notebook = ModuleType("IPython")
    shell = type("ZMQInteractiveShell", (), {})()
    vars(notebook).update(get_ipython=lambda: shell, display=SimpleNamespace(display=shown.append))
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    found.show()
    assert shown == [found]


def test_supervision_annotates_it() -> None:
    """The real library, not a stand-in."""
    supervision = pytest.importorskip("supervision")
    found = Segmenter(num_threads=2)(DEFAULT_MODEL.with_name("astronaut.jpg"))
    detections = found.to_supervision()
    assert len(detections) == len(found)
    people = detections[detections.class_id == 1]
    assert people.data["class_name"].tolist() == ["person"] * len(found["person"])
    np.testing.assert_array_equal(detections.area, [s.area for s in found])
    drawn = supervision.MaskAnnotator().annotate(found.image.copy(), detections)
    changed = (drawn != found.image).any(axis=-1)
    assert changed[found.panoptic_map > 0].mean() > 0.99
    assert not changed[found.panoptic_map == 0].any()
    assert (supervision.LabelAnnotator().annotate(drawn.copy(), detections) != drawn).any()
