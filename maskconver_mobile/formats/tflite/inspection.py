"""The tensors and operators of a .tflite file."""

from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats.inspection import ModelInfo, OperatorInfo, TensorInfo
from maskconver_mobile.formats.tflite.file import read_tflite, text_of

_TYPES = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
MAX_PARTS = 100_000
TENSOR_NAME_SLOT = 10
"""Where a tensor's table has its name."""
_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


def inspect_tflite(path: Path) -> ModelInfo:
    """Read a .tflite file.

    Raises:
        MaskConverError: it is no model of ours.
    """
    file = read_tflite(path)
    try:
        _check_bounds(schema.Model.GetRootAs(file.content, 0))
        model = schema.ModelT.InitFromPackedBuf(file.content, 0)
        graph = model.subgraphs[0]
        tensors = [_tensor(model, t) for t in graph.tensors]
        operators = tuple(_operator(model, op, tensors) for op in graph.operators)
        inputs, outputs = (tuple(tensors[i] for i in indices) for indices in (graph.inputs, graph.outputs))
    except Exception as error:  # a damaged flatbuffer sends its generated reader anywhere
        raise MaskConverError(f"{path}: is a damaged TFLite model, truncated or overwritten") from error
    return ModelInfo(file.card, file.content, inputs, outputs, operators)


def _check_bounds(model: schema.Model) -> None:
    """Tables of a flatbuffer may share their parts, so that a small file could become large when it is unpacked."""
    graphs = [model.Subgraphs(i) for i in range(min(model.SubgraphsLength(), MAX_PARTS))]
    parts = sum(graph.TensorsLength() + graph.OperatorsLength() for graph in graphs)
    if max(parts, model.SubgraphsLength(), model.BuffersLength(), model.OperatorCodesLength()) > MAX_PARTS:
        raise ValueError("too many parts")
    for graph in graphs:
        for i in range(graph.TensorsLength()):
            text_of(graph.Tensors(i), TENSOR_NAME_SLOT)


def _tensor(model: schema.ModelT, tensor: schema.TensorT) -> TensorInfo:
    shape = tuple(int(v) for v in tensor.shape) if tensor.shape is not None else ()
    data = model.buffers[tensor.buffer].data
    constant = data is not None and len(data) > 0
    return TensorInfo(tensor.name.decode(), _TYPES[tensor.type], shape, constant)


def _operator(model: schema.ModelT, operator: schema.OperatorT, tensors: list[TensorInfo]) -> OperatorInfo:
    code = model.operatorCodes[operator.opcodeIndex]
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    kind = code.customCode.decode() if builtin == schema.BuiltinOperator.CUSTOM else _OPERATORS[builtin]
    inputs, outputs = (
        tuple(tensors[i] for i in (() if indices is None else indices) if i >= 0)
        for indices in (operator.inputs, operator.outputs)
    )
    return OperatorInfo(kind, inputs, outputs)
