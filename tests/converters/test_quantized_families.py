"""Networks whose levels share layers, in integers: what one scale does not have."""

from typing import Any

import numpy as np
import pytest
import yaml
from checkpoints import random_weights
from models import run_tflite
from onnxruntime import InferenceSession

from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.backends.onnx.export import to_onnx
from maskconver_mobile.converters.backends.onnx.quantize import quantize_onnx
from maskconver_mobile.converters.backends.tflite.export import to_tflite
from maskconver_mobile.converters.backends.tflite.quantize import quantize
from maskconver_mobile.converters.compiler import compile_graph
from maskconver_mobile.converters.config import ModelConfig, read_config
from maskconver_mobile.converters.describe import make_card
from maskconver_mobile.converters.quantization.policy import layer_roles
from maskconver_mobile.converters.spec import GraphSpec

pytestmark = pytest.mark.slow
HEAD = {"num_convs": 1, "num_filters": 8, "use_depthwise_convolution": True, "prediction_kernel_size": 1}
MODEL: dict[str, Any] = {
    "input_size": [128, 128, 3],
    "padded_output_size": [128, 128],
    "num_classes": 9,
    "num_thing_classes": 4,
    "num_instances": 5,
    "embedding_size": 8,
    "min_level": 3,
    "max_level": 6,
    "norm_activation": {"activation": "swish"},
    "backbone": {"type": "resnet", "resnet": {"depth_multiplier": 0.0625}},
    "decoder": {"type": "fpn", "fpn": {"num_filters": 8}},
    "class_head": HEAD,
    "mask_embedding_head": HEAD,
    "per_pixel_embedding_head": {**HEAD, "level": 3},
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelConfig, Any, ModelCard]:
    path = tmp_path_factory.mktemp("pyramid") / "config.yaml"
    path.write_text(yaml.safe_dump({"task": {"model": MODEL}}))
    config, weights = read_config(path), random_weights()
    graph, _ = compile_graph(config, weights, SPEC, "tflite")
    return config, weights, make_card(config, weights, SPEC, "float32", "pyramid", (), roles=layer_roles(graph))


SPEC = GraphSpec("heads", input_type="uint8")
IMAGES = list(np.random.default_rng(0).integers(0, 256, (4, 1, 16, 16, 3), np.uint8).repeat(8, 2).repeat(8, 3))


def run_onnx(content: bytes, image: Any) -> dict[str, Any]:
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image}), strict=True))


@pytest.mark.parametrize(
    ("write", "turn", "run"),
    [(to_tflite, quantize, run_tflite), (to_onnx, quantize_onnx, run_onnx)],
    ids=["tflite", "onnx"],
)
def test_a_pyramid_in_integers(write: Any, turn: Any, run: Any, network: Any) -> None:
    config, weights, card = network
    content = write(config, weights, SPEC)
    integers = turn(content, card, "int8", calibration=IMAGES)
    expected, found = run(content, IMAGES[0]), run(integers, IMAGES[0])
    for name, tensor in expected.items():
        noise = np.square(found[name] - tensor).sum()
        signal = np.square(tensor - tensor.mean((0, 1, 2))).sum()
        print(name, 10 * np.log10(signal / noise))
        assert 10 * np.log10(signal / noise) > 5, name
