"""What a model file contains, read without running it: tensors, operators and multiply-adds."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats import ONNX, ORT, format_of, missing


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
        if not self.outputs or len(self.inputs) < 2 or not self.outputs[0].shape:
            return 0
        positions = int(np.prod(self.outputs[0].shape, dtype=np.int64))
        if self.kind in {"CONV_2D", "FULLY_CONNECTED", "Conv", "ConvInteger"}:
            return positions * int(np.prod(self.inputs[1].shape[1:], dtype=np.int64))
        if self.kind == "DEPTHWISE_CONV_2D":
            return positions * int(np.prod(self.inputs[1].shape[1:3], dtype=np.int64))
        if self.kind in {"BATCH_MATMUL", "Gemm", "MatMul"}:  # [..., n, m] of [..., n, k], transposed or not
            return self.outputs[0].shape[-1] * int(np.prod(self.inputs[0].shape, dtype=np.int64))
        return 0


@dataclass(frozen=True)
class ModelInfo:
    """A model file as `inspect` shows it; `content` is the file's."""

    card: ModelCard
    content: bytes = field(repr=False)
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: tuple[OperatorInfo, ...] = field(repr=False)

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return len(self.content)

    @property
    def operator_counts(self) -> dict[str, int]:
        """Operators by kind, most frequent first."""
        return dict(Counter(op.kind for op in self.operators).most_common())

    @property
    def multiply_adds(self) -> int:
        """Multiply-accumulate operations of one inference."""
        return sum(op.multiply_adds for op in self.operators)


def inspect_model(path: str | Path) -> ModelInfo:
    """Read a .tflite or .onnx file.

    Raises:
        MaskConverError: it is no model of ours.
    """
    path = Path(path)
    format = format_of(path)
    if format is ORT:
        raise MaskConverError(f"{path}: a file in ORT format shows no graph; inspect the .onnx model it was made from")
    if format is ONNX:
        from maskconver_mobile.formats.onnx.inspection import inspect_onnx

        return inspect_onnx(path)
    try:
        from maskconver_mobile.formats.tflite.inspection import inspect_tflite
    except ImportError as error:
        raise missing(path, format) from error
    return inspect_tflite(path)
