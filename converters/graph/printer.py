"""A graph in text, one node a line."""

from collections.abc import Iterator

import numpy as np

from maskconver_mobile.converters.graph.ir import Graph, Value
from maskconver_mobile.converters.graph.operations import Cond


def lines(graph: Graph, indent: str = "", names: dict[int, str] | None = None) -> Iterator[str]:
    """Such as `%7 = conv(%6) kernel 1x1x32x96, stride 1 : 64x64x96  # backbone/layer_with_weights-1/_conv0`."""
    names = {} if names is None else names

    def name(value: Value) -> str:
        if value.constant is not None:
            constant = value.constant
            return f"{constant.item():g}" if constant.size == 1 else f"constant {_shape(constant.shape)}"
        return names.setdefault(id(value), f"%{len(names)}")

    for title, value in graph.inputs.items():
        names[id(value)] = f"%{title}"
        yield f"{indent}%{title} : {_shape(value.shape)} {value.dtype}"
    for node in graph.nodes:
        inputs = ", ".join(map(name, node.inputs))
        outputs = ", ".join(map(name, node.outputs))
        attributes = ", ".join(
            f"{key} {_attribute(value)}"
            for key, value in node.op.attributes.items()
            if not isinstance(value, Graph) and value is not None and value is not False
        )
        shapes = ", ".join(_shape(value.shape) for value in node.outputs)
        layers = f"  # {' + '.join(node.scopes)}" if node.scopes else ""
        yield f"{indent}{outputs} = {node.op.method}({inputs}) {attributes}".rstrip() + f" : {shapes}{layers}"
        if isinstance(node.op, Cond):
            for word, branch in (("then", node.op.then), ("else", node.op.otherwise)):
                yield f"{indent}  {word}:"
                yield from lines(branch, indent + "    ", names)
    yield f"{indent}return {', '.join(f'{title} {name(value)}' for title, value in graph.outputs.items())}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _attribute(value: object) -> str:
    return _shape(value.shape) if isinstance(value, np.ndarray) else str(value)
