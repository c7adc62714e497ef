"""Operations of the ONNX vocabulary alone, against TensorFlow's or plain NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from maskconver_mobile.converters.backends.onnx.graph import OnnxGraph, tensor_type
from maskconver_mobile.converters.backends.onnx.ops import OnnxOps
from maskconver_mobile.converters.backends.onnx.tensor import OnnxTensor
from maskconver_mobile.converters.backends.tflite.ops import TensorFlowOps

Build = Callable[[OnnxOps, OnnxTensor], list[OnnxTensor]]


def run(build: Build, x: np.ndarray) -> tuple[list[np.ndarray], onnx.ModelProto]:
    """The results for an input whose channels lie side by side."""
    graph = OnnxGraph()
    made = [y.laid_out(False) for y in build(OnnxOps(graph), OnnxTensor(graph, "x", x.shape, x.dtype))]
    outputs = {f"y{i}": (y.name, tensor_type(y.dtype, y.shape)) for i, y in enumerate(made)}
    model = graph.model({"x": tensor_type(x.dtype, x.shape)}, outputs)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(list(outputs), {"x": x}), model


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("size", "kernel"), [((8, 8), (3, 3)), ((7, 10), (3, 5)), ((9, 6), (2, 4)), ((5, 5), (1, 1))])
def test_convolution_of_an_image(size: tuple[int, int], kernel: tuple[int, int], stride: int, planar: bool) -> None:
    """In either layout it pads as TensorFlow does; the one as it lies needs no Transpose."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, *size, 3)).astype(np.float32)
    weights, bias = rng.normal(size=(*kernel, 3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)

    def build(ops: OnnxOps, image: OnnxTensor) -> list[OnnxTensor]:
        return [ops.conv(ops.planar(image) if planar else image, weights, bias, stride=stride, activation="relu")]

    (found,), model = run(build, x)
    expected = TensorFlowOps().conv(x, weights, bias, stride=stride, activation="relu").numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    transposed = {node.input[0] for node in model.graph.node if node.op_type == "Transpose"}
    assert ("x" in transposed) == planar


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize(("rows", "columns", "k"), [(12, 7, 5), (12, 7, 21), (12, 7, 40), (9, 7, 63), (5, 3, 1)])
def test_the_largest_cells(rows: int, columns: int, k: int, staged: bool, planar: bool) -> None:
    """4, 2 and 1 parts, and whole parts taken."""
    x = np.random.default_rng(0).permutation(rows * columns).astype(np.float32).reshape(1, 1, rows, columns)

    def build(ops: OnnxOps, map_: OnnxTensor) -> list[OnnxTensor]:
        return list(ops.top_k_cells(ops.planar(map_) if planar else map_, k, staged=staged))

    (values, row, column), _ = run(build, x)
    order = np.argsort(-x.ravel())[:k]
    np.testing.assert_array_equal(values, x.ravel()[order])
    np.testing.assert_array_equal(row, order // columns)
    np.testing.assert_array_equal(column, order % columns)


@pytest.mark.parametrize("planar", [False, True])
def test_equal_cells_of_a_column_take_the_lower_row(planar: bool) -> None:
    x = np.zeros((1, 1, 8, 3), np.float32)

    def build(ops: OnnxOps, map_: OnnxTensor) -> list[OnnxTensor]:
        return list(ops.top_k_cells(ops.planar(map_) if planar else map_, 6, staged=True))

    (values, row, column), _ = run(build, x)
    assert (values == 0).all()
    cells = list(zip(column, row, strict=True))
    assert len(set(cells)) == 6
    assert all(r == 0 or (c, r - 1) in cells for c, r in cells)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("indices", [np.array([3, 0, 3]), np.array([[1, 2], [5, 5]])])
def test_rows_of_a_matrix(indices: np.ndarray, planar: bool) -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 5)).astype(np.float32)

    def build(ops: OnnxOps, map_: OnnxTensor) -> list[OnnxTensor]:
        matrix: Any = ops.reshape(ops.planar(map_) if planar else map_, [6, 5])
        return [ops.gather(matrix, ops.constant(indices, np.int64))]

    (found,), _ = run(build, x)
    np.testing.assert_array_equal(found, x.reshape(6, 5)[indices])
