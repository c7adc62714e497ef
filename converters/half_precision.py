"""Weights in half precision; all arithmetic stays float32."""

from collections.abc import Container

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from maskconver_mobile.converters.flatbuffer import CONVOLUTIONS, Flatbuffer

WEIGHTED = (*CONVOLUTIONS, "FULLY_CONNECTED")
LARGE = 1024
"""Weights of more values than this are worth halving. Rounding the few that the first layers have costs quality."""


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
        half = flatbuffer.add_tensor(f"{flatbuffer.name(tensor)}_half", list(values.shape), values.astype(np.float16))
        flatbuffer.graph.tensors[tensor].buffer = 0
        casts.append(flatbuffer.operator(schema.BuiltinOperator.DEQUANTIZE, [half], tensor))
    flatbuffer.graph.operators = [*casts, *flatbuffer.graph.operators]
    return flatbuffer.to_bytes()
