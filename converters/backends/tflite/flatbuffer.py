"""Reading and changing the graph inside a TFLite flatbuffer."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from maskconver_mobile.formats.tflite.file import pack

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int32): schema.TensorType.INT32,
}
KINDS: dict[int, str] = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
FLOAT32 = schema.TensorType.FLOAT32
VERSIONS = {schema.BuiltinOperator.RESHAPE: 1, schema.BuiltinOperator.DEQUANTIZE: 3, schema.BuiltinOperator.ONE_HOT: 1}
"""Of operators that are added, if not 2: DEQUANTIZE takes float16 from version 3 on."""


class Flatbuffer:
    """A parsed flatbuffer.

    Attributes:
        model: the schema's object tree.
        graph: its main subgraph; others are the branches of conditions, and stay as they are.
    """

    def __init__(self, content: bytes) -> None:
        """Parse; buffers that stand behind the flatbuffer are brought inside."""
        self.model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
        self.graph: Any = self.model.subgraphs[0]
        for buffer in self.model.buffers:
            if buffer.offset > 1:
                buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
                buffer.offset = buffer.size = 0

    def to_bytes(self) -> bytes:
        """Serialise what is in use."""
        self._drop_unused()
        return pack(self.model)

    def kind(self, operator: Any) -> str:
        """The builtin's name, such as CONV_2D."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        return KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def name(self, tensor: int) -> str:
        """A tensor's name."""
        name: str = self.graph.tensors[tensor].name.decode()
        return name

    def shape(self, tensor: int) -> list[int]:
        """A tensor's shape."""
        shape = self.graph.tensors[tensor].shape
        return [] if shape is None else [int(side) for side in shape]

    def consumers(self, tensor: int) -> list[Any]:
        """The operators that read a tensor."""
        return [op for op in self.graph.operators if tensor in op.inputs]

    def is_float(self, tensor: int) -> bool:
        """Whether the tensor is of float32."""
        return bool(self.graph.tensors[tensor].type == FLOAT32)

    def is_constant(self, tensor: int) -> bool:
        """Whether the file holds the tensor's values."""
        data = self.model.buffers[self.graph.tensors[tensor].buffer].data
        return data is not None and len(data) > 0

    def constant(self, tensor: int) -> NDArray[np.float32]:
        """Values of a constant float tensor."""
        data = self.model.buffers[self.graph.tensors[tensor].buffer].data
        return np.frombuffer(bytes(data), np.float32).reshape(self.shape(tensor))

    def add_tensor(self, name: str, shape: list[int], values: NDArray[Any] | None = None) -> int:
        """A new float tensor; returns its index. With values it is constant, and of a type of `TYPES`."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), np.array(shape, np.int32), FLOAT32
        tensor.buffer = 0
        if values is not None:
            stored = values if values.dtype in TYPES else values.astype(np.float32)
            tensor.type = TYPES[stored.dtype]
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(stored.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, builtin: int, inputs: list[int], output: int) -> Any:
        """A new operator, not in the graph yet."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self.opcode(builtin)
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        return operator

    def concatenation(self, inputs: list[int], output: int, axis: int) -> Any:
        """A new CONCATENATION, not in the graph yet."""
        operator = self.operator(schema.BuiltinOperator.CONCATENATION, inputs, output)
        operator.builtinOptionsType = schema.BuiltinOptions.ConcatenationOptions
        operator.builtinOptions = schema.ConcatenationOptionsT()
        operator.builtinOptions.axis = axis
        return operator

    def _drop_unused(self) -> None:
        graph, signatures = self.graph, self.model.signatureDefs or []
        holders = (graph, *graph.operators)
        lists = [
            (holder, name) for holder in holders for name in ("inputs", "outputs") if getattr(holder, name) is not None
        ]
        used = sorted({int(t) for holder, name in lists for t in getattr(holder, name) if t >= 0})
        places = {-1: -1, **{old: new for new, old in enumerate(used)}}
        for holder, name in lists:
            setattr(holder, name, np.array([places[int(t)] for t in getattr(holder, name)], np.int32))
        for signature in signatures:
            for entry in (*signature.inputs, *signature.outputs):
                entry.tensorIndex = places[entry.tensorIndex]
        graph.tensors = [graph.tensors[t] for t in used]
        buffers = {t.buffer for each in self.model.subgraphs for t in each.tensors}
        buffers |= {entry.buffer for entry in self.model.metadata or []}
        for index, buffer in enumerate(self.model.buffers):
            if index not in buffers:
                buffer.data = None

    def opcode(self, builtin: int) -> int:
        """The index of an operator code, which is added where the file has none yet."""
        codes = self.model.operatorCodes
        for index, code in enumerate(codes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode = builtin, min(builtin, 127)
        code.version = VERSIONS.get(builtin, 2)
        codes.append(code)
        return len(codes) - 1
