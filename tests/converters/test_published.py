"""The published configurations, by name: each is read, or refused with its reason."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import yaml
from checkpoints import Recorder
from published import CONVERTS, MERGE, UNET, Model, single, spinenet

from maskconver_mobile.converters.compiler import plain_graph
from maskconver_mobile.converters.config import ModelConfig, read_config
from maskconver_mobile.converters.graph.emit import multiply_adds
from maskconver_mobile.converters.graph.operations import Matmul
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.errors import MaskConverError

STRAY = "  validation_data:\n    input_path: 'minival2014''\n"
NO_SOURCE = "backbone.type is spinenet_seg, which is not supported: it has no published source"
QUOTE = r"is not valid YAML \(line \d+, column \d+: stray"
OTHER = (
    "has none of class_head, mask_embedding_head, per_pixel_embedding_head: this is the configuration of another task"
)
DEEPLAB = {
    "num_classes": 91,
    "backbone": {"type": "resnet_unet", "resnet_unet": UNET},
    "decoder": {"type": "fpn", "fpn": {"num_filters": 256}},
    "head": {"feature_fusion": "pyramid_fusion"},
}
CLASSIFIER = {"num_classes": 1001, "backbone": {"type": "resnet_unet", "resnet_unet": UNET}}
REFUSED: dict[str, tuple[Model, str, str]] = {
    "maskconver_spinenetseg_coco": (spinenet(), "", NO_SOURCE),
    "maskconver_seg_spinenetseg_se_pascal": (spinenet(), "", NO_SOURCE),
    "maskconver_seg_spinenetseg_se_coco": (spinenet(num_classes=91), STRAY, QUOTE),
    "maskconver_seg_mobilenetv3p5_rf_coco": (single([640, 640], MERGE, num_classes=91), STRAY, QUOTE),
    "resnetu_cocoseg_tpu": (DEEPLAB, STRAY, QUOTE),
    "resnetu_cocoseg_tpu, its quote mended": (DEEPLAB, "", OTHER),
    "imagenet_resnetunet_tpu": (CLASSIFIER, "", OTHER),
}


def read(model: Model, tmp_path: Path, more: str = "") -> ModelConfig:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"task": {"model": deepcopy(model)}}) + more)
    return read_config(path)


@pytest.mark.parametrize("name", CONVERTS)
def test_is_read(name: str, tmp_path: Path) -> None:
    model, experiment = CONVERTS[name]
    config = read(model, tmp_path)
    assert config.experiment == experiment
    assert config.semantic == ("_seg_" in name)
    assert config.rescale_predictions == ("dlv3psummerge_cityscapes" not in name)


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_with_its_reason(name: str, tmp_path: Path) -> None:
    model, more, reason = REFUSED[name]
    with pytest.raises(MaskConverError, match=reason) as caught:
        read(model, tmp_path, more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["MobileNetV4HybridMedium", "MobileNetV4HybridLarge"])
def test_attention_is_refused(name: str, tmp_path: Path) -> None:
    model = single([256, 256], MERGE)
    model["backbone"]["mobilenet"]["model_id"] = name
    with pytest.raises(MaskConverError, match=f"is {name}, which needs attention"):
        read(model, tmp_path)


def shapes_only() -> Recorder:
    """Weights that take no memory."""
    return Recorder(lambda path, shape: np.broadcast_to(np.float32(1), shape))


@pytest.mark.parametrize(
    ("name", "size", "parameters", "operations"),
    [
        ("multiscale_maskconver_resnetufpn_coco", (640, 640), 57.85e6, 72.8e9),
        ("multiscale_maskconver_resnetufpn_coco", (1280, 1280), 57.85e6, 290.9e9),
        ("multiscale_maskconver_resnet50fpn_coco", (640, 640), 42.07e6, 137.8e9),
    ],
)
def test_sizes_are_the_published_ones(
    name: str, size: tuple[int, int], parameters: float, operations: float, tmp_path: Path
) -> None:
    config = read(CONVERTS[name][0], tmp_path).with_input_size(size)
    weights = shapes_only()
    graph = plain_graph(config, weights, GraphSpec("masks", "reference")).graph
    assert sum(array.size for array in weights.arrays.values()) == pytest.approx(parameters, rel=2e-4)
    # The published figures count layers, and not the product that makes mask logits.
    (product,) = graph.of(Matmul)
    masks = int(np.prod(product.output.shape)) * config.embedding_size
    assert multiply_adds(graph) - masks == pytest.approx(operations, rel=5e-4)
