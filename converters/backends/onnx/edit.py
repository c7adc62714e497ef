"""Rewriting a finished ONNX model."""

from collections.abc import Container, Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from maskconver_mobile.converters.backends.onnx.graph import reads
from maskconver_mobile.converters.quantization.half_precision import LARGE, to_half


class GraphEditor:
    """A graph being rewritten: its constants, those that are added, and the nodes so far."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.added: dict[str, NDArray[Any]] = {}
        self.nodes: list[onnx.NodeProto] = []

    def constant(self, name: str, value: Any) -> str:
        """Add a constant; returns its name."""
        self.added[name] = np.asarray(value)
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add an operator; returns its output, which is its name too."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def kernel(self, convolution: onnx.NodeProto) -> NDArray[Any]:
        """Weights [outputs, inputs / groups, kh, kw]."""
        weights: NDArray[Any] = self.constants[convolution.input[1]]
        return weights

    @staticmethod
    def is_depthwise(convolution: onnx.NodeProto) -> bool:
        """Whether every channel is convolved on its own."""
        return any(attribute.name == "group" and attribute.i > 1 for attribute in convolution.attribute)

    def finish(self, nodes: Iterable[onnx.NodeProto], *, keep_shapes: bool = False) -> None:
        """Put nodes and the constants that they use into the graph; shapes of intermediates are forgotten or kept."""
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        used = reads(kept)
        made = {name for node in kept for name in node.output}
        constants = {**self.constants, **self.added}
        del self.graph.node[:], self.graph.initializer[:]
        if not keep_shapes:
            del self.graph.value_info[:]
        self.graph.node.extend(kept)
        self.graph.initializer.extend(
            numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
            for name, value in constants.items()
            if name in used - made
        )


def halve_weights(model: onnx.ModelProto, chosen: Container[str] | None = None) -> None:
    """Store large weights in half precision, with a Cast behind each; all arithmetic stays float32.

    Args:
        model: changed in place.
        chosen: operators of layers by name; all if None. What belongs to no layer, such as the merge's own constants,
            keeps its precision.
    """
    editor = GraphEditor(model)
    weights = {
        node.input[1]
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm") and "/" in node.name and (chosen is None or node.name in chosen)
    }
    casts = []
    for name, value in editor.constants.items():
        if name in weights and value.dtype == np.float32 and value.size > LARGE:
            half = editor.constant(f"{name}_half", to_half(value, name))
            casts.append(helper.make_node("Cast", [half], [name], name=f"{name}_cast", to=onnx.TensorProto.FLOAT))
    editor.finish([*casts, *model.graph.node])
