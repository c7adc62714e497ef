"""Shapes and element types of what operations compute."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.graph.operations import Shape

Type = tuple[Shape, np.dtype[Any]]
FLOAT, INT, BOOL = np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.bool_)
COMPARISONS = ("lt", "gt", "equal")


def infer(op: operations.Op, inputs: Sequence[Value]) -> list[Type]:
    """Shape and element type of each output.

    Raises:
        ValueError: the operands do not fit.
    """
    x = inputs[0]
    match op:
        case operations.Conv():
            _check(op, x.shape[-1] == op.kernel.shape[2], x.shape, op.kernel.shape)
            return [((1, *(-(-side // op.stride) for side in x.shape[1:3]), op.kernel.shape[3]), FLOAT)]
        case operations.Depthwise():
            _check(op, x.shape[-1] == op.kernel.shape[2], x.shape, op.kernel.shape)
            return [((1, *(-(-side // op.stride) for side in x.shape[1:3]), x.shape[3]), FLOAT)]
        case operations.Dense():
            _check(op, len(x.shape) == 2 and x.shape[1] == op.kernel.shape[0], x.shape, op.kernel.shape)
            return [((x.shape[0], op.kernel.shape[1]), FLOAT)]
        case operations.BatchNorm() | operations.LayerNorm():
            _check(op, x.shape[-1:] == op.gamma.shape, x.shape, op.gamma.shape)
            return [(x.shape, FLOAT)]
        case operations.Unary() | operations.Clip() | operations.Planar():
            return [(x.shape, x.dtype)]
        case operations.Binary():
            dtype = BOOL if op.kind in COMPARISONS else next((v.dtype for v in inputs if v.constant is None), x.dtype)
            return [(np.broadcast_shapes(*(v.shape for v in inputs)), dtype)]
        case operations.Cast():
            return [(x.shape, op.dtype)]
        case operations.ToBytes():
            return [(x.shape, np.dtype(np.uint8))]
        case operations.Resize() | operations.BroadcastTo():
            return [((1, *op.size, x.shape[3]), x.dtype)]
        case operations.GlobalMean():
            return [((1, 1, 1, x.shape[3]), FLOAT)]
        case operations.AveragePool():
            if op.stride is not None:
                return [((1, *(-(-side // op.stride) for side in x.shape[1:3]), x.shape[3]), FLOAT)]
            return [((1, *(side // n for side, n in zip(x.shape[1:3], op.size, strict=True)), x.shape[3]), FLOAT)]
        case operations.MaxPool():
            return [((1, *(-(-side // op.stride) for side in x.shape[1:3]), x.shape[3]), x.dtype)]
        case operations.Upsample():
            return [((1, x.shape[1] * op.factor, x.shape[2] * op.factor, x.shape[3]), x.dtype)]
        case operations.WindowMax():
            return [((1, x.shape[1] - op.size + 1, x.shape[2] - op.size + 1, x.shape[3]), x.dtype)]
        case operations.Concat():
            return [(_with_side(x.shape, op.axis, sum(v.shape[op.axis] for v in inputs)), x.dtype)]
        case operations.Rows():
            return [((x.shape[1] * x.shape[2], x.shape[3]), x.dtype)]
        case operations.Reshape():
            return [(np.empty(x.shape, np.bool_).reshape(op.shape).shape, x.dtype)]
        case operations.Slice():
            return [(_with_side(x.shape, op.axis, op.stop - op.start), x.dtype)]
        case operations.Matmul():
            return [((1, x.shape[1], inputs[1].shape[1]), FLOAT)]
        case operations.Linear():
            return [((x.shape[0], inputs[1].shape[0]), FLOAT)]
        case operations.Gather():
            return [((*inputs[1].shape, *x.shape[1:]), x.dtype)]
        case operations.Pick():
            return [((*inputs[1].shape, x.shape[3]), x.dtype)]
        case operations.SegmentSum():
            return [((op.size,), inputs[1].dtype)]
        case operations.TopK():
            best = (*x.shape[:-1], op.k)
            return [(best, x.dtype), (best, INT)]
        case operations.TopKCells():
            return [((op.k,), x.dtype), ((op.k,), INT), ((op.k,), INT)]
        case operations.Argmax():
            return [(x.shape[:-1], INT)]
        case operations.Max() | operations.Sum():
            axis = op.axis % len(x.shape)
            return [(x.shape[:axis] + x.shape[axis + 1 :], x.dtype)]
        case operations.Where():
            return [(np.broadcast_shapes(*(v.shape for v in inputs)), inputs[1].dtype)]
        case operations.All():
            return [(np.broadcast_shapes(*(v.shape for v in inputs)), BOOL)]
        case operations.Cond():
            return [(value.shape, value.dtype) for value in op.then.outputs.values()]
        case operations.Proposals():
            return [((op.k,), INT), ((op.k,), INT), ((op.k,), FLOAT)]
        case operations.Panoptic():
            return [((1, *op.size), INT), ((1, *op.size), INT)]
    raise ValueError(f"{op.method}: no rule for its shape")


def _with_side(shape: Shape, axis: int, side: int) -> Shape:
    axis %= len(shape)
    return (*shape[:axis], side, *shape[axis + 1 :])


def _check(op: operations.Op, good: bool, *shapes: Shape) -> None:
    if not good:
        raise ValueError(f"{op.method}: shapes {' and '.join(map(str, shapes))} do not fit")
