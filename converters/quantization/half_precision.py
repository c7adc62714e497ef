"""Weights in half precision; all arithmetic stays float32."""

from collections.abc import Container

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from maskconver_mobile.converters.backends.tflite.flatbuffer import CONVOLUTIONS, Flatbuffer
from maskconver_mobile.errors import MaskConverError

WEIGHTED = (*CONVOLUTIONS, "FULLY_CONNECTED")
LARGE = 1024
"""Weights of more values than this are worth halving. Rounding the few that the first layers have costs quality."""


def to_half(values: NDArray[np.float32], name: str) -> NDArray[np.float16]:
    """Weights in float16.

    Raises:
        MaskConverError: some are too large for it.
    """
    largest = float(np.abs(values).max())
    if largest > float(np.finfo(np.float16).max):
        raise MaskConverError(
            f"{name}: holds weights up to {largest:.0f}, and float16 ends at 65504; keep the weights in float32"
        )
    return values.astype(np.float16)


def halve_weights(content: bytes, chosen: Container[str] | None = None) -> bytes:
    """Store large weights as float16, with a DEQUANTIZE behind each, which delegates compute once or take as it is.

    Args:
        content: a float flatbuffer.
        chosen: operators by the name of their output tensor; all if None.
    """
    flatbuffer = Flatbuffer(content)
    casts = []
    for operator in flatbuffer.graph.operators:
        if flatbuffer.kind(operator) not in WEIGHTED:
            continue
        if chosen is not None and flatbuffer.name(int(operator.outputs[0])) not in chosen:
            continue
        tensor = int(operator.inputs[1])
        if not flatbuffer.is_constant(tensor) or np.prod(flatbuffer.shape(tensor)) <= LARGE:
            continue
        values = flatbuffer.constant(tensor)
        half = flatbuffer.add_tensor(
            f"{flatbuffer.name(tensor)}_half", list(values.shape), to_half(values, flatbuffer.name(tensor))
        )
        flatbuffer.graph.tensors[tensor].buffer = 0
        casts.append(flatbuffer.operator(schema.BuiltinOperator.DEQUANTIZE, [half], tensor))
    flatbuffer.graph.operators = [*casts, *flatbuffer.graph.operators]
    return flatbuffer.to_bytes()
