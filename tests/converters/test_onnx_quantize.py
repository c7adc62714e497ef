"""Recipes on .onnx files: what turns integer and what must not, how much of the answer is kept, and bad input."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import Models, golden_inputs
from numpy.typing import NDArray
from onnx import numpy_helper

from maskconver_mobile.converters.backends.onnx.quantize import find_operations, quantize_onnx
from maskconver_mobile.converters.quantization.float_graph import WEIGHT_LIMIT
from maskconver_mobile.converters.quantization.policy import NETWORK
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.comparison import match_proposals
from maskconver_mobile.segmenter import Segmenter

Tensor = NDArray[np.generic]
LEVELS = ("heads", "masks", "panoptic")
RECIPES = ("float16", "dynamic", "int8")


@pytest.fixture(scope="module")
def images() -> list[Tensor]:
    return golden_inputs()


@pytest.fixture(scope="module")
def quantized(onnx_models: Models, images: list[Tensor], tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    folder = tmp_path_factory.mktemp("quantized")
    paths = {}
    for level in LEVELS:
        plain = onnx_models.get(level)
        for recipe in RECIPES:
            path = paths[level, recipe] = folder / f"{level}_{recipe}.onnx"
            path.write_bytes(quantize_onnx(plain.read_bytes(), Segmenter(plain).card, recipe, calibration=images))
    return paths


def float_model(onnx_models: Models) -> tuple[bytes, Any]:
    path = onnx_models.get("masks")
    return path.read_bytes(), Segmenter(path).card


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("level", LEVELS)
def test_the_file_is_whole(level: str, recipe: str, quantized: dict[Any, Path], onnx_models: Models) -> None:
    path = quantized[level, recipe]
    onnx.checker.check_model(onnx.load(path), full_check=True)
    segmenter = Segmenter(path)
    assert (segmenter.card.level, segmenter.card.recipe) == (level, recipe)
    assert ("onnxruntime" in segmenter.card.tools) == (recipe != "float16")
    assert path.stat().st_size < 0.8 * onnx_models.get(level).stat().st_size
    result = segmenter.segment(np.full((50, 70, 3), 90, np.uint8))
    assert result.panoptic_map.shape == (50, 70)


@pytest.mark.parametrize(("recipe", "kept"), [("float16", 12), ("dynamic", 10), ("int8", 7)])
def test_proposals_are_kept(
    recipe: str, kept: int, quantized: dict[Any, Path], onnx_models: Models, images: list[Tensor]
) -> None:
    plain, other = Segmenter(onnx_models.get("masks")), Segmenter(quantized["masks", recipe])
    for image in images:
        a, b = plain.run_tensor(image), other.run_tensor(image)
        pairs = match_proposals(a, b)
        assert pairs is not None
        assert len(pairs) >= kept
        assert len(np.unique(b["scores"])) == 12


def test_the_network_alone_turns_integer(quantized: dict[Any, Path]) -> None:
    graph = onnx.load(quantized["masks", "int8"]).graph
    made = {name: node for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    integer = [node for node in convolutions if made[node.input[0]].op_type == "DequantizeLinear"]
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in integer:
        if node.name.split("/")[1] == "_classifier":
            assert node.input[1] in weights
            continue
        assert node.name.startswith(NETWORK)
        numbers = [weights[name] for name in made[node.input[1]].input]
        assert numbers[0].dtype == np.int8
        assert np.abs(numbers[0]).max() <= WEIGHT_LIMIT
        magnitudes = np.abs(numbers[0].astype(int)).reshape(len(numbers[0]), -1)
        assert (magnitudes[:, 1:] + magnitudes[:, :-1]).max(initial=0) * 255 <= np.iinfo(np.int16).max
        assert numbers[1].shape == (numbers[0].shape[0],)
        assert weights[made[node.input[2]].input[0]].dtype == np.int32 if len(node.input) > 2 else True
    assert len(integer) == len(convolutions)
    tail = [node for node in graph.node if node.op_type in ("TopK", "Sigmoid", "LayerNormalization")]
    assert len(tail) == 4
    kinds = Counter(made[name].op_type for node in tail for name in node.input if name in made)
    assert kinds["QuantizeLinear"] == 0
    assert [o.type.tensor_type.elem_type for o in graph.output] == [6, 1, 1]


def test_nothing_stands_between_a_convolution_and_its_relu(quantized: dict[Any, Path]) -> None:
    graph = onnx.load(quantized["masks", "int8"]).graph
    made = {name: node.op_type for node in graph.node for name in node.output}
    before = Counter(made[n.input[0]] for n in graph.node if n.op_type == "Relu" and n.name.startswith(NETWORK))
    assert before["Conv"] > 40
    assert before["DequantizeLinear"] == 0


def test_dynamic_leaves_depthwise_and_the_tail_float(quantized: dict[Any, Path]) -> None:
    graph = onnx.load(quantized["masks", "dynamic"]).graph
    counts = Counter(node.op_type for node in graph.node)
    groups = [a.i for n in graph.node if n.op_type == "Conv" for a in n.attribute if a.name == "group"]
    assert counts["ConvInteger"] > 40
    assert sum(g > 1 for g in groups) > 20


def test_layers_can_be_kept_float(onnx_models: Models, images: list[Tensor]) -> None:
    content, card = float_model(onnx_models)
    kept = onnx.load_model_from_string(
        quantize_onnx(content, card, "int8", calibration=images, keep_float=["class_head/*", "backbone/*-3/_conv1"])
    )
    weights = {t.name for t in kept.graph.initializer}
    float_layers = {n.name.rpartition("/")[0] for n in kept.graph.node if n.op_type == "Conv" and n.input[1] in weights}
    assert "backbone/layer_with_weights-3/_conv1" in float_layers
    assert {
        op.layer for op in find_operations(kept, card.roles) if op.layer.startswith("class_head/_convs")
    } <= float_layers
    assert "backbone/layer_with_weights-3/_conv0" not in float_layers


def test_the_same_images_give_the_same_bytes(onnx_models: Models, images: list[Tensor]) -> None:
    content, card = float_model(onnx_models)
    first, second = (quantize_onnx(content, card, "int8", calibration=images) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("int8", {}, "recipe int8 needs calibration images"),
        ("int16x8", {}, r"recipe int16x8 is not for \.onnx files; choose from float16, dynamic, int8, int8-balanced"),
        ("int4", {}, "unknown recipe 'int4'"),
        ("dynamic", {"keep_float": ["nothing/*"]}, "'nothing/\\*' matches no layer"),
    ],
)
def test_mistakes(recipe: str, options: dict[str, Any], message: str, onnx_models: Models) -> None:
    with pytest.raises(MaskConverError, match=message):
        quantize_onnx(*float_model(onnx_models), recipe, **options)


def test_a_quantized_model_is_refused(quantized: dict[Any, Path]) -> None:
    path = quantized["masks", "int8"]
    with pytest.raises(MaskConverError, match="has recipe int8 already"):
        quantize_onnx(path.read_bytes(), Segmenter(path).card, "dynamic")
