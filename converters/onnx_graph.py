"""An ONNX graph under construction: nodes, initializers, and the finished model."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 15
"""The newest that every ONNX Runtime Mobile package from 1.11 on lists; nothing here needs a newer operator."""
IR_VERSION = 8
LARGE = 1024
"""Constants of more values than this are weights, which `float16` files store in half precision."""


class OnnxGraph:
    """Collects nodes; equal nodes and equal constants are made once."""

    def __init__(self, *, half: bool = False) -> None:
        self.half = half
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._known: dict[Any, list[str]] = {}
        self._unshaped: dict[str, str] = {}
        self._scope = ""

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
            stem = f"{self._scope}{kind.lower()}_{len(self._nodes)}"
            names = [stem, *(f"{stem}_{i}" for i in range(1, outputs))]
            self._nodes.append(helper.make_node(kind, inputs, names, name=stem, **attributes))
            self._known[key] = names
        return self._known[key]

    def constant(self, value: NDArray[Any]) -> str:
        """Add an initializer, in half precision with a Cast behind it where the file is to have that."""
        if self.half and value.dtype == np.float32 and value.size > LARGE:
            return self.cast(self.constant(value.astype(np.float16)), np.dtype(np.float32))
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

    def model(
        self, inputs: Mapping[str, onnx.TypeProto], outputs: Mapping[str, tuple[str, onnx.TypeProto]]
    ) -> onnx.ModelProto:
        """The finished model: what no output needs is gone, every tensor has its shape, and the checker has agreed.

        Args:
            inputs: types by name.
            outputs: internal name and type by public name.
        """
        nodes = self._needed({internal for internal, _ in outputs.values()})
        public = {internal: name for name, (internal, _) in outputs.items()}
        for node in nodes:
            for names in (node.input, node.output):
                names[:] = [public.get(name, name) for name in names]
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            "maskconver",
            [helper.make_value_info(name, type_) for name, type_ in inputs.items()],
            [helper.make_value_info(name, type_) for name, (_, type_) in outputs.items()],
            [tensor for name, tensor in self._initializers.items() if name in used],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _needed(self, wanted: set[str]) -> list[onnx.NodeProto]:
        wanted, nodes = set(wanted), []
        for node in reversed(self._nodes):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                copy = onnx.NodeProto()
                copy.CopyFrom(node)
                nodes.append(copy)
        return nodes[::-1]
