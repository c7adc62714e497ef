"""Semantic models: no things, and class 0 is real and what an unclaimed pixel gets."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from models import TINY

from maskconver_mobile.card import Level
from maskconver_mobile.cli.convert import command as convert_command
from maskconver_mobile.cli.inspect_model import command as inspect_command
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.experiments import EXPERIMENTS
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.coco import SegmentMap, read_ground_truth
from maskconver_mobile.evaluation.comparison import compare
from maskconver_mobile.evaluation.evaluate import evaluate
from maskconver_mobile.formats.onnx.file import attach, read_onnx
from maskconver_mobile.inference.batch import segment_files
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

FOLDER = Path(__file__).parents[1] / "data" / "families" / "semantic_96"
EXPERIMENT = "maskconver_seg_cityscapes"
PHOTO = DEFAULT_MODEL.with_name("astronaut.jpg")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[Level, Path]:
    folder = tmp_path_factory.mktemp("semantic")
    paths: dict[Level, Path] = {level: folder / f"{level}.onnx" for level in ("heads", "masks", "panoptic")}
    for level, path in paths.items():
        convert(FOLDER / "config.yaml", FOLDER, path, experiment=EXPERIMENT, spec=GraphSpec(level))
    return paths


def test_the_card_says_what_was_read(models: dict[Level, Path]) -> None:
    card = read_onnx(models["masks"]).card
    assert card.semantic
    assert not card.rescale_predictions
    assert (card.source["experiment"], card.source["experiment_reason"]) == (EXPERIMENT, "chosen by name")
    assert [(c.id, c.is_thing) for c in card.categories] == [(i, False) for i in range(20)]


@pytest.mark.parametrize("level", ["heads", "masks", "panoptic"])
def test_every_pixel_has_a_class(level: Level, models: dict[Level, Path]) -> None:
    result = Segmenter(models[level]).segment(PHOTO)
    assert result.panoptic_map.min() == 1
    assert not any(s.is_thing for s in result.segments)
    assert len({s.category_id for s in result.segments}) == len(result.segments)
    for segment in result.segments:
        mask = result.mask(segment.id)
        assert segment.area == mask.sum() > 0
        assert (result.category_map[mask] == segment.category_id).all()
    _, annotation = result.to_coco(1, "1.png")
    assert sum(s["area"] for s in annotation["segments_info"]) == result.panoptic_map.size
    assert result.overlay().shape == result.image.shape


def test_levels_agree(models: dict[Level, Path]) -> None:
    heads, masks, panoptic = (Segmenter(models[level]) for level in ("heads", "masks", "panoptic"))
    assert compare(masks, heads, [PHOTO]).agreement > 0.999
    assert compare(masks, panoptic, [PHOTO]).agreement > 0.999


@pytest.mark.parametrize("level", ["masks", "panoptic"])
def test_what_nobody_claims_is_class_0(level: Level, models: dict[Level, Path], tmp_path: Path) -> None:
    """The score threshold, high enough, leaves nothing."""
    if level == "panoptic":
        spec = GraphSpec("panoptic", "reference")
        text = (FOLDER / "config.yaml").read_text().replace("object_mask_threshold: 0.05", "object_mask_threshold: 1.0")
        (tmp_path / "config.yaml").write_text(text)
        path = tmp_path / "none.onnx"
        convert(tmp_path / "config.yaml", FOLDER, path, experiment=EXPERIMENT, spec=spec)
        result = Segmenter(path).segment(PHOTO)
    else:
        result = Segmenter(models[level], object_mask_threshold=1.0).segment(PHOTO)
    (segment,) = result.segments
    assert (segment.category_id, segment.label, segment.area) == (0, "class 0", result.panoptic_map.size)


def test_a_model_agrees_with_its_own_results(models: dict[Level, Path], tmp_path: Path) -> None:
    """`segment` writes annotations that `evaluate` reads."""
    segmenter = Segmenter(models["masks"])
    ((_, done),) = segment_files(segmenter, [PHOTO], tmp_path)
    document = json.loads((tmp_path / "panoptic.json").read_text())
    assert {c["isthing"] for c in document["categories"]} == {0}
    (annotation,) = document["annotations"]
    document["images"] = [{"id": annotation["image_id"], "file_name": PHOTO.name}]
    (tmp_path / "truth.json").write_text(json.dumps(document))
    truth = read_ground_truth([PHOTO.parent], [tmp_path / "truth.json"], [tmp_path / "panoptic"])
    (found,) = evaluate([models["masks"]], truth)
    assert found.quality.all.pq == 1.0
    assert (found.quality.things.n, found.quality.stuff.n) == (0, len(SegmentMap.of(done.result, "").segments))


def test_own_labels_have_no_things(tmp_path: Path) -> None:
    labels = [{"id": i, "name": f"kind {i}", "isthing": 1} for i in (0, 3)]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    options = {"experiment": EXPERIMENT, "labels": tmp_path / "labels.json"}
    card = convert(FOLDER / "config.yaml", FOLDER, tmp_path / "m.onnx", **options)
    assert [(c.id, c.name, c.is_thing) for c in card.categories] == [(0, "kind 0", False), (3, "kind 3", False)]
    with pytest.raises(MaskConverError, match=r"category id 0 is outside 1\.\.19"):
        convert(TINY / "config.yaml", TINY, tmp_path / "n.onnx", labels=tmp_path / "labels.json")


def test_the_command_line_says_how_it_read_a_yaml(tmp_path: Path) -> None:
    arguments = ["--config", FOLDER / "config.yaml", "--checkpoint", FOLDER, "--output", tmp_path / "m.onnx"]
    done = CliRunner().invoke(convert_command, [*map(str, arguments)])
    assert "read as maskconver_seg_cityscapes: its first line names it" in done.output
    done = CliRunner().invoke(convert_command, [*map(str, arguments), "--experiment", "none"])
    assert done.exit_code == 2
    assert all(name in done.output for name in EXPERIMENTS)
    done = CliRunner().invoke(inspect_command, [str(tmp_path / "m.onnx")])
    assert "20 (0 things, 20 stuff)" in done.output
    assert "experiment maskconver_seg_cityscapes" in done.output


def test_a_thing_beside_class_0_is_refused(models: dict[Level, Path], tmp_path: Path) -> None:
    import onnx

    model = onnx.load(models["masks"])
    card = read_onnx(models["masks"]).card
    wrong = replace(card, categories=(replace(card.categories[0], is_thing=True),))
    (tmp_path / "m.onnx").write_bytes(attach(model, wrong, None))
    with pytest.raises(MaskConverError, match="no things beside id 0"):
        Segmenter(tmp_path / "m.onnx")


def test_an_image_smaller_than_a_cell(models: dict[Level, Path]) -> None:
    result = Segmenter(models["masks"]).segment(np.zeros((1, 3, 3), np.uint8))
    assert result.panoptic_map.shape == (1, 3)
