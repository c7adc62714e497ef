import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import Models
from PIL import Image

import maskconver_mobile
from maskconver_mobile import MaskConverError, Segmenter, segment
from maskconver_mobile import segmenter as segmenter_module
from maskconver_mobile.formats.runtimes import default_threads
from maskconver_mobile.segmenter import DEFAULT_MODEL

PHOTO = DEFAULT_MODEL.with_name("astronaut.jpg")


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(num_threads=2)


def test_one_call_segments_a_photograph() -> None:
    result = segment(PHOTO)
    assert result.panoptic_map.shape == (512, 512)
    assert "person" in {s.label for s in result.segments}
    assert result.timings_ms.keys() == {"decode", "preprocess", "invoke", "merge"}
    areas = {s.id: s.area for s in result.segments}
    ids, counts = np.unique(result.panoptic_map[result.panoptic_map > 0], return_counts=True)
    assert areas == dict(zip(ids.tolist(), counts.tolist(), strict=True))


def test_every_kind_of_source_gives_the_same_map(segmenter: Segmenter) -> None:
    pixels = np.asarray(Image.open(PHOTO))
    expected = segmenter.segment(pixels).panoptic_map
    for source in (PHOTO, str(PHOTO), PHOTO.read_bytes(), Image.open(PHOTO)):
        np.testing.assert_array_equal(segmenter.segment(source).panoptic_map, expected)


def test_many_threads_share_one_segmenter(segmenter: Segmenter) -> None:
    rng = np.random.default_rng(0)
    base = np.asarray(Image.open(PHOTO))
    images = [np.roll(base, int(shift), axis=1) for shift in rng.integers(0, 512, 12)]
    expected = [segmenter.segment(image).panoptic_map for image in images]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda image: segmenter.segment(image).panoptic_map, images))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_thresholds_can_be_set_where_the_host_merges(segmenter: Segmenter) -> None:
    strict = Segmenter(object_mask_threshold=0.5)
    assert min(s.score for s in segmenter.segment(PHOTO).segments) < 0.5
    assert all(s.score > 0.5 for s in strict.segment(PHOTO).segments)
    assert Segmenter(object_mask_threshold=1.0).segment(PHOTO).segments == ()
    assert not Segmenter(small_area_threshold=1e9).segment(PHOTO).segments


def test_but_not_in_a_panoptic_graph(models: Models) -> None:
    with pytest.raises(MaskConverError, match="overlap_threshold is fixed in a panoptic graph"):
        Segmenter(models.get("panoptic"), overlap_threshold=0.5)


@pytest.mark.parametrize("input_type", ["uint8", "float32"])
def test_levels_agree_on_an_image(models: Models, input_type: Any) -> None:
    """The image has the canvas' own size, so that the in-graph merge sees what the host merge sees."""
    image = np.random.default_rng(3).integers(0, 256, (96, 96, 3), np.uint8)
    results = [
        Segmenter(models.get(level, "cpu", input_type)).segment(image) for level in ("heads", "masks", "panoptic")
    ]
    assert results[0].segments
    for result in results[1:]:
        assert (result.category_map == results[0].category_map).mean() >= 0.999
        assert [s.label for s in result.segments] == [s.label for s in results[0].segments]


@pytest.mark.parametrize("level", ["masks", "panoptic"])
def test_the_hardware_variant_merges_at_mask_size(models: Models, level: Any) -> None:
    """Its map is one of the masks' size, enlarged by nearest neighbor."""
    segmenter = Segmenter(models.get(level, hard=True))
    image = np.random.default_rng(3).integers(0, 256, (96, 96, 3), np.uint8)
    outputs = segmenter.run(image)
    height, width = (outputs["mask_logits"] if level == "masks" else outputs["category_map"][..., None]).shape[1:3]
    result = segmenter.segment(image)
    assert result.segments
    blocks = result.category_map.reshape(height, 96 // height, width, 96 // width)
    assert (blocks == blocks[:, :1, :, :1]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (3000, 2), (7, 5)])
