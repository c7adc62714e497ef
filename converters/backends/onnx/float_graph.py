"""A float ONNX model as quantization sees it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from maskconver_mobile.converters.quantization.calibration import Tensor
from maskconver_mobile.converters.quantization.float_graph import WEIGHT_LIMIT, Array, Convolution, FloatGraph, Look
from maskconver_mobile.converters.quantization.recipes import layer_of


class OnnxFloatGraph(FloatGraph):
    """A model with the shapes of all its tensors; it is changed in place.

    Its integer weights are `paired`: x86 without VNNI adds two products of a byte and a weight in 16 bits. Two weights
    of 127 saturate there, which changed a sixth of the pixels of photographs, while 255 * (127 + 1) fits.
    """

    paired = True

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._seen_outside = {value.name for value in model.graph.output} | set(_read_in_branches(model.graph))
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self._readers[name].append(node)

    def convolutions(self) -> list[Convolution]:
        """All of them, in the graph's order."""
        return [self._convolution(node) for node in self.model.graph.node if self._is_convolution(node)]

    def maker(self, output: str) -> Convolution:
        """The convolution that makes a map."""
        return next(each for each in self.convolutions() if each.output == output)

    def readers(self, output: str) -> list[Convolution]:
        """The convolutions that read a map as their image; none if anything else sees it, too."""
        found = self._readers[output]
        alone = all(self._is_convolution(node) and node.input[0] == output for node in found)
        return [self._convolution(node) for node in found] if alone and output not in self._seen_outside else []

    def depthwise(self) -> list[list[Convolution]]:
        """Its depthwise convolutions; none is in pieces."""
        sides = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim[2:]]
            for value in self.model.graph.value_info
        }
        return [[each] for each in self.convolutions() if each.depthwise and max(sides.get(each.output, [1])) > 1]

    def step(self, weights: Array) -> Array:
        """What one means, so that no two neighbors exceed `WEIGHT_LIMIT` together."""
        return step(weights)

    def replace(self, convolution: Convolution, kernel: Array, bias: Array) -> None:
        """Give a convolution weights of its own."""
        node = convolution.operator
        parts = {
            f"{node.name}_own_kernel": kernel.transpose(3, 2, 0, 1),
            f"{node.name}_own_bias": bias,
        }
        for name, values in parts.items():
            if name in self._constants:
                old = next(tensor for tensor in self.model.graph.initializer if tensor.name == name)
                self.model.graph.initializer.remove(old)
            self._constants[name] = np.ascontiguousarray(values, np.float32)
            self.model.graph.initializer.append(numpy_helper.from_array(self._constants[name], name))
        node.input[:] = [node.input[0], *parts]

    def observe(
        self, names: Sequence[str], inputs: Sequence[Tensor], look: Look, on_image: Callable[[], None] = lambda: None
    ) -> None:
        """Run the graph and look at its maps."""
        probed = onnx.ModelProto()
        probed.CopyFrom(self.model)
        wanted = set(names)
        probed.graph.output.extend(value for value in self.model.graph.value_info if value.name in wanted)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3  # it warns of weights that others have replaced
        session = onnxruntime.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for tensor in inputs:
            if names:
                for name, values in zip(names, session.run(list(names), {"image": tensor}), strict=True):
                    look(name, np.moveaxis(values, 1, -1) if values.ndim == 4 else values)
            on_image()

    def _is_convolution(self, node: onnx.NodeProto) -> bool:
        return bool(node.op_type == "Conv" and node.input[1] in self._constants)

    def _convolution(self, node: onnx.NodeProto) -> Convolution:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        kernel = self._constants[node.input[1]].transpose(2, 3, 1, 0)
        bias = self._constants[node.input[2]] if len(node.input) > 2 else np.zeros(kernel.shape[3], np.float32)
        top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
        return Convolution(
            node,
            layer_of(node.name),
            node.input[0],
            self._activated(node.output[0]),
            kernel,
            bias,
            attributes.get("group", 1) > 1,
            True,  # other activations are operators, which read the map
            _pair(attributes.get("strides", [1, 1])),
            _pair(attributes.get("dilations", [1, 1])),
            ((top, bottom), (left, right)),
        )

    def _activated(self, made: str) -> str:
        """The map behind a ReLU that alone reads a convolution's; else the convolution's own."""
        readers = self._readers[made]
        own = len(readers) == 1 and readers[0].op_type == "Relu" and made not in self._seen_outside
        return str(readers[0].output[0]) if own else made


def step(weights: Array) -> Array:
    """What one means in the integer weights of each row [rows, values], so that no pair exceeds `WEIGHT_LIMIT`."""
    padded = np.pad(np.abs(weights), ((0, 0), (0, 1)))
    largest = (padded[:, :-1] + padded[:, 1:]).max(1)
    return np.asarray(np.maximum(largest, 1e-9) / WEIGHT_LIMIT, np.float32)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    rows, columns = values
    return rows, columns


def _read_in_branches(graph: onnx.GraphProto) -> Iterator[str]:
    """Names that the nodes of subgraphs read."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from (name for inner in attribute.g.node for name in inner.input)
                yield from _read_in_branches(attribute.g)
