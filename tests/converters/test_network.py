"""Configurations that the golden checkpoints do not cover, against the plain network."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_network
import tensorflow as tf
import yaml
from checkpoints import random_weights
from models import run_tflite

from maskconver_mobile.converters.backends.tflite import placeholders
from maskconver_mobile.converters.backends.tflite.export import to_tflite
from maskconver_mobile.converters.config import ModelConfig, read_config
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.errors import MaskConverError

HEADS = ("class_head", "mask_embedding_head", "per_pixel_embedding_head")


Model = dict[str, Any]


def vary(data: Path, decoder: Model, head: Model, **model: Any) -> Model:
    """`task.model` of the tiny network with other keys."""
    document: Model = deepcopy(yaml.safe_load((data / "tiny_96" / "config.yaml").read_text())["task"]["model"])
    document["backbone"]["mobilenet"] |= {key: model.pop(key) for key in BACKBONE if key in model}
    document["decoder"]["aspp"] |= decoder
    for name in HEADS:
        document[name] |= head
    return document | model


def read(model: Model, tmp_path: Path) -> ModelConfig:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"task": {"model": model}}))
    return read_config(tmp_path / "config.yaml")


BACKBONE = ("model_id", "filter_size_scale", "output_stride")
VARIANTS: dict[str, tuple[Model, Model, Model]] = {
    "max backbone, non-square": ({}, {}, {"model_id": "MobileNetMultiMAXSeg", "input_size": [64, 112, 3]}),
    "odd size": ({}, {}, {"input_size": [75, 101, 3]}),
    "concatenating fusion": ({}, {"feature_fusion": "deeplabv3plus", "low_level_num_filters": 16}, {}),
    "no fusion": ({}, {"feature_fusion": None}, {}),
    "layer norm": ({}, {"use_layer_norm": True}, {}),
    "pooling windows": ({"pool_kernel_size": [48, 48]}, {}, {}),
    "other rates and widths": (
        {"dilation_rates": [2, 5], "num_filters": 16},
        {"low_level_num_filters": 16, "num_filters": 32, "num_convs": 1, "depthwise_kernel_size": 3},
        {"filter_size_scale": 0.35, "embedding_size": 16, "num_classes": 12},
    ),
    "no separable convolutions": ({}, {"num_convs": 0}, {}),
    "ordinary convolutions, larger maps": (
        {},
        {"use_depthwise_convolution": False, "upsample_factor": 2, "prediction_kernel_size": 3},
        {},
    ),
    "larger kernels, deeper heads": ({}, {"depthwise_kernel_size": 9, "num_convs": 3}, {}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_equals_the_plain_network(name: str, data: Path, tmp_path: Path) -> None:
    decoder, head, keys = VARIANTS[name]
    model = vary(data, decoder, head, **keys)
    config, weights = read(model, tmp_path), random_weights()
    content = to_tflite(config, weights, GraphSpec(level="heads", input_type="float32"))
    image = np.random.default_rng(1).normal(size=(1, *config.input_size, 3)).astype(np.float32)
    expected = reference_network.heads(weights, model, image)
    found = run_tflite(content, image)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].shape == value.shape
        np.testing.assert_allclose(found[key], value, atol=1e-4 * np.abs(value).max(), rtol=0, err_msg=key)


def test_the_plain_network_equals_the_original(data: Path) -> None:
    from maskconver_mobile.converters.checkpoint import read_checkpoint

    golden = np.load(data / "tiny_96" / "golden.npz")
    found = reference_network.heads(read_checkpoint(data / "tiny_96"), vary(data, {}, {}), golden["images"][:1])
    for key, name in (
        ("class_heatmap", "class_heatmaps"),
        ("mask_embedding_map", "mask_embeddings_dense"),
        ("pixel_embeddings", "per_pixel_embeddings"),
    ):
        expected = golden[name][:1]
        np.testing.assert_allclose(found[key], expected, atol=1e-4 * np.abs(expected).max(), rtol=0)


def test_sum_fusion_needs_equal_widths(data: Path, tmp_path: Path) -> None:
    config = read(vary(data, {}, {"low_level_num_filters": 16}), tmp_path)
    with pytest.raises(MaskConverError, match="low_level_num_filters = 24"):
        to_tflite(config, random_weights(), GraphSpec(level="heads"))


def test_placeholders_leave_no_trace(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    """Kernels that are put in afterwards make the file that the converter makes of the kernels themselves."""
    config, weights = read_config(data / "tiny_96" / "config.yaml"), random_weights()
    plain = to_tflite(config, weights, GraphSpec("masks"))
    monkeypatch.setattr(placeholders, "LARGE", 500)
    filled = to_tflite(config, weights, GraphSpec("masks"))
    image = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype(np.float32)
    expected, found = run_tflite(plain, image), run_tflite(filled, image)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)
    assert abs(len(filled) - len(plain)) < 0.01 * len(plain)


def test_placeholders_that_the_converter_changed_are_noticed() -> None:
    holders = placeholders.Placeholders()
    kernel = np.ones((1, 1, 256, 256), np.float32)

    def double(x: Any) -> Any:
        return tf.nn.conv2d(x, holders.constant(kernel, (3, 0, 1, 2)) * 2.0, 1, "SAME")

    function = tf.function(double, input_signature=[tf.TensorSpec([1, 2, 2, 256])], autograph=False)
    module = tf.Module()
    module.serve = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    assert holders.fill(bytes(converter.convert())) is None