def test_extreme_sizes(segmenter: Segmenter, size: tuple[int, int]) -> None:
    """One color is one answer, to the last pixel."""
    result = segmenter.segment(np.full((*size, 3), 127, np.uint8))
    assert result.panoptic_map.shape == size
    ids, counts = np.unique(result.panoptic_map, return_counts=True)
    areas = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    assert {s.id: s.area for s in result.segments} == {i: n for i, n in areas.items() if i}
    boxes = [(x + width <= size[1], y + height <= size[0]) for x, y, width, height in (s.bbox for s in result.segments)]
    assert all(map(all, boxes))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.zeros((1, 96, 96, 3), np.uint8), "input tensor is uint8"),
        (np.zeros((96, 96, 3), np.float32), r"\[96, 96, 3\]; expected float32 \[1, 96, 96, 3\]"),
        (np.full((1, 96, 96, 3), np.nan, np.float32), "NaN or infinity"),
    ],
)
def test_tensors_that_do_not_fit(models: Models, tensor: Any, message: str) -> None:
    with pytest.raises(MaskConverError, match=message):
        Segmenter(models.get("heads")).run_tensor(tensor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_threads": 0}, "num_threads is 0; expected a whole number from 1 to 256"),
        ({"num_threads": -3}, "num_threads is -3"),
        ({"num_threads": 10**6}, "num_threads is 1000000"),
        ({"num_threads": 2.0}, r"num_threads is 2\.0"),
        ({"overlap_threshold": 50}, "overlap_threshold is 50; expected a number from 0 to 1"),
        ({"overlap_threshold": float("nan")}, "overlap_threshold is nan"),
        ({"object_mask_threshold": "0.1"}, r"object_mask_threshold is '0\.1'"),
        ({"small_area_threshold": -1}, "small_area_threshold is -1; expected a number from 0 on"),
        ({"small_area_threshold": float("inf")}, "small_area_threshold is inf"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MaskConverError, match=message):
        Segmenter(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"providers": "CPUExecutionProvider"}, "expected a list of names"),
        ({"providers": [1]}, "expected a list of names"),
        ({"graph_optimization": "fast"}, "graph_optimization is 'fast'; expected one of all, extended"),
    ],
)
def test_options_of_onnx_runtime_that_cannot_be(options: dict[str, Any], message: str, onnx_models: Models) -> None:
    with pytest.raises(MaskConverError, match=message):
        Segmenter(onnx_models.get("masks", "cpu", "uint8"), **options)


def test_threads_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert default_threads() == 1


def test_without_litert_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, for which there is no such package."""
    for name in [n for n in sys.modules if n.startswith(("ai_edge_litert", "maskconver_mobile.formats.tflite.file"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(MaskConverError, match=r"\.tflite files need ai-edge-litert; install .*, or use an \.onnx file"):
        Segmenter(DEFAULT_MODEL)


def test_a_model_that_was_overwritten_is_loaded_again(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "a" / "m.tflite", tmp_path / "b" / "m.tflite"
    for one, level in ((path, "masks"), (other, "panoptic")):
        one.parent.mkdir()
        shutil.copy(models.get(level), one)
    monkeypatch.chdir(path.parent)
    before = segment(PHOTO, "m.tflite")
    assert segment(PHOTO, "m.tflite").categories is before.categories
    monkeypatch.chdir(other.parent)
    assert segment(PHOTO, "m.tflite").categories is not before.categories
    shutil.copy(other, path)
    assert segment(PHOTO, path).categories is not before.categories


def test_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "MODEL.TFLITE"
    shutil.copy(DEFAULT_MODEL, path)
    assert Segmenter(path).card.level == "masks"


def test_building_the_result_is_in_the_timings(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    original = segmenter_module.build_result

    def slow(*arguments: Any) -> Any:
        time.sleep(0.05)
        return original(*arguments)

    monkeypatch.setattr(segmenter_module, "build_result", slow)
    assert segmenter.segment(PHOTO).timings_ms["merge"] >= 50


def test_colors_are_red_green_blue(segmenter: Segmenter) -> None:
    """What OpenCV would call BGR gives another answer."""
    pixels = np.asarray(Image.open(PHOTO))
    right, wrong = (
        segmenter.segment(image).panoptic_map for image in (pixels, np.ascontiguousarray(pixels[..., ::-1]))
    )
    np.testing.assert_array_equal(segmenter.segment(PHOTO).panoptic_map, right)
    assert (right != wrong).any()


def test_run_gives_the_graph_s_own_outputs(models: Models) -> None:
    assert Segmenter(models.get("heads")).run(PHOTO).keys() == {
        "class_heatmap",
        "mask_embedding_map",
        "pixel_embeddings",
    }


def test_the_package_s_names_are_lazy_but_real() -> None:
    for name in maskconver_mobile.__all__:
        value = getattr(maskconver_mobile, name)
        assert getattr(value, "__name__", name) == name  # unions of types have none
    with pytest.raises(AttributeError):
        _ = maskconver_mobile.nothing


def test_missing_photo_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match=r"none\.jpg"):
        segment(tmp_path / "none.jpg")
