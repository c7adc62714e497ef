"""Model files of one operator, written by hand: no converter needed."""

from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

SHAPE = (1, 8, 8, 3)


def write_tflite(path: Path) -> Path:
    """A float32 model `y = sigmoid(x)`."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LOGISTIC
    model.operatorCodes = [code]
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor("x"), _tensor("y")]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(builder.Output())
    return path


def _tensor(name: str) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name, list(SHAPE), schema.TensorType.FLOAT32
    return tensor


def write_onnx(path: Path) -> Path:
    """The same as an ONNX file."""
    from onnx import TensorProto, helper, save

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy")
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"], name="s")], "tiny", [x], [y])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
