"""Layers that the levels of a pyramid share run on the rows that are picked from all levels."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder, joined
from maskconver_mobile.converters.graph.ir import Node, Value
from maskconver_mobile.converters.passes.sink_picks import WORTH

Step = Callable[[Value], Value]


def pick_levels(builder: GraphBuilder) -> int:
    """rows(join(f(x), f(y))) = f(rows(join(x, y))), for layers f on each location alone or on a window around it.

    Levels that have norms of their own are told apart by the location.
    """
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Pick):
        map_, locations = node.inputs
        if len(locations.shape) == 1:
            sunk = _Sunk(builder, _levels(builder, map_), locations)
            if sunk.steps:
                builder.replace(node, sunk.rows(node))
                count += len(sunk.steps)
    return count


def _levels(builder: GraphBuilder, map_: Value) -> list[Value]:
    """The maps whose places stand one after the other in this one; itself if it is not made so."""
    concat = builder.graph.only_for(map_, operations.Concat)
    if concat is None or concat.op.axis != 1:
        return [map_]
    flat = [builder.graph.only_for(part, operations.Reshape) for part in concat.inputs]
    whole = [node.inputs[0] for node in flat if node is not None and node.inputs[0].shape[-1] == map_.shape[-1]]
    return whole if len(whole) == len(flat) else [map_]


class _Sunk:
    """What is done to rows instead of maps, the last layer first."""

    def __init__(self, builder: GraphBuilder, levels: list[Value], locations: Value) -> None:
        self.builder, self.levels, self.locations = builder, levels, locations
        self.sizes = [(x.shape[1], x.shape[2]) for x in levels]
        self.places = sum(math.prod(size) for size in self.sizes)
        self.steps: list[tuple[tuple[str, ...], Step]] = []
        self.window: tuple[int, int] | None = None
        while self.window is None and (step := self._step()):
            self.steps.append(step)

    def rows(self, node: Node[operations.Pick]) -> Value:
        """The rows [k, c] of the levels as they are now, then the layers."""
        builder = self.builder
        with builder.before(node):
            x = joined(builder, self.levels)
            if self.window is None:
                rows = builder.pick(x, self.locations)
            else:
                channels = x.shape[-1]
                nothing = builder.constant(np.zeros((1, 1, 1, channels)))
                flat = builder.reshape(x, [1, self.places, 1, channels])
                table = builder.constant(neighbors(self.sizes, self.window), np.int32)
                rows = builder.pick(builder.concat([flat, nothing], 1), builder.gather(table, self.locations))
                rows = builder.reshape(rows, [self.locations.shape[0], math.prod(self.window) * channels])
        for scopes, step in reversed(self.steps):
            with builder.before(node, scopes=scopes):
                rows = step(rows)
        return rows

    def _step(self) -> tuple[tuple[str, ...], Step] | None:
        """The layer that makes all levels, as a function of rows; the levels are what it reads from there on."""
        nodes = [self.builder.graph.only_for(x, operations.Op) for x in self.levels]
        layers = [node for node in nodes if node is not None]
        ops = [node.op for node in layers]
        if len(ops) < len(nodes) or len({type(op) for op in ops}) > 1:
            return None
        step = self._function(layers)
        if step is None:
            return None
        scopes = tuple(dict.fromkeys(scope for node in layers for scope in node.scopes))
        self.levels = [node.inputs[0] for node in layers]
        return scopes, step

    def _function(self, layers: Sequence[Node[operations.Op]]) -> Step | None:
        builder, op = self.builder, layers[0].op
        match op:
            case operations.Conv() if op.stride == 1 and all(_same(op, node.op) for node in layers):
                window = op.kernel.shape[:2]
                if (len(self.levels) == 1 and op.pointwise) or not self._few(math.prod(window)):
                    return None
                self.window = None if op.pointwise else (window[0], window[1])
                kernel = op.kernel.reshape(-1, op.kernel.shape[3])
                return lambda rows: builder.dense(rows, kernel, op.bias, activation=op.activation)
            case operations.Unary() if _agree(layers, "kind") and self._several():
                return lambda rows: builder.one(op, rows)
            case operations.LayerNorm() if _agree(layers, "epsilon") and self._several():
                one = np.ones_like(op.gamma)
                scale, shift = ([getattr(node.op, name) for node in layers] for name in ("gamma", "beta"))
                return lambda rows: (
                    builder.layer_norm(rows, one, 0 * one, op.epsilon) * self._own(scale) + self._own(shift)
                )
            case operations.Binary() if _agree(layers, "kind") and self._several():
                constants = [node.inputs[1].constant for node in layers]
                vectors = [c for c in constants if c is not None and c.shape == layers[0].output.shape[-1:]]
                if len(vectors) == len(layers):
                    return lambda rows: builder.one(op, rows, self._own(vectors))
        return None

    def _several(self) -> bool:
        """Whether there are several levels, and fewer rows than places; `sink_picks` does it for one."""
        return len(self.levels) > 1 and self._few(1)

    def _few(self, taps: int) -> bool:
        return self.locations.shape[0] * taps < WORTH * self.places

    def _own(self, vectors: Sequence[NDArray[np.float32]]) -> Value:
        """For each row [k, c] the vector of its level."""
        level = np.repeat(np.arange(len(self.sizes)), [math.prod(size) for size in self.sizes])
        of_rows = self.builder.gather(self.builder.constant(level, np.int32), self.locations)
        return self.builder.gather(self.builder.constant(np.stack(vectors)), of_rows)


def _agree(layers: Sequence[Node[operations.Op]], name: str) -> bool:
    """Whether an attribute is the same in all layers."""
    return len({getattr(node.op, name) for node in layers}) == 1


def _same(a: operations.Conv, b: object) -> bool:
    """Whether two convolutions are one layer."""
    return (
        isinstance(b, operations.Conv)
        and (a.kernel is b.kernel and a.bias is b.bias)
        and (a.activation, a.stride) == (b.activation, b.stride)
    )


def neighbors(sizes: Sequence[tuple[int, int]], window: tuple[int, int]) -> NDArray[np.int32]:
    """Where the taps of a `SAME` window around each place of several maps are: [places, taps].

    Places are y * w + x, and count on from map to map; beyond the border of a map stands the number of all places.
    """
    places = sum(math.prod(size) for size in sizes)
    tables = []
    first = 0
    for height, width in sizes:
        numbers = first + np.arange(height * width).reshape(height, width)
        pads = [((taps - 1) // 2, taps // 2) for taps in window]
        padded = np.pad(numbers, pads, constant_values=places)
        views = np.lib.stride_tricks.sliding_window_view(padded, window)
        tables.append(views.reshape(height * width, -1))
        first += height * width
    return np.concatenate(tables).astype(np.int32)
