"""Cross-layer equalisation (`equalization.py`) of a float ONNX model, before it is quantized."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from maskconver_mobile.converters.backends.onnx.edit import GraphEditor
from maskconver_mobile.converters.backends.onnx.observe import observe
from maskconver_mobile.converters.quantization.calibration import Tensor
from maskconver_mobile.converters.quantization.equalization import Reach, balance

Array = NDArray[Any]


def equalize(model: onnx.ModelProto, inputs: Sequence[Tensor], on_image: Callable[[], None] = lambda: None) -> None:
    """Equalise the convolutions of a float model, in place.

    Args:
        model: with the shapes of all its tensors.
        inputs: calibration tensors, on which the channels' reach is measured.
        on_image: called after each.
    """
    editor = GraphEditor(model)
    links = find_links(model)
    reach = Reach(channels=1)
    observe(model, list(links), inputs, reach.widen, on_image)
    for name, (producer, consumers) in links.items():
        dense = [editor.kernel(op) for op in consumers if not editor.is_depthwise(op)]
        weights = np.max([np.abs(kernel).max((0, 2, 3)) for kernel in dense], 0) if dense else None
        scale = balance(reach[name], weights)
        by_output = scale.reshape(-1, 1, 1, 1)
        _replace(editor, producer, 1, editor.kernel(producer) / by_output)
        if len(producer.input) > 2:
            _replace(editor, producer, 2, editor.constants[producer.input[2]] / scale)
        for op in consumers:
            by_channel = by_output if editor.is_depthwise(op) else scale.reshape(1, -1, 1, 1)
            _replace(editor, op, 1, editor.kernel(op) * by_channel)
    editor.finish(list(model.graph.node), keep_shapes=True)


def find_links(model: onnx.ModelProto) -> dict[str, tuple[onnx.NodeProto, list[onnx.NodeProto]]]:
    """Tensors that a convolution makes, with or without Relu, and convolutions alone read; with both."""
    made = {node.output[0]: node for node in model.graph.node}
    seen_outside = {value.name for value in model.graph.output} | set(_read_in_branches(model.graph))
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    links = {}
    for name, node in made.items():
        producer = made.get(node.input[0]) if node.op_type == "Relu" else node
        alone = node.op_type != "Relu" or len(readers[node.input[0]]) == 1
        consumers = readers[name]
        if producer is None or producer.op_type != "Conv" or not alone or not consumers:
            continue
        if name in seen_outside or producer.output[0] in seen_outside:
            continue
        if all(op.op_type == "Conv" and op.input[0] == name for op in consumers):
            links[name] = producer, consumers
    return links


def _read_in_branches(graph: onnx.GraphProto) -> Iterator[str]:
    """Names that the nodes of subgraphs read."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from (name for inner in attribute.g.node for name in inner.input)
                yield from _read_in_branches(attribute.g)


def _replace(editor: GraphEditor, node: onnx.NodeProto, place: int, values: Array) -> None:
    """Give an operator a constant of its own: others may share the one it had."""
    name = f"{node.name}_equalised_{('', 'kernel', 'bias')[place]}"
    editor.constants[name] = values.astype(np.float32)
    node.input[place] = name
