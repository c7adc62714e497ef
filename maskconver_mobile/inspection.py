"""What a model file contains, read without running it: tensors, operators and multiply-adds."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.tflite_file import read_tflite

_TYPES = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}


@dataclass(frozen=True)
class TensorInfo:
    """Name, dtype and shape of a tensor; `constant` where the file holds its values."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: bool = False


@dataclass(frozen=True)
class OperatorInfo:
    """One operator in execution order; absent optional inputs are left out."""

    kind: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    @property
    def multiply_adds(self) -> int:
        """Multiply-accumulate operations of convolutions and matrix products, 0 for everything else."""
        if not self.outputs:
            return 0
        positions = int(np.prod(self.outputs[0].shape, dtype=np.int64))
        if self.kind in {"CONV_2D", "FULLY_CONNECTED"}:
            return positions * int(np.prod(self.inputs[1].shape[1:], dtype=np.int64))
        if self.kind == "DEPTHWISE_CONV_2D":
            return positions * int(np.prod(self.inputs[1].shape[1:3], dtype=np.int64))
        if self.kind == "BATCH_MATMUL":
            inner = set(self.inputs[0].shape) & set(self.inputs[1].shape) - set(self.outputs[0].shape)
            return positions * max(inner, default=self.inputs[0].shape[-1])
        return 0


@dataclass(frozen=True)
class ModelInfo:
    """A model file as `inspect` shows it. `size` in bytes."""

    card: ModelCard
    size: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: tuple[OperatorInfo, ...] = field(repr=False)

    @property
    def operator_counts(self) -> dict[str, int]:
        """Operators by kind, most frequent first."""
        return dict(Counter(op.kind for op in self.operators).most_common())

    @property
    def multiply_adds(self) -> int:
        """Multiply-accumulate operations of one inference."""
        return sum(op.multiply_adds for op in self.operators)


def inspect_model(path: str | Path) -> ModelInfo:
    """Read a model file.

    Raises:
        MaskConverError: it is no model of ours.
    """
    path = Path(path)
    file = read_tflite(path)
    try:
        model = schema.ModelT.InitFromPackedBuf(file.content, 0)
        graph = model.subgraphs[0]
        tensors = [_tensor(model, t) for t in graph.tensors]
        operators = tuple(_operator(model, op, tensors) for op in graph.operators)
        inputs, outputs = (tuple(tensors[i] for i in indices) for indices in (graph.inputs, graph.outputs))
    except Exception as error:  # a damaged flatbuffer sends its generated reader anywhere
        raise MaskConverError(f"{path}: is a damaged TFLite model, truncated or overwritten") from error
    return ModelInfo(file.card, len(file.content), inputs, outputs, operators)


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
