"""Equalized channels: the same answer in float, and evenly reaching channels."""

import numpy as np
import onnx
import onnxruntime
import pytest
from models import Models, golden_inputs, run_tflite
from numpy.typing import NDArray

from maskconver_mobile.converters.backends.onnx.float_graph import OnnxFloatGraph
from maskconver_mobile.converters.backends.tflite.flatbuffer import Flatbuffer
from maskconver_mobile.converters.backends.tflite.float_graph import FlatbufferGraph, observe
from maskconver_mobile.converters.backends.tflite.late_bias import add_biases_early
from maskconver_mobile.converters.quantization.equalization import MAPS, balance, equalize
from maskconver_mobile.formats.tflite.file import read_tflite


def equalized_form(content: bytes) -> bytes:
    graph = FlatbufferGraph(content)
    equalize(graph, golden_inputs())
    return graph.content


def test_depthwise_readers_let_all_channels_reach_alike() -> None:
    reach = np.array([4, 1, 0.25], np.float32)
    np.testing.assert_allclose(reach / balance(reach, None), np.ones(3), rtol=1e-6)


def test_dense_readers_take_the_smaller_part_of_the_spread() -> None:
    reach, weights = np.array([8, 1, 0.5], np.float32), np.array([0.5, 1, 4], np.float32)
    scale = balance(reach, weights)
    evened, loaded = reach / scale, weights * scale
    np.testing.assert_allclose(evened / evened.max(), (loaded / loaded.max()) ** ((1 - MAPS) / MAPS), rtol=1e-5)
    assert np.ptp(np.log(evened)) < np.ptp(np.log(loaded)) < np.ptp(np.log(reach))


def test_silent_channels_stay_finite() -> None:
    scale = balance(np.array([3, 0], np.float32), np.array([0, 0], np.float32))
    assert np.isfinite(scale).all()
    assert (scale > 0).all()


@pytest.mark.parametrize("level", ["heads", "masks"])
def test_the_answer_stays(level: str, models: Models) -> None:
    content, inputs = read_tflite(models.get(level)).content, golden_inputs()
    equalized = equalized_form(content)
    for image in inputs:
        expected, found = run_tflite(content, image), run_tflite(equalized, image)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, atol=1e-4 * np.abs(array).max(), rtol=0)


def test_channels_come_closer(models: Models) -> None:
    """What a depthwise convolution reads: afterwards no channel reaches further than the others."""
    content, inputs = add_biases_early(read_tflite(models.get()).content), golden_inputs()

    def unevenness(model: bytes) -> float:
        flatbuffer = Flatbuffer(model)
        names = [flatbuffer.name(int(op.outputs[0])) for op in flatbuffer.graph.operators]
        wanted = next(name for name in names if name.startswith("backbone/layer_with_weights-1/_conv0/"))
        reach: list[NDArray[np.float32]] = []
        observe(model, [wanted], inputs, lambda _, x: reach.append(np.abs(x).max((0, 1, 2))))
        largest = np.max(reach, 0)
        return float(largest.max() / np.median(largest[largest > 0]))

    assert unevenness(content) > 1.2
    assert unevenness(equalized_form(content)) < 1.01


def test_onnx_keeps_its_answer_too(onnx_models: Models) -> None:
    path, inputs = onnx_models.get("heads"), golden_inputs()
    model = onnx.load(path)
    kernels = len(model.graph.initializer)
    equalize(OnnxFloatGraph(model), inputs)
    assert len(model.graph.initializer) >= kernels
    sessions = [
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        for content in (path.read_bytes(), model.SerializeToString())
    ]
    for image in inputs:
        for expected, found in zip(*(session.run(None, {"image": image}) for session in sessions), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
