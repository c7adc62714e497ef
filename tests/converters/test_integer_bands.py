"""Depthwise convolutions put together again and banded: the same answer in floats, and the structure in integers."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from models import DEMO_CHECKPOINT, DEMO_CONFIG

from maskconver_mobile.converters.backends.tflite.flatbuffer import Flatbuffer
from maskconver_mobile.converters.backends.tflite.integer_bands import (
    band_depthwise,
    band_matrix,
    is_band,
    merge_pieces,
)
from maskconver_mobile.converters.backends.tflite.ops import TensorFlowOps
from maskconver_mobile.converters.passes.split_depthwise import pieces

RNG = np.random.default_rng(0)


def layer(size: tuple[int, int], taps: int, relu: bool) -> tuple[bytes, np.ndarray]:
    """A split depthwise layer of 3 channels between two 1x1 convolutions, and an input."""
    ops, shape = TensorFlowOps(), (1, *size, 3)
    kernel, dense = (RNG.normal(size=s).astype(np.float32) for s in ((taps, taps, 3, 1), (1, 1, 3, 3)))
    bias = RNG.normal(size=3).astype(np.float32)

    def graph(x: tf.Tensor) -> tf.Tensor:
        with ops.scope("class_head/_convs/0"):
            x = ops.conv(x, dense, bias)
            parts = [
                ops.depthwise(x, piece.kernel, bias if i == 0 else None, dilation=piece.dilation)
                for i, piece in enumerate(pieces(kernel))
            ]
            y = sum(parts[1:], parts[0])
            return ops.conv(ops.relu(y) if relu else y, dense, bias)

    function = tf.function(graph, input_signature=[tf.TensorSpec(shape, tf.float32)])
    content = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()]).convert()
    return bytes(content), RNG.normal(size=shape).astype(np.float32)


def run(content: bytes, x: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    result: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return result


def kinds(content: bytes) -> Counter[str]:
    flatbuffer = Flatbuffer(content)
    return Counter(flatbuffer.kind(op) for op in flatbuffer.graph.operators)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("size", "taps", "tiles"), [((32, 32), 7, 2), ((16, 9), 7, 1), ((24, 10), 9, 3)])
def test_the_answer_stays(size: tuple[int, int], taps: int, tiles: int, relu: bool) -> None:
    content, x = layer(size, taps, relu)
    merged = merge_pieces(content)
    banded = band_depthwise(merged)
    assert kinds(content)["ADD"] >= 4
    assert (kinds(merged)["DEPTHWISE_CONV_2D"], kinds(merged)["ADD"]) == (1, 0)
    assert (kinds(banded)["DEPTHWISE_CONV_2D"], kinds(banded)["SLICE"]) == (0, tiles)
    for changed in (merged, banded):
        np.testing.assert_allclose(run(changed, x), run(content, x), atol=1e-4)


def test_what_no_tile_divides_stays_in_pieces() -> None:
    content, _ = layer((12, 12), 7, relu=True)
    assert kinds(band_depthwise(merge_pieces(content))) == kinds(content)


def test_operators_carry_their_layer() -> None:
    flatbuffer = Flatbuffer(band_depthwise(merge_pieces(layer((16, 16), 7, relu=True)[0])))
    names = [flatbuffer.name(int(op.outputs[0])) for op in flatbuffer.graph.operators]
    bands = [name for name in names if is_band(name)]
    assert len(bands) == len(set(bands)) == 9
    assert {name.rpartition("/")[0] for name in bands} == {"class_head/_convs/0"}


def test_band_matrix() -> None:
    kernel = RNG.normal(size=(1, 3, 3, 2)).astype(np.float32)
    matrix = band_matrix(kernel, 4)
    assert matrix.shape == (8, 1, 3, 6)
    column = RNG.normal(size=6).astype(np.float32)
    for channel in range(2):
        for j in range(3):
            expected = np.correlate(column, kernel[0, :, j, channel], "valid")
            np.testing.assert_allclose(matrix[4 * channel : 4 * channel + 4, 0, j] @ column, expected, rtol=1e-5)


@pytest.mark.slow
def test_an_integer_file_has_no_large_depthwise_convolution(tmp_path: Path) -> None:
    from maskconver_mobile.converters.convert import convert
    from maskconver_mobile.converters.quantization.quantize_file import quantize_file
    from maskconver_mobile.formats.tflite.file import read_tflite
    from maskconver_mobile.segmenter import DEFAULT_MODEL

    plain, integer = tmp_path / "plain.tflite", tmp_path / "int8.tflite"
    convert(DEMO_CONFIG, DEMO_CHECKPOINT, plain)
    quantize_file(plain, integer, "int8", calibration=DEFAULT_MODEL.with_name("photos"), num_calibration=2)
    flatbuffer = Flatbuffer(read_tflite(integer).content)
    bands = [op for op in flatbuffer.graph.operators if is_band(flatbuffer.name(int(op.outputs[0])).split(";")[0])]
    assert Counter(flatbuffer.kind(op) for op in bands)["CONV_2D"] == 5
    assert not any(flatbuffer.is_float(int(op.outputs[0])) for op in bands)
