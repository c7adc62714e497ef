"""Values, nodes and graphs.

A graph is a list of nodes in an order in which they can run. Every tensor has a static shape and a batch of 1. Weights
are attributes of operations; other constants are values without a node.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.converters.graph.operations import Cond, Op, Shape

if TYPE_CHECKING:
    from maskconver_mobile.converters.graph.builder import GraphBuilder

T = TypeVar("T", bound=Op)


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
