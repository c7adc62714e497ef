"""The operations of a graph. What they mean stands at the methods of `builder.GraphBuilder`, which bear their names.

Maps are [1, h, w, c]. Weights are attributes of operations.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from maskconver_mobile.converters.graph.ir import Graph

Array = NDArray[np.float32]
Shape = tuple[int, ...]
Activation = Literal["relu", "relu6"]


@dataclass(frozen=True, eq=False)
class Op:
    """What a node does. A backend's method of the same name takes the inputs, and the fields as keyword arguments."""

    @property
    def method(self) -> str:
        """The class's name in snake case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def attributes(self) -> dict[str, Any]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class Affine(Op):
    """A linear map with a bias [outputs], and an activation that kernels do as they write."""

    kernel: Array
    bias: Array | None = None
    activation: Activation | None = None

    def biases(self, outputs: int) -> Array:
        """The bias, or zeros."""
        return np.zeros(outputs, np.float32) if self.bias is None else self.bias


@dataclass(frozen=True, eq=False)
class Dense(Affine):
    """Kernel [in, out]."""


@dataclass(frozen=True, eq=False)
class Convolution(Affine):
    """`SAME`, as TensorFlow pads."""

    stride: int = 1


@dataclass(frozen=True, eq=False)
class Conv(Convolution):
    """Kernel [kh, kw, in, out]."""

    @property
    def pointwise(self) -> bool:
        """Whether each location's result depends on that location alone."""
        return self.kernel.shape[:2] == (1, 1) and self.stride == 1

    def split_inputs(self, widths: Sequence[int]) -> list[Array]:
        """The kernel's parts for inputs side by side of these widths."""
        return np.split(self.kernel, np.cumsum(widths)[:-1], 2)


@dataclass(frozen=True, eq=False)
class Depthwise(Convolution):
    """Kernel [kh, kw, channels, 1], dilation (rows, columns)."""

    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True, eq=False)
class BatchNorm(Op):
    """All [channels]."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    epsilon: float

    def scale_and_shift(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`gamma * (x - mean) / sqrt(variance + epsilon) + beta = x * scale + shift`, in float64."""
        gamma, beta, mean, variance = (
            part.astype(np.float64) for part in (self.gamma, self.beta, self.mean, self.variance)
        )
        scale = gamma / np.sqrt(variance + self.epsilon)
        return scale, beta - mean * scale


@dataclass(frozen=True, eq=False)
class LayerNorm(Op):
    """Scale and shift of the last axis."""

    gamma: Array
    beta: Array
    epsilon: float


@dataclass(frozen=True, eq=False)
class Unary(Op):
    """An element-wise function of one tensor, named as the method that does it."""

    kind: str


@dataclass(frozen=True, eq=False)
class Binary(Op):
    """An element-wise function of two tensors with broadcasting."""

    kind: str


@dataclass(frozen=True, eq=False)
class Clip(Op):
    """Of integers."""

    low: int
    high: int


@dataclass(frozen=True, eq=False)
class Cast(Op):
    """To another element type."""

    dtype: np.dtype[Any]


@dataclass(frozen=True, eq=False)
class ToBytes(Op):
    """Floats that are whole numbers 0..255."""


@dataclass(frozen=True, eq=False)
class Planar(Op):
    """A hint: convolutions read this map."""


@dataclass(frozen=True, eq=False)
class Resize(Op):
    """To (height, width)."""

    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class BroadcastTo(Op):
    """To (height, width)."""

    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class GlobalMean(Op):
    """Over height and width."""


@dataclass(frozen=True, eq=False)
class AveragePool(Op):
    """Windows (height, width), with strides as large; with one of its own, those at the border are cut short."""

    size: tuple[int, int]
    stride: int | None = None


@dataclass(frozen=True, eq=False)
class MaxPool(Op):
    """`SAME`."""

    size: int
    stride: int = 1


@dataclass(frozen=True, eq=False)
class Upsample(Op):
    """Each place repeated, in both directions."""

    factor: int


@dataclass(frozen=True, eq=False)
class WindowMax(Op):
    """`VALID`."""

    size: int


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Along an axis."""

    axis: int


@dataclass(frozen=True, eq=False)
class Rows(Op):
    """The locations of a map."""


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """To a static shape."""

    shape: Shape


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """From start to before stop on one axis."""

    axis: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Matmul(Op):
    """The second factor transposed."""


@dataclass(frozen=True, eq=False)
class Linear(Op):
    """Rows times vectors plus offsets."""


@dataclass(frozen=True, eq=False)
class Gather(Op):
    """Rows of the first axis."""


@dataclass(frozen=True, eq=False)
class Pick(Op):
    """Rows of a map at flat locations."""


@dataclass(frozen=True, eq=False)
class SegmentSum(Op):
    """Into this many sums."""

    size: int


@dataclass(frozen=True, eq=False)
class TopK(Op):
    """Values and indices."""

    k: int


@dataclass(frozen=True, eq=False)
class TopKCells(Op):
    """Values, flat locations and channels of a map."""

    k: int
    staged: bool


@dataclass(frozen=True, eq=False)
class Argmax(Op):
    """Over the last axis."""


@dataclass(frozen=True, eq=False)
class Max(Op):
    """Over one axis."""

    axis: int


@dataclass(frozen=True, eq=False)
class Sum(Op):
    """Over one axis."""

    axis: int


@dataclass(frozen=True, eq=False)
class Where(Op):
    """By a condition."""


@dataclass(frozen=True, eq=False)
class All(Op):
    """Of several conditions."""


@dataclass(frozen=True, eq=False)
class Cond(Op):
    """One of two subgraphs, which may read the values of the graphs around them."""

    then: "Graph"
    otherwise: "Graph"


@dataclass(frozen=True, eq=False)
class Proposals(Op):
    """Composite: the k best centers of class maps of logits: classes, locations and scores, each [k].

    Locations are y * w + x; those of a further map count on from the maps before it.
    """

    k: int


@dataclass(frozen=True, eq=False)
class Panoptic(Op):
    """Composite: category and instance maps int32 [1, h, w] of classes [k], scores [k] and mask logits [1, h, w, k].

    Attributes:
        size: (height, width) of the maps.
        object_mask: scores above it take part.
        overlap: share of its own area that a segment must win.
        small_area: segments must win more pixels than these.
        is_thing: by class id.
        hard_sigmoid: whether probabilities are relu6(x + 3) * 0.16667.
    """

    size: tuple[int, int]
    object_mask: float
    overlap: float
    small_area: float
    is_thing: NDArray[np.bool_]
    hard_sigmoid: bool
