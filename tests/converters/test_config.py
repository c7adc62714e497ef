import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskconver_mobile.converters.config import read_config
from maskconver_mobile.errors import MaskConverError


@pytest.fixture
def document(data: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((data / "tiny_96" / "config.yaml").read_text())
    return loaded


def write(path: Path, document: object) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path


def test_reads_the_model_section(data: Path) -> None:
    config = read_config(data / "tiny_96" / "config.yaml")
    assert config.input_size == config.padded_output_size == (96, 96)
    assert (config.num_classes, config.num_thing_classes, config.num_instances) == (20, 9, 12)
    assert config.backbone.filter_size_scale == 0.25
    assert config.decoder.dilation_rates == (6, 12, 18)
    assert config.class_head.kernel_size == 7
    assert config.mask_size == (12, 12)
    assert config.default_output_size == (96, 96)
    assert read_config(data / "tiny_96" / "config_hw.yaml").default_output_size == (12, 12)


def test_fills_in_the_experiment_defaults(document: dict[str, Any], tmp_path: Path) -> None:
    model = document["task"]["model"]
    for key in ("num_classes", "num_thing_classes", "panoptic_generator", "norm_activation"):
        del model[key]
    for head in ("class_head", "mask_embedding_head", "per_pixel_embedding_head"):
        for key in ("prediction_kernel_size", "upsample_factor"):
            del model[head][key]
    config = read_config(write(tmp_path / "c.yaml", document))
    assert (config.num_classes, config.num_thing_classes) == (201, 91)
    assert (config.norm_epsilon, config.object_mask_threshold, config.overlap_threshold) == (0.001, 0.001, 0.5)
    assert not config.hard_sigmoid
    assert not config.class_head.use_layer_norm


def test_ignores_unknown_keys(document: dict[str, Any], tmp_path: Path, data: Path) -> None:
    document["task"]["model"]["brand_new"] = {"x": 1}
    document["trainer"] = {"train_steps": 5}
    assert read_config(write(tmp_path / "c.yaml", document)) == read_config(data / "tiny_96" / "config.yaml")


def test_other_input_size(data: Path) -> None:
    assert read_config(data / "tiny_96" / "config.yaml").with_input_size((64, 128)).mask_size == (8, 16)
    hard = read_config(data / "tiny_96" / "config_hw.yaml").with_input_size((64, 128))
    assert hard.padded_output_size == (8, 16)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("backbone.mobilenet.model_id", "MobileNetV9", "MobileNetMultiAVGSeg"),
        ("backbone.mobilenet.model_id", "MobileNetV4HybridMedium", "needs attention"),
        ("backbone.type", "spinenet_seg", "no published source"),
        ("backbone.type", "vit", "backbone.type is 'vit'"),
        ("backbone.mobilenet.output_stride", 4, "output_stride is 4"),
        ("backbone.mobilenet.filter_size_scale", "wide", "expected a number"),
        ("norm_activation.activation", "mish", "'mish', which is not supported"),
        ("decoder.type", "hourglass", "decoder.type is 'hourglass'"),
        ("decoder.aspp.spp_layer_version", "v2", "spp_layer_version"),
        ("class_head.feature_fusion", "pyramid_fusion", "class_head.feature_fusion"),
        ("class_head.upsample_factor", 0, "upsample_factor is 0"),
        ("class_head.upsample_factor", 2, "mask_embedding_head.upsample_factor is 1; expected that of class_head"),
        ("class_head.low_level", "5", "low_level is '5'; expected a level from 2 to 4"),
        ("decoder.aspp.use_depthwise_convolution", False, "aspp.use_depthwise_convolution is False"),
        ("input_size", [96], "input_size is"),
        ("input_size", [96, 96, 4], "3 channels"),
        ("input_size", [16, 16, 3], "at least 32x32"),
        ("num_instances", 0, "num_instances is 0"),
        ("num_classes", True, "num_classes is True"),
        ("num_thing_classes", "many", "expected a whole number"),
        ("class_head.feature_fusion", None, "mask_embedding_head is at another resolution than class_head"),
        ("panoptic_generator.overlap_threshold", 7, "overlap_threshold is 7"),
    ],
)
def test_refuses_by_name(document: dict[str, Any], tmp_path: Path, key: str, value: object, message: str) -> None:
    *owners, leaf = key.split(".")
    node = document["task"]["model"]
    for owner in owners:
        node = node[owner]
    node[leaf] = value
    path = write(tmp_path / "c.yaml", document)
    with pytest.raises(MaskConverError, match=message) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "no mapping"),
        (b"", "no mapping"),
        (b"task: {losses: 1}", "task.model is missing"),
        (b"task: [1, 2]", "task.model is missing"),
        (b"a: [1, 2", "not valid YAML"),
        (b"task: !!python/object/apply:os.system ['true']", "line 1: task.model holds an object"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"x" * (1 << 20) + b"y", "larger than"),
    ],
)
def test_refuses_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(MaskConverError, match=message) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match="cannot be read"):
        read_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("changes", "experiment"),
    [
        ({}, "maskconver_coco"),
        ({"num_thing_classes": 50}, "maskconver_seg_pascal"),
        ({"num_thing_classes": None}, "maskconver_seg_pascal"),
        ({"num_thing_classes": 0, "num_classes": 19}, "maskconver_seg_cityscapes"),
    ],
)
def test_a_yaml_shows_its_experiment(
    document: dict[str, Any], tmp_path: Path, changes: dict[str, Any], experiment: str
) -> None:
    document["task"]["model"].update(changes)
    config = read_config(write(tmp_path / "c.yaml", document))
    assert config.experiment == experiment
    assert config.semantic == (experiment != "maskconver_coco")
    assert not config.semantic or config.num_thing_classes == 0


