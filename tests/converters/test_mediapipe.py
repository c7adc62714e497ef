"""Panoptic graphs in the form that MediaPipe's ImageSegmenter takes."""

from pathlib import Path

import numpy as np
import pytest
from models import Models, golden_inputs, run_tflite

from maskconver_mobile.converters.backends.tflite.mediapipe import write_mediapipe
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats.tflite import metadata as tflite_metadata
from maskconver_mobile.formats.tflite.file import read_metadata


@pytest.fixture(scope="module")
def panoptic(models: Models) -> Path:
    return models.get("panoptic", "gpu", "float32")


def test_the_largest_score_is_the_category(panoptic: Path, tmp_path: Path) -> None:
    output = tmp_path / "mediapipe.tflite"
    write_mediapipe(panoptic, output)
    image = golden_inputs()[0]
    expected, found = run_tflite(panoptic.read_bytes(), image), run_tflite(output.read_bytes(), image)
    assert [*found] == ["category_map"]
    scores = found["category_map"]
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores.argmax(-1), expected["category_map"])
    np.testing.assert_array_equal(scores.sum(-1), 1)
    assert len(np.unique(expected["category_map"])) > 1


def test_the_file_names_the_channels_and_is_no_model_of_ours(panoptic: Path, tmp_path: Path) -> None:
    output = tmp_path / "mediapipe.tflite"
    write_mediapipe(panoptic, output)
    found = read_metadata(output.read_bytes(), "x")
    assert found.keys() >= {tflite_metadata.KEY}
    assert "maskconver_card" not in found
    assert b"labels.txt" in found[tflite_metadata.KEY]


@pytest.mark.parametrize(
    ("level", "target", "message"),
    [("masks", "gpu", "is of level masks; MediaPipe needs"), ("panoptic", "cpu", "has branches.* --target gpu")],
)
def test_other_models_are_refused(level: str, target: str, message: str, models: Models, tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match=message):
        write_mediapipe(models.get(level, target, "float32"), tmp_path / "x.tflite")
    assert not (tmp_path / "x.tflite").exists()


def test_too_many_scores_are_refused(panoptic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskconver_mobile.converters.backends.tflite.mediapipe.MAX_OUTPUT_BYTES", 1000)
    with pytest.raises(MaskConverError, match="a smaller --output-size"):
        write_mediapipe(panoptic, tmp_path / "x.tflite")


def test_mediapipe_runs_it(panoptic: Path, tmp_path: Path) -> None:
    vision = pytest.importorskip("mediapipe.tasks.python.vision", reason="needs mediapipe")
    import mediapipe

    output = tmp_path / "mediapipe.tflite"
    write_mediapipe(panoptic, output)
    options = vision.ImageSegmenterOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(output)), output_category_mask=True
    )
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        assert segmenter.labels[1] == "class 1"
        pixels = np.zeros((96, 96, 3), np.uint8)
        segmenter.segment(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels))
