"""The tensors and operators of an .onnx file."""

from pathlib import Path
from typing import TYPE_CHECKING

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats.inspection import ModelInfo, OperatorInfo, TensorInfo
from maskconver_mobile.formats.onnx.file import read_onnx

if TYPE_CHECKING:
    import onnx


def inspect_onnx(path: Path) -> ModelInfo:
    """Read an .onnx file.

    Raises:
        MaskConverError: it is no model of ours, or onnx is not installed.
    """
    file = read_onnx(path)
    graph = file.model.graph
    try:
        tensors = {value.name: _tensor(value) for value in (*graph.input, *graph.value_info, *graph.output)}
        tensors.update((t.name, _info(t.name, t.data_type, tuple(t.dims), constant=True)) for t in graph.initializer)
        operators = tuple(
            OperatorInfo(
                node.op_type, *(tuple(tensors[name] for name in names if name) for names in (node.input, node.output))
            )
            for node in graph.node
        )
        inputs, outputs = (tuple(tensors[value.name] for value in group) for group in (graph.input, graph.output))
    except KeyError as error:
        raise MaskConverError(f"{path}: its tensor {error} has no shape; convert it again") from error
    return ModelInfo(file.card, file.content, inputs, outputs, operators)


def _tensor(value: "onnx.ValueInfoProto") -> TensorInfo:
    type_ = value.type.tensor_type
    return _info(value.name, type_.elem_type, tuple(d.dim_value for d in type_.shape.dim))


def _info(name: str, kind: int, shape: tuple[int, ...], *, constant: bool = False) -> TensorInfo:
    from onnx import TensorProto, helper

    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind).name
    except KeyError:  # one that NumPy does not have, or none at all
        names = {number: known.lower() for known, number in TensorProto.DataType.items()}
        dtype = names.get(kind, f"type {kind}")
    return TensorInfo(name, dtype, shape, constant)
