"""Writing a graph: a method for each operation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.ir import Graph, Node, Value
from maskconver_mobile.converters.graph.operations import Activation, Array, Op, Shape
from maskconver_mobile.converters.graph.shapes import infer


class GraphBuilder:
    """Adds nodes to a graph: at its end, or before a node that a pass is about to replace."""

    def __init__(self) -> None:
        self.graph = Graph()
        self._target = self.graph
        self._place: Node[Any] | None = None
        self._scopes: tuple[str, ...] = ()

    def input(self, name: str, shape: Shape, dtype: DTypeLike) -> Value:
        """What the graph is given."""
        value = Value(self, shape, np.dtype(dtype))
        self.graph.inputs[name] = value
        return value

    @contextmanager
    def scope(self, path: str) -> Iterator[None]:
        """Nodes within belong to the layer of this checkpoint path."""
        outer, self._scopes = self._scopes, (path,)
        try:
            yield
        finally:
            self._scopes = outer

    @contextmanager
    def before(self, node: Node[Any], *, scopes: tuple[str, ...] | None = None) -> Iterator[None]:
        """Nodes within stand before a node of the graph; they belong to its layers, unless others are given."""
        outer = self._place, self._scopes
        self._place, self._scopes = node, node.scopes if scopes is None else scopes
        try:
            yield
        finally:
            self._place, self._scopes = outer

    def add(self, op: Op, *inputs: Value) -> tuple[Value, ...]:
        """Add a node; returns its outputs."""
        node = Node(op, list(inputs), self._scopes)
        node.outputs = tuple(Value(self, shape, dtype, node) for shape, dtype in infer(op, inputs))
        nodes = self._target.nodes
        if self._place is None:
            nodes.append(node)
        else:
            nodes.insert(nodes.index(self._place), node)
        return node.outputs

    def change(self, node: Node[Any], inputs: Sequence[Value] | None = None, **changes: Any) -> Value:
        """Add a node like another, with other attributes or inputs; returns its only output."""
        with self.before(node):
            return self.one(replace(node.op, **changes), *(node.inputs if inputs is None else inputs))

    def replace(self, node: Node[Any], *values: Value) -> None:
        """Let others read these instead of a node's outputs, and drop the node with all that only it needed."""
        for old, new in zip(node.outputs, values, strict=True):
            self.graph.replace(old, new)
        self._drop(node)

    def _drop(self, node: Node[Any]) -> None:
        if node in self.graph.nodes and not any(self.graph.uses(value) for value in node.outputs):
            self.graph.nodes.remove(node)
            for value in node.inputs:
                if value.node is not None:
                    self._drop(value.node)

    def one(self, op: Op, *inputs: Value) -> Value:
        """Add a node of one output."""
        (value,) = self.add(op, *inputs)
        return value

    def shape(self, x: Value) -> Shape:
        """The static shape."""
        return x.shape

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.float32) -> Value:
        """A constant tensor."""
        array = np.asarray(value, dtype)
        return Value(self, array.shape, array.dtype, constant=array)

    def _operands(self, *operands: Any) -> list[Value]:
        """Numbers among the operands become constants of the others' type."""
        dtype = next(x.dtype for x in operands if isinstance(x, Value))
        return [x if isinstance(x, Value) else self.constant(x, dtype) for x in operands]

    def unary(self, kind: str, x: Value) -> Value:
        """An element-wise function by name."""
        return self.one(operations.Unary(kind), x)

    def binary(self, kind: str, a: Any, b: Any) -> Value:
        """An element-wise function of two tensors by name, with broadcasting."""
        return self.one(operations.Binary(kind), *self._operands(a, b))

    def cast(self, x: Value, dtype: DTypeLike) -> Value:
        """Convert the element type."""
        return self.one(operations.Cast(np.dtype(dtype)), x)

    def to_bytes(self, x: Value) -> Value:
        """Integers 0..255 from floats that are such."""
        return self.one(operations.ToBytes(), x)

    def planar(self, x: Value) -> Value:
        """A map [1, h, w, c] stored as convolutions want it."""
        return self.one(operations.Planar(), x)

    def conv(
        self,
        x: Value,
        kernel: Array,
        bias: Array | None = None,
        *,
        stride: int = 1,
        activation: Activation | None = None,
    ) -> Value:
        """A `SAME` convolution; kernel [kh, kw, in, out]."""
        return self.one(operations.Conv(kernel, bias, activation, stride), x)

    def depthwise(
        self,
        x: Value,
        kernel: Array,
        bias: Array | None = None,
        *,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        activation: Activation | None = None,
    ) -> Value:
        """A `SAME` depthwise convolution; kernel [kh, kw, channels, 1]."""
        return self.one(operations.Depthwise(kernel, bias, activation, stride, dilation), x)

    def dense(
        self, x: Value, kernel: Array, bias: Array | None = None, *, activation: Activation | None = None
    ) -> Value:
        """Rows [n, in] times kernel [in, out] plus bias."""
        return self.one(operations.Dense(kernel, bias, activation), x)

    def batch_norm(self, x: Value, gamma: Array, beta: Array, mean: Array, variance: Array, epsilon: float) -> Value:
        """Gamma (x - mean) / sqrt(variance + epsilon) + beta, by channel (Ioffe and Szegedy 2015)."""
        return self.one(operations.BatchNorm(gamma, beta, mean, variance, epsilon), x)

    def layer_norm(self, x: Value, gamma: Array, beta: Array, epsilon: float) -> Value:
        """Normalize the last axis (Ba et al. 2016)."""
        return self.one(operations.LayerNorm(gamma, beta, epsilon), x)

    def activation(self, kind: str | None, x: Value) -> Value:
        """An activation by name: relu, relu6, swish, hard_swish, gelu, gelu_tanh, sigmoid, hard_sigmoid; or none."""
        return x if kind is None else self.unary(kind, x)

    def relu(self, x: Value) -> Value:
        """max(x, 0)."""
        return self.unary("relu", x)

    def relu6(self, x: Value) -> Value:
        """min(max(x, 0), 6)."""
        return self.unary("relu6", x)

    def clip01(self, x: Value) -> Value:
        """min(max(x, 0), 1)."""
        return self.unary("clip01", x)

    def abs(self, x: Value) -> Value:
        """The magnitude."""
        return self.unary("abs", x)

    def log(self, x: Value) -> Value:
        """The natural logarithm."""
        return self.unary("log", x)

    def ceil(self, x: Value) -> Value:
        """The next integer up."""
        return self.unary("ceil", x)

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + exp(-x))."""
        return self.unary("sigmoid", x)

    def sqrt(self, x: Value) -> Value:
        """The square root."""
        return self.unary("sqrt", x)

    def maximum(self, a: Any, b: Any) -> Value:
        """Element-wise maximum, with broadcasting."""
        return self.binary("maximum", a, b)

    def minimum(self, a: Any, b: Any) -> Value:
        """Element-wise minimum, with broadcasting."""
        return self.binary("minimum", a, b)

    def equal(self, a: Any, b: Any) -> Value:
        """Element-wise equality, with broadcasting."""
        return self.binary("equal", a, b)

    def clip(self, x: Value, low: int, high: int) -> Value:
        """min(max(x, low), high) of integers."""
        return self.one(operations.Clip(low, high), x)

    def resize(self, x: Value, size: Sequence[int]) -> Value:
        """Bilinear, half-pixel centers, no antialias."""
        return x if x.shape[1:3] == tuple(size) else self.one(operations.Resize((size[0], size[1])), x)

    def broadcast_to(self, vector: Value, size: Sequence[int]) -> Value:
        """A map [1, 1, 1, c] in a form that adds to maps of this size."""
        return self.one(operations.BroadcastTo((size[0], size[1])), vector)

    def global_mean(self, x: Value) -> Value:
        """Mean over height and width, [1, 1, 1, channels]."""
        return self.one(operations.GlobalMean(), x)

    def average_pool(self, x: Value, size: tuple[int, int], *, stride: int | None = None) -> Value:
        """Average pooling with strides as large as its windows; with one of its own `SAME`, of places in the map."""
        return self.one(operations.AveragePool(size, stride), x)

    def max_pool(self, x: Value, size: int, *, stride: int = 1) -> Value:
        """`SAME` max pooling; the padding never wins."""
        return self.one(operations.MaxPool(size, stride), x)

    def upsample(self, x: Value, factor: int) -> Value:
        """Repeat each place of a map in both directions (nearest neighbor)."""
        return x if factor == 1 else self.one(operations.Upsample(factor), x)

    def window_max(self, x: Value, size: int) -> Value:
        """`VALID` max pooling with stride 1."""
        return self.one(operations.WindowMax(size), x)

    def concat(self, xs: Sequence[Value], axis: int = -1) -> Value:
        """Join along an axis."""
        return self.one(operations.Concat(axis), *xs)

    def rows(self, x: Value) -> Value:
        """The locations of a map [1, h, w, c] as rows [h * w, c], which lie in one piece."""
        return self.one(operations.Rows(), x)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Same values in another shape."""
        return self.one(operations.Reshape(tuple(shape)), x)

    def slice(self, x: Value, axis: int, start: int, stop: int) -> Value:
        """What lies from start to before stop on one axis."""
        return self.one(operations.Slice(axis, start, stop), x)

    def matmul(self, a: Value, b: Value) -> Value:
        """[1, n, c] times [1, m, c] transposed: [1, n, m]."""
        return self.one(operations.Matmul(), a, b)

    def linear(self, rows: Value, vectors: Value, offsets: Value) -> Value:
        """[n, c] times [m, c] transposed, plus [m]: [n, m]."""
        return self.one(operations.Linear(), rows, vectors, offsets)

    def gather(self, x: Value, indices: Value) -> Value:
        """Rows of the first axis."""
        return self.one(operations.Gather(), x, indices)

    def pick(self, x: Value, locations: Value) -> Value:
        """Rows [..., c] of a map [1, h, w, c] at places y * w + x, int32 [...]."""
        return self.one(operations.Pick(), x, locations)

    def segment_sum(self, indices: Value, values: Value, size: int) -> Value:
        """Sums of the values [n] that share an index, for indices 0 ... size - 1."""
        return self.one(operations.SegmentSum(size), indices, values)

    def top_k(self, x: Value, k: int) -> tuple[Value, ...]:
        """Values and int32 indices of the k largest of the last axis, sorted; ties take the lower index."""
        return self.add(operations.TopK(k), x)

    def top_k_cells(self, x: Value, k: int, *, staged: bool = False) -> tuple[Value, ...]:
        """Values, places y * w + x and channels of the k largest of a map [1, h, w, c], sorted.

        Ties in a channel take the first place. `staged`: in stages, each of which leaves less to the next.
        """
        return self.add(operations.TopKCells(k, staged), x)

    def argmax(self, x: Value) -> Value:
        """Index (int32) of the largest on the last axis, the first on ties."""
        return self.one(operations.Argmax(), x)

    def max(self, x: Value, axis: int) -> Value:
        """Largest along one axis."""
        return self.one(operations.Max(axis), x)

    def sum(self, x: Value, axis: int) -> Value:
        """Sum over one axis."""
        return self.one(operations.Sum(axis), x)

    def where(self, condition: Value, a: Value, b: Value) -> Value:
        """A where the condition holds, else b."""
        return self.one(operations.Where(), condition, a, b)

    def all(self, conditions: Sequence[Value]) -> Value:
        """Element-wise conjunction."""
        return self.one(operations.All(), *conditions)

    def cond(self, condition: Value, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        """One of two subgraphs, each with a tensor or a tuple of them; the other does not run."""
        branches, results = [], []
        for build in (then, otherwise):
            outer = self._target, self._place
            self._target, self._place = Graph(), None
            try:
                results.append(build())
                values = results[-1] if isinstance(results[-1], tuple) else (results[-1],)
                self._target.outputs = {str(i): value for i, value in enumerate(values)}
                branches.append(self._target)
            finally:
                self._target, self._place = outer
        chosen = self.add(operations.Cond(*branches), condition)
        return chosen if isinstance(results[0], tuple) else chosen[0]


def joined(ops: GraphBuilder, maps: list[Value]) -> Value:
    """The places of several maps one after the other, as a map [1, places, 1, c]; a single map stays as it is."""
    if len(maps) == 1:
        return maps[0]
    flat = []
    for x in maps:
        _, height, width, channels = ops.shape(x)
        flat.append(ops.reshape(x, [1, height * width, 1, channels]))
    return ops.concat(flat, 1)
