from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import Models
from PIL import Image

import maskconver_mobile
from maskconver_mobile import MaskConverError, Segmenter, segment
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
    strict = Segmenter(object_mask_threshold=0.2)
    assert min(s.score for s in segmenter.segment(PHOTO).segments) < 0.2
    assert all(s.score > 0.2 for s in strict.segment(PHOTO).segments)
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
    result = Segmenter(models.get(level, hard=True)).segment(np.zeros((50, 80, 3), np.uint8))
    assert result.panoptic_map.shape == (50, 80)


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (3000, 2), (7, 5)])
def test_extreme_sizes(segmenter: Segmenter, size: tuple[int, int]) -> None:
    assert segmenter.segment(np.full((*size, 3), 127, np.uint8)).panoptic_map.shape == size


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


def test_run_gives_the_graph_s_own_outputs(models: Models) -> None:
    assert Segmenter(models.get("heads")).run(PHOTO).keys() == {
        "class_heatmap",
        "mask_embedding_map",
        "pixel_embeddings",
    }


def test_the_package_s_names_are_lazy_but_real() -> None:
    for name in maskconver_mobile.__all__:
        assert getattr(maskconver_mobile, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = maskconver_mobile.nothing


def test_missing_photo_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match=r"none\.jpg"):
        segment(tmp_path / "none.jpg")
