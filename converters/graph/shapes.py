"""Shapes and element types of what operations compute."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskconver_mobile.converters.graph import ir
from maskconver_mobile.converters.graph.ir import Shape, Value

Type = tuple[Shape, np.dtype[Any]]
FLOAT, INT, BOOL = np.dtype(np.float32), np.dtype(np.int32), np.dtype(np.bool_)
COMPARISONS = ("lt", "gt", "equal")


def infer(op: ir.Op, inputs: Sequence[Value]) -> list[Type]:
    """Shape and element type of each output.

    Raises:
        ValueError: the operands do not fit.
    """
    x = inputs[0]
    match op:
        case ir.Conv():
            _check(op, x.shape[-1] == op.kernel.shape[2], x.shape, op.kernel.shape)
            return [((1, *(-(-side // op.stride) for side in x.shape[1:3]), op.kernel.shape[3]), FLOAT)]
        case ir.Depthwise():
            _check(op, x.shape[-1] == op.kernel.shape[2], x.shape, op.kernel.shape)
            return [((1, *(-(-side // op.stride) for side in x.shape[1:3]), x.shape[3]), FLOAT)]
        case ir.Dense():
            _check(op, len(x.shape) == 2 and x.shape[1] == op.kernel.shape[0], x.shape, op.kernel.shape)
            return [((x.shape[0], op.kernel.shape[1]), FLOAT)]
        case ir.BatchNorm() | ir.LayerNorm():
            _check(op, x.shape[-1:] == op.gamma.shape, x.shape, op.gamma.shape)
            return [(x.shape, FLOAT)]
        case ir.Unary() | ir.Clip() | ir.Planar():
            return [(x.shape, x.dtype)]
        case ir.Binary():
            dtype = BOOL if op.kind in COMPARISONS else next((v.dtype for v in inputs if v.constant is None), x.dtype)
            return [(np.broadcast_shapes(*(v.shape for v in inputs)), dtype)]
        case ir.Cast():
            return [(x.shape, op.dtype)]
        case ir.ToBytes():
            return [(x.shape, np.dtype(np.uint8))]
        case ir.Resize() | ir.BroadcastTo():
            return [((1, *op.size, x.shape[3]), x.dtype)]
        case ir.GlobalMean():
            return [((1, 1, 1, x.shape[3]), FLOAT)]
        case ir.AveragePool():
            sides = zip(x.shape[1:3], op.size, strict=True)
            return [((1, *(-(-side // n) if op.same else side // n for side, n in sides), x.shape[3]), FLOAT)]
        case ir.MaxPool():
            return [((1, *(-(-side // op.stride) for side in x.shape[1:3]), x.shape[3]), x.dtype)]
        case ir.Upsample():
            return [((1, x.shape[1] * op.factor, x.shape[2] * op.factor, x.shape[3]), x.dtype)]
        case ir.WindowMax():
            return [((1, x.shape[1] - op.size + 1, x.shape[2] - op.size + 1, x.shape[3]), x.dtype)]
        case ir.Concat():
            return [(_with_side(x.shape, op.axis, sum(v.shape[op.axis] for v in inputs)), x.dtype)]
        case ir.Rows():
            return [((x.shape[1] * x.shape[2], x.shape[3]), x.dtype)]
        case ir.Reshape():
            return [(np.empty(x.shape, np.bool_).reshape(op.shape).shape, x.dtype)]
        case ir.Slice():
            return [(_with_side(x.shape, op.axis, op.stop - op.start), x.dtype)]
        case ir.Transpose():
            return [(tuple(x.shape[axis] for axis in op.axes), x.dtype)]
        case ir.Matmul():
            return [((1, x.shape[1], inputs[1].shape[1]), FLOAT)]
        case ir.Linear():
            return [((x.shape[0], inputs[1].shape[0]), FLOAT)]
        case ir.Gather():
            return [((*inputs[1].shape, *x.shape[1:]), x.dtype)]
        case ir.Pick():
            return [((*inputs[1].shape, x.shape[3]), x.dtype)]
        case ir.SegmentSum():
            return [((op.size,), inputs[1].dtype)]
        case ir.TopK():
            best = (*x.shape[:-1], op.k)
            return [(best, x.dtype), (best, INT)]
        case ir.TopKCells():
            return [((op.k,), x.dtype), ((op.k,), INT), ((op.k,), INT)]
        case ir.Argmax():
            return [(x.shape[:-1], INT)]
        case ir.Max() | ir.Sum():
            axis = op.axis % len(x.shape)
            return [(x.shape[:axis] + x.shape[axis + 1 :], x.dtype)]
        case ir.Where():
            return [(np.broadcast_shapes(*(v.shape for v in inputs)), inputs[1].dtype)]
        case ir.All():
            return [(np.broadcast_shapes(*(v.shape for v in inputs)), BOOL)]
        case ir.Cond():
            return [(value.shape, value.dtype) for value in op.then.outputs.values()]
        case ir.Proposals():
            return [((op.k,), INT), ((op.k,), INT), ((op.k,), FLOAT)]
        case ir.Panoptic():
            return [((1, *op.size), INT), ((1, *op.size), INT)]
    raise ValueError(f"{op.method}: no rule for its shape")


def _with_side(shape: Shape, axis: int, side: int) -> Shape:
    axis %= len(shape)
    return (*shape[:axis], side, *shape[axis + 1 :])


def _check(op: ir.Op, good: bool, *shapes: Shape) -> None:
    if not good:
        raise ValueError(f"{op.method}: shapes {' and '.join(map(str, shapes))} do not fit")