def test_a_first_line_names_the_experiment(document: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", document)
    path.write_text("# experiment: maskconver_seg_cityscapes\n" + path.read_text())
    config = read_config(path)
    assert (config.experiment, config.experiment_reason) == ("maskconver_seg_cityscapes", "its first line names it")
    path.write_text("# experiment: the third of this week\n" + yaml.safe_dump(document))
    assert read_config(path).experiment == "maskconver_coco"


def test_the_defaults_of_multi_scale_heads(tmp_path: Path) -> None:
    """The pixel head has those of a single scale, but for its norms."""
    model: dict[str, Any] = {
        "backbone": {"type": "resnet"},
        "class_head": {},
        "per_pixel_embedding_head": {"level": "3"},
    }
    config = read_config(write(tmp_path / "c.yaml", {"task": {"model": model}}))
    assert config.multi_scale
    found = [
        (head.num_convs, head.prediction_kernel_size, head.use_layer_norm, head.use_depthwise_convolution, head.level)
        for head in (config.class_head, config.mask_embedding_head, config.per_pixel_embedding_head)
    ]
    assert found == [(4, 3, True, False, 3), (4, 3, True, False, 3), (2, 1, True, False, 3)]
    model["min_level"] = 6
    with pytest.raises(MaskConverError, match="min_level is 6; expected a whole number from 2 to 5"):
        read_config(write(tmp_path / "c.yaml", {"task": {"model": model}}))


def test_an_input_of_any_size_is_as_large_as_the_canvas(document: dict[str, Any], tmp_path: Path) -> None:
    document["task"]["model"] |= {"input_size": [None, None, 3], "padded_output_size": [64, 128]}
    assert read_config(write(tmp_path / "c.yaml", document)).input_size == (64, 128)


def test_the_experiment_may_be_given(data: Path) -> None:
    assert read_config(data / "tiny_96" / "config.yaml", "maskconver_seg_pascal").semantic
    with pytest.raises(MaskConverError, match="unknown experiment 'maskformer'; known ones: maskconver_coco"):
        read_config(data / "tiny_96" / "config.yaml", "maskformer")


def test_floats_without_a_point_are_numbers(document: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", document)
    path.write_text(path.read_text().replace("norm_epsilon: 0.001", "norm_epsilon: 1e-3"))
    assert "1e-3" in path.read_text()
    assert read_config(path).norm_epsilon == 0.001


def test_a_stray_quote_is_named(document: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", document)
    path.write_text(path.read_text() + "trainer:\n  checkpoint: minival2014'\n  steps: 'x\n")
    with pytest.raises(MaskConverError, match=r"is not valid YAML \(line \d+, column \d+: stray \"'\"") as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_values_in_errors_are_short(document: dict[str, Any], tmp_path: Path) -> None:
    document["task"]["model"]["num_classes"] = [[list(range(100))] * 100] * 100
    with pytest.raises(MaskConverError) as caught:
        read_config(write(tmp_path / "c.yaml", document))
    assert len(str(caught.value)) < 300


def test_the_area_threshold_of_the_hardware_variant_follows_the_masks(data: Path) -> None:
    config = read_config(data / "tiny_96" / "config_hw.yaml")
    assert config.with_input_size((192, 96)).small_area_threshold == 2 * config.small_area_threshold


def test_yaml_tags_as_model_garden_writes_them(data: Path, tmp_path: Path) -> None:
    """Tuples are lists everywhere, and objects outside the model's section do not matter and are not made."""
    text = (data / "tiny_96" / "config.yaml").read_text()
    size = re.sub(r"input_size:\n((\s+)- )", r"input_size: !!python/tuple\n\1", text)
    assert size != text
    further = "runtime:\n  a: !!python/object/apply:os.system ['exit 1']\n  b: !Call {a: 1}\n  c: !!python/tuple [1]\n"
    path = tmp_path / "c.yaml"
    path.write_text(size + further)
    assert read_config(path) == read_config(data / "tiny_96" / "config.yaml")


@pytest.mark.parametrize("tag", ["!!python/object:official.Config", "!mine", "!!python/name:os.system"])
def test_objects_in_the_model_are_refused(tag: str, data: Path, tmp_path: Path) -> None:
    text = (data / "tiny_96" / "config.yaml").read_text()
    path = tmp_path / "c.yaml"
    path.write_text(re.sub(r"(?m)^(\s+)num_instances: .*", rf"\1num_instances: {tag} {{a: 1}}", text))
    with pytest.raises(MaskConverError, match=r"c\.yaml: line \d+: task\.model holds an object .*; write its values"):
        read_config(path)
