"""Exported graphs against what the original implementation computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import Models
from parity import TARGETS, Case, compare, full_cases, tiny_cases

from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.evaluation.stability import agreement, noisy_images, stable_pixels
from maskconver_mobile.segmenter import Segmenter

LEVELS = ("heads", "masks", "panoptic")
TINY_CASES = {case.name: case for case in tiny_cases()}
FULL_CASES = {case.name: case for case in full_cases()}


def check(case: Case, models: Models, level: Any, target: str, precision: str = "float32") -> None:
    failed = [row for row in compare(case, models, level, target, precision) if not row.passed]
    assert not failed


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", TINY_CASES)
def test_tiny(name: str, level: str, target: str, either_models: Models) -> None:
    check(TINY_CASES[name], either_models, level, target)


@pytest.mark.parametrize("level", LEVELS)
def test_tiny_float16(level: str, either_models: Models) -> None:
    check(TINY_CASES["tiny_96"], either_models, level, "cpu", "float16")


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["demo_256", "demo_640"])
def test_full_size(name: str, level: str, target: str, either_models: Models, shared: Path) -> None:
    check(FULL_CASES[name], either_models, level, target)


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_full_size_float16(level: str, either_models: Models, shared: Path) -> None:
    check(FULL_CASES["demo_256"], either_models, level, "cpu", "float16")


@pytest.mark.parametrize("target", TARGETS)
def test_locations_are_those_of_the_original(target: str, data: Path) -> None:
    """The graphs do not put locations out, so the proposals function is traced alone on the golden class map."""
    import tensorflow as tf

    from maskconver_mobile.converters.backends.tflite.ops import TensorFlowOps
    from maskconver_mobile.converters.passes.lower_proposals import fast_proposals, proposals

    golden = np.load(data / "tiny_96" / "golden.npz")
    find = fast_proposals if target == "cpu" else proposals
    for heatmap, classes, indices in zip(
        golden["class_heatmaps"], golden["classes"], golden["embedding_indices"], strict=True
    ):
        found_classes, locations, _ = find(TensorFlowOps(), tf.constant(heatmap[None]), k=12)
        np.testing.assert_array_equal(found_classes, classes)
        np.testing.assert_array_equal(locations, indices[:, 0] * 12 + indices[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("size", ["demo_256", "demo_640"])
def test_photographs(size: str, models: Models, shared: Path) -> None:
    """The whole path from a uint8 photograph to the category map at its own size.

    A uint8 model sees the resized image rounded to whole levels. That may push a segment over the edge of the merge's
    overlap threshold, where the whole segment becomes another; where the float model does not waver, neither does it.
    """
    case = FULL_CASES[size]
    photos = np.load(case.golden[0].with_name("photos.npz"))
    names = sorted({key.split("/")[0] for key in photos})
    exact, pixels, rounded = (
        Segmenter(models.get("masks", "cpu", kind, config=case.config, checkpoint=case.checkpoint))
        for kind in ("float32", "pixels", "uint8")
    )
    assert len(names) == 6
    for name in names:
        image, expected = photos[f"{name}/image"], photos[f"{name}/category_map"]
        stable = stable_pixels([expected, *(exact.segment(drawn).category_map for drawn in noisy_images(image))])
        assert stable.mean() > 0.5, name
        assert agreement(expected, exact.segment(image).category_map) >= 0.999, name
        assert agreement(expected, pixels.segment(image).category_map) >= 0.999, name
        assert agreement(expected, rounded.segment(image).category_map, stable) >= 0.995, name


def test_defaults_are_for_phones() -> None:
    assert GraphSpec() == GraphSpec("masks", "cpu", "pixels", None)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["uint8", "pixels"])
def test_pixels_equal_the_normalised_image(kind: Any, target: str, models: Models) -> None:
    """Also at the border, where the convolution's padding is 0 after normalisation."""
    raw, float32 = (Segmenter(models.get("heads", target, k)) for k in (kind, "float32"))
    image = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8)
    card = float32.card
    normalised = ((image - np.array(card.mean)) / np.array(card.std)).astype(np.float32)
    expected, found = float32.run_tensor(normalised), raw.run_tensor(image.astype(raw.card.input_dtype))
    for name in ("class_heatmap", "mask_embedding_map", "pixel_embeddings"):
        magnitude = np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4 * magnitude, rtol=0)
