"""Depthwise convolutions and resizes as matrix products, against TensorFlow's, and their shape in the graph."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from models import Models
from onnx.helper import get_attribute_value

from maskconver_mobile.converters.backends.onnx.banded import interpolation
from maskconver_mobile.converters.backends.onnx.graph import OnnxGraph, tensor_type
from maskconver_mobile.converters.backends.onnx.ops import OnnxOps
from maskconver_mobile.converters.backends.onnx.quantize import quantize_onnx
from maskconver_mobile.converters.backends.onnx.tensor import OnnxTensor
from maskconver_mobile.converters.backends.tflite.ops import TensorFlowOps
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.segmenter import Segmenter

RNG = np.random.default_rng(0)


def model_of(build: Any, x: np.ndarray) -> onnx.ModelProto:
    graph = OnnxGraph()
    y = build(OnnxOps(graph, banded=True), OnnxTensor(graph, "x", x.shape, x.dtype)).laid_out(False)
    return graph.model({"x": tensor_type(x.dtype, x.shape)}, {"y": (y.name, tensor_type(y.dtype, y.shape))})


def loaded(model: onnx.ModelProto, path: Path) -> tuple[onnxruntime.InferenceSession, onnx.GraphProto]:
    """A session, and the graph once constants are folded."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, onnx.load(path).graph


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(
    ("size", "taps", "stride", "dilation"),
    [
        ((32, 32), 7, 1, 1),
        ((24, 20), 7, 1, 1),
        ((13, 9), 5, 1, 1),
        ((32, 30), 5, 2, 1),
        ((15, 17), 5, 2, 1),
        ((64, 10), 3, 2, 1),
        ((16, 16), 5, 1, 2),
        ((16, 11), 3, 1, 6),
        ((24, 8), 3, 1, 2),
    ],
)
def test_depthwise(size: tuple[int, int], taps: int, stride: int, dilation: int, relu: bool, tmp_path: Path) -> None:
    """Tiles or all rows, odd sizes, strides and dilation; the runtime can multiply without gathering taps."""
    x = RNG.normal(size=(1, *size, 5)).astype(np.float32)
    kernel, bias = RNG.normal(size=(taps, taps, 5, 1)).astype(np.float32), RNG.normal(size=5).astype(np.float32)
    settings: dict[str, Any] = {
        "stride": stride,
        "dilation": (dilation, dilation),
        "activation": "relu" if relu else None,
    }
    expected = TensorFlowOps().depthwise(x, kernel, bias, **settings).numpy()
    session, graph = loaded(model_of(lambda ops, x: ops.depthwise(x, kernel, bias, **settings), x), tmp_path / "m")
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, atol=2e-5)
    assert "Gather" not in {node.op_type for node in graph.node}
    (conv,) = (node for node in graph.node if node.op_type == "Conv")
    attributes = {a.name: get_attribute_value(a) for a in conv.attribute}
    assert set(attributes.get("pads", [0])) == {0}
    assert set(attributes.get("strides", [1])) == set(attributes.get("dilations", [1])) == {1}
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    assert attributes["kernel_shape"][1] == shapes[conv.input[0]][3]


@pytest.mark.parametrize(
    ("size", "taps", "stride", "dilation"),
    [((32, 32), 3, 1, 1), ((32, 32), 1, 1, 1), ((17, 17), 7, 1, 1), ((32, 32), 3, 2, 2), ((64, 64), 3, 1, 18)],
)
def test_depthwise_that_stays(size: tuple[int, int], taps: int, stride: int, dilation: int, tmp_path: Path) -> None:
    """What the runtime has a kernel for, what no tile divides, and bands that would be mostly zeros."""
    x, kernel = np.zeros((1, *size, 2), np.float32), np.ones((taps, taps, 2, 1), np.float32)

    def build(ops: OnnxOps, x: OnnxTensor) -> OnnxTensor:
        return ops.depthwise(x, kernel, None, stride=stride, dilation=(dilation, dilation))

    (conv,) = (node for node in model_of(build, x).graph.node if node.op_type == "Conv")
    assert {a.name: get_attribute_value(a) for a in conv.attribute}["kernel_shape"] == [taps, taps]


@pytest.mark.parametrize(("size", "target"), [((4, 6), (8, 12)), ((5, 3), (7, 9)), ((9, 8), (4, 8)), ((1, 1), (3, 2))])
def test_resize(size: tuple[int, int], target: tuple[int, int], tmp_path: Path) -> None:
    x = RNG.normal(size=(1, *size, 3)).astype(np.float32)
    session, _ = loaded(model_of(lambda ops, x: ops.resize(x, target), x), tmp_path / "m")
    expected = TensorFlowOps().resize(tf.constant(x), target).numpy()
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, atol=1e-6)


def test_interpolation_weights() -> None:
    np.testing.assert_allclose(interpolation(2, 4), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])


def test_only_the_float_form_exists(onnx_models: Models) -> None:
    path = onnx_models.get("masks", "arm")
    card = Segmenter(path).card
    for recipe in ("dynamic", "int8"):
        with pytest.raises(MaskConverError, match=r"target arm.*convert it for target cpu"):
            quantize_onnx(path.read_bytes(), card, recipe, calibration=[np.zeros((1, 96, 96, 3), np.float32)])
    assert len(quantize_onnx(path.read_bytes(), card, "float16")) < path.stat().st_size


def test_a_matrix_is_not_stored(onnx_models: Models) -> None:
    plain, banded = (onnx_models.get("masks", target) for target in ("cpu", "arm"))
    assert banded.stat().st_size < 1.2 * plain.stat().st_size
