"""Tensors of an ONNX graph under construction: NHWC to whoever writes the network, channels first in the file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

if TYPE_CHECKING:
    from maskconver_mobile.converters.backends.onnx.graph import OnnxGraph

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class OnnxTensor:
    """A value of the graph.

    Attributes:
        graph: where it is made.
        name: in the graph; empty for a constant that nothing has used yet.
        shape: as the network sees it, channels last.
        dtype: as it is stored; indices stay int64, as ONNX makes and takes them, until they leave the graph.
        channels_first: whether the last axis is stored before the spatial ones: [1, c, h, w], [1, c, n] or [c, n].
        value: of a constant, channels last. It takes the dtype and the layout of what it is combined with.
    """

    graph: "OnnxGraph"
    name: str
    shape: Shape
    dtype: np.dtype[Any]
    channels_first: bool = False
    value: NDArray[Any] | None = None

    @classmethod
    def constant(cls, graph: "OnnxGraph", value: ArrayLike, dtype: DTypeLike) -> "OnnxTensor":
        """A constant that enters the graph where it is used."""
        array = np.asarray(value, dtype)
        return cls(graph, "", array.shape, array.dtype, value=array)

    @property
    def stored_shape(self) -> Shape:
        """The shape as the file has it."""
        return tuple(self.shape[axis] for axis in self.stored_axes)

    @property
    def stored_axes(self) -> list[int]:
        """The network's axes in the order in which they are stored."""
        return channels_first_axes(len(self.shape)) if self.channels_first else list(range(len(self.shape)))

    def stored_axis(self, axis: int) -> int:
        """Where an axis of the network stands in the file."""
        return self.stored_axes.index(axis % len(self.shape))

    def laid_out(self, channels_first: bool) -> "OnnxTensor":
        """The same tensor in a layout; costs a Transpose unless all axes that move have length 1."""
        if channels_first == self.channels_first:
            return self
        target = replace(self, channels_first=channels_first)
        if len(self.shape) < 2:
            return target
        if self.value is not None:
            return target
        order = [self.stored_axes.index(axis) for axis in target.stored_axes]
        moved = [axis for axis in order if self.stored_shape[axis] > 1]
        if moved == sorted(moved):
            name = self.graph.reshape(self.name, target.stored_shape)
        else:
            name = self.graph.node("Transpose", [self.name], perm=order)
        return replace(target, name=name)

    def reshaped(self, shape: Sequence[int]) -> "OnnxTensor":
        """The same values in another shape. Channels stay first where they stay the last axis."""
        full = np.empty(self.shape, np.bool_).reshape(list(shape)).shape
        if self.value is not None:
            return replace(self, shape=full, value=self.value.reshape(full))
        same_order = all(len(shape) == 2 or shape[0] == 1 for shape in (full, self.shape))
        kept = self.channels_first and len(full) > 1 and full[-1] == self.shape[-1] and same_order
        source = self.laid_out(kept)
        target = replace(source, shape=full)
        if target.stored_shape == source.stored_shape:
            return target
        return replace(target, name=self.graph.reshape(source.name, target.stored_shape))

    def cast(self, dtype: DTypeLike) -> "OnnxTensor":
        """The same values as another type."""
        target = np.dtype(dtype)
        if target == self.dtype:
            return self
        if self.value is not None:
            return replace(self, dtype=target, value=self.value.astype(target))
        return replace(self, dtype=target, name=self.graph.cast(self.name, target))

    def stored(self) -> str:
        """The name of the tensor in the graph; a constant enters it now."""
        if self.value is None:
            return self.name
        return self.graph.constant(np.transpose(self.value, self.stored_axes))

    def __add__(self, other: Any) -> "OnnxTensor":
        return elementwise("Add", self, other)

    def __sub__(self, other: Any) -> "OnnxTensor":
        return elementwise("Sub", self, other)

    def __mul__(self, other: Any) -> "OnnxTensor":
        return elementwise("Mul", self, other)

    def __truediv__(self, other: Any) -> "OnnxTensor":
        return elementwise("Div", self, other)

    def __floordiv__(self, other: Any) -> "OnnxTensor":
        quotient = elementwise("Div", self, other)
        if self.dtype.kind != "f":
            return quotient
        return replace(quotient, name=self.graph.node("Floor", [quotient.name]))

    def __mod__(self, other: Any) -> "OnnxTensor":
        return elementwise("Mod", self, other)

    def __lt__(self, other: Any) -> "OnnxTensor":
        return elementwise("Less", self, other, dtype=np.bool_)

    def __gt__(self, other: Any) -> "OnnxTensor":
        return elementwise("Greater", self, other, dtype=np.bool_)

    def __rmul__(self, other: Any) -> "OnnxTensor":
        return elementwise("Mul", other, self)

    def __rsub__(self, other: Any) -> "OnnxTensor":
        return elementwise("Sub", other, self)


def channels_first_axes(rank: int) -> list[int]:
    """The last axis moved before the spatial ones, behind a batch axis if there is one (from rank 3 on)."""
    axes = list(range(rank))
    if rank > 1:
        axes.insert(1 if rank > 2 else 0, axes.pop())
    return axes


def elementwise(kind: str, *operands: Any, dtype: DTypeLike | None = None) -> OnnxTensor:
    """An operator with broadcasting.

    Operands agree on a type and a layout: constants follow the others, of two integer types the narrower is taken, and
    channels are first where any operand has them first.

    Args:
        kind: the ONNX operator.
        operands: tensors, and numbers among them.
        dtype: of the result, if not the operands'.
    """
    tensors = aligned(operands)
    shape = np.broadcast_shapes(*(t.shape for t in tensors))
    graph = tensors[0].graph
    result = OnnxTensor(graph, "", shape, np.dtype(dtype or tensors[-1].dtype), tensors[-1].channels_first)
    return replace(result, name=graph.node(kind, [t.stored() for t in tensors]))


def aligned(operands: Sequence[Any]) -> list[OnnxTensor]:
    """Operands of one rank and one layout; numeric ones of one type too."""
    known = [x for x in operands if isinstance(x, OnnxTensor)]
    computed = [x for x in known if x.value is None] or known
    numeric = [x.dtype for x in computed if x.dtype != np.bool_]
    dtype = min(numeric, key=lambda d: d.itemsize) if numeric else np.dtype(np.bool_)
    rank = max(len(x.shape) for x in known)
    first = any(x.channels_first for x in computed)
    tensors = []
    for x in operands:
        tensor = x if isinstance(x, OnnxTensor) else OnnxTensor.constant(known[0].graph, x, dtype)
        tensor = tensor if tensor.dtype == np.bool_ else tensor.cast(dtype)
        if tensor.shape:
            tensor = tensor.reshaped((1,) * (rank - len(tensor.shape)) + tensor.shape)
        tensors.append(tensor.laid_out(first))
    return tensors


def same_padding(size: Sequence[int], reach: Sequence[int], stride: int) -> list[int]:
    """TensorFlow's `SAME` as ONNX pads: begins, then ends; what is odd goes to the end."""
    totals = [max((-(-side // stride) - 1) * stride + k - side, 0) for side, k in zip(size, reach, strict=True)]
    begins = [total // 2 for total in totals]
    return [*begins, *(total - begin for total, begin in zip(totals, begins, strict=True))]
