"""Operations, values, nodes and graphs.

A graph is a list of nodes in an order in which they can run. Every tensor has a static shape and a batch of 1; maps are
[1, h, w, c]. Weights are attributes of operations; other constants are values without a node. What the operations mean
stands at the methods of `builder.GraphBuilder`, which bear their names.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from maskconver_mobile.converters.graph.builder import GraphBuilder

Array = NDArray[np.float32]
Shape = tuple[int, ...]
T = TypeVar("T", bound="Op")
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
    """Windows (height, width), with strides as large; `same`: those at the border are cut short, not left out."""

    size: tuple[int, int]
    same: bool = False


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
class Transpose(Op):
    """The axes in another order."""

    axes: tuple[int, ...]


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


@dataclass(eq=False, repr=False)
class Value:
    """A tensor of a graph: computed by a node, given from outside, or constant."""

    builder: "GraphBuilder"
    shape: Shape
    dtype: np.dtype[Any]
    node: "Node[Any] | None" = None
    constant: NDArray[Any] | None = None

    def __add__(self, other: Any) -> "Value":
        return self.builder.binary("add", self, other)

    def __sub__(self, other: Any) -> "Value":
        return self.builder.binary("sub", self, other)

    def __mul__(self, other: Any) -> "Value":
        return self.builder.binary("mul", self, other)

    def __truediv__(self, other: Any) -> "Value":
        return self.builder.binary("truediv", self, other)

    def __floordiv__(self, other: Any) -> "Value":
        return self.builder.binary("floordiv", self, other)

    def __mod__(self, other: Any) -> "Value":
        return self.builder.binary("mod", self, other)

    def __lt__(self, other: Any) -> "Value":
        return self.builder.binary("lt", self, other)

    def __gt__(self, other: Any) -> "Value":
        return self.builder.binary("gt", self, other)

    def __rtruediv__(self, other: Any) -> "Value":
        return self.builder.binary("truediv", other, self)

    def __radd__(self, other: Any) -> "Value":
        return self.builder.binary("add", other, self)

    def __rsub__(self, other: Any) -> "Value":
        return self.builder.binary("sub", other, self)

    def __rmul__(self, other: Any) -> "Value":
        return self.builder.binary("mul", other, self)


@dataclass(eq=False, repr=False)
class Node(Generic[T]):
    """One operation.

    Attributes:
        op: what is done.
        inputs: its operands.
        outputs: what it computes.
        scopes: the checkpoint paths of the layers that it belongs to; several where layers were joined.
    """

    op: T
    inputs: list[Value]
    scopes: tuple[str, ...]
    outputs: tuple[Value, ...] = ()

    @property
    def output(self) -> Value:
        """The only output."""
        (value,) = self.outputs
        return value


@dataclass(eq=False, repr=False)
class Graph:
    """Nodes in order, and the values that matter outside, by name; those of a subgraph are numbered."""

    inputs: dict[str, Value] = field(default_factory=dict)
    nodes: list[Node[Any]] = field(default_factory=list)
    outputs: dict[str, Value] = field(default_factory=dict)

    def walk(self) -> "Iterator[tuple[Graph, Node[Any]]]":
        """Every node with the graph that holds it, those of subgraphs included."""
        for node in self.nodes:
            yield self, node
            if isinstance(node.op, Cond):
                yield from node.op.then.walk()
                yield from node.op.otherwise.walk()

    def graphs(self) -> "Iterator[Graph]":
        """This graph and all subgraphs."""
        yield self
        for node in self.nodes:
            if isinstance(node.op, Cond):
                yield from node.op.then.graphs()
                yield from node.op.otherwise.graphs()

    def of(self, kind: type[T]) -> list[Node[T]]:
        """The nodes of a kind in this graph, those of subgraphs left out."""
        return [node for node in self.nodes if isinstance(node.op, kind)]

    def uses(self, value: Value) -> int:
        """How often a value is read, by nodes or as an output, here and in subgraphs."""
        read = sum(operand is value for _, node in self.walk() for operand in node.inputs)
        return read + sum(output is value for graph in self.graphs() for output in graph.outputs.values())

    def readers(self, value: Value) -> list[Node[Any]]:
        """The nodes that read a value."""
        return [node for _, node in self.walk() if any(operand is value for operand in node.inputs)]

    def only_for(self, value: Value, kind: type[T]) -> Node[T] | None:
        """The node that computes a value, if it is of this kind and nothing else reads the value."""
        node = value.node
        return node if node is not None and isinstance(node.op, kind) and self.uses(value) == 1 else None

    def replace(self, old: Value, new: Value) -> None:
        """Let everything that reads one value read another."""
        for _, node in self.walk():
            node.inputs = [new if operand is old else operand for operand in node.inputs]
        for graph in self.graphs():
            graph.outputs = {name: new if value is old else value for name, value in graph.outputs.items()}

    def prune(self) -> None:
        """Drop nodes that no output needs."""
        needed: set[int] = set()
        _prune(self, needed)

    def verify(self) -> None:
        """Check that every value is made before it is read, once, and knows its node.

        Raises:
            ValueError: it is not so.
        """
        _verify(self, {id(value) for value in self.inputs.values()})


def _prune(graph: Graph, needed: set[int]) -> None:
    needed.update(id(value) for value in graph.outputs.values())
    kept = []
    for node in reversed(graph.nodes):
        if needed.isdisjoint(id(value) for value in node.outputs):
            continue
        kept.append(node)
        needed.update(id(value) for value in node.inputs)
        if isinstance(node.op, Cond):
            _prune(node.op.otherwise, needed)
            _prune(node.op.then, needed)
    graph.nodes = kept[::-1]


def _verify(graph: Graph, known: set[int]) -> None:
    known = set(known)
    for node in graph.nodes:
        for value in node.inputs:
            if value.constant is None and id(value) not in known:
                raise ValueError(f"{node.op.method} {node.scopes}: reads a value before it is made")
        if isinstance(node.op, Cond):
            _verify(node.op.then, known)
            _verify(node.op.otherwise, known)
        for value in node.outputs:
            if value.node is not node or id(value) in known:
                raise ValueError(f"{node.op.method} {node.scopes}: its outputs are not its own")
            known.add(id(value))
    for name, value in graph.outputs.items():
        if value.constant is None and id(value) not in known:
            raise ValueError(f"output {name} is never made")
