"""An ONNX graph under construction: nodes, initializers, and the finished model."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 17
"""The oldest that has every operator (LayerNormalization came with 17), so the one that most runtimes read: ONNX
Runtime from 1.12 on, on phones and in browsers too."""
IR_VERSION = 8


class OnnxGraph:
    """Collects nodes; equal nodes and equal constants are made once."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._known: dict[Any, list[str]] = {}
        self._unshaped: dict[str, str] = {}
        self._scope = ""
        self._numbers = itertools.count()

    @contextmanager
    def scope(self, path: str) -> Iterator[str]:
        """Operators added within carry this path in their names."""
        outer, self._scope = self._scope, f"{path}/"
        try:
            yield path
        finally:
            self._scope = outer

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add an operator; returns the name of its output."""
        return self.nodes(kind, inputs, 1, **attributes)[0]

    def nodes(self, kind: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Add an operator with several outputs."""
        key = (kind, *inputs, repr(sorted(attributes.items())))
        if key not in self._known:
            stem = f"{self._scope}{kind.lower()}_{next(self._numbers)}"
            names = [stem, *(f"{stem}_{i}" for i in range(1, outputs))]
            self._nodes.append(helper.make_node(kind, inputs, names, name=stem, **attributes))
            self._known[key] = names
        return self._known[key]

    def constant(self, value: NDArray[Any]) -> str:
        """Add an initializer."""
        value = np.ascontiguousarray(value)
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        key = (digest, value.shape, value.dtype.name)
        if key not in self._known:
            name = f"constant_{len(self._initializers)}"
            self._initializers[name] = numpy_helper.from_array(value, name)
            self._known[key] = [name]
        return self._known[key][0]

    def cast(self, name: str, dtype: np.dtype[Any]) -> str:
        """Convert the element type."""
        return self.node("Cast", [name], to=helper.np_dtype_to_tensor_dtype(dtype))

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        """Reshape; of several in a row the last is left."""
        source = self._unshaped.get(name, name)
        result = self.node("Reshape", [source, self.constant(np.array(shape, np.int64))])
        self._unshaped[result] = source
        return result

    def branch(self, build: Callable[[], list[tuple[str, onnx.TypeProto]]]) -> onnx.GraphProto:
        """A subgraph of the operators that `build` adds; its outputs are the tensors that it names, of those types."""
        outer = self._nodes, self._known, self._unshaped
        self._nodes, self._known, self._unshaped = [], dict(self._known), dict(self._unshaped)
        outputs = [(self.node("Identity", [name]), type_) for name, type_ in build()]
        nodes = _needed(self._nodes, {name for name, _ in outputs})
        graph = helper.make_graph(nodes, outputs[0][0], [], [helper.make_value_info(*output) for output in outputs])
        self._nodes, self._known, self._unshaped = outer
        return graph

    def model(
        self, inputs: Mapping[str, onnx.TypeProto], outputs: Mapping[str, tuple[str, onnx.TypeProto]]
    ) -> onnx.ModelProto:
        """The finished model: what no output needs is gone, every tensor has its shape, and the checker has agreed.

        Args:
            inputs: types by name.
            outputs: internal name and type by public name.
        """
        nodes = _needed(self._nodes, {internal for internal, _ in outputs.values()})
        _rename(nodes, {internal: name for name, (internal, _) in outputs.items()})
        used = reads(nodes)
        graph = helper.make_graph(
            nodes,
            "maskconver",
            [helper.make_value_info(name, type_) for name, type_ in inputs.items()],
            [helper.make_value_info(name, type_) for name, (_, type_) in outputs.items()],
            [tensor for name, tensor in self._initializers.items() if name in used],
        )
        opset = helper.make_opsetid("", OPSET)
        return checked(helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION))


def tensor_type(dtype: np.dtype[Any], shape: tuple[int, ...]) -> onnx.TypeProto:
    """The type of a tensor of static shape."""
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(dtype), shape)


def checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the shapes of all its tensors, once the checker has agreed."""
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def _needed(nodes: Sequence[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """The nodes that outputs depend on, as copies."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted |= reads([node])
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    return kept[::-1]


def _subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]


def reads(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Names that nodes and their subgraphs read."""
    names: set[str] = set()
    for node in nodes:
        names.update(node.input)
        for graph in _subgraphs(node):
            names |= reads(graph.node)
    return names


def _rename(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> None:
    for node in nodes:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]
        for graph in _subgraphs(node):
            _rename(graph.node, names)
