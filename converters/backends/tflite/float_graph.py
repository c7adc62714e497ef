"""A float flatbuffer as quantization sees it."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from maskconver_mobile.converters.backends.tflite.flatbuffer import CONVOLUTIONS, Flatbuffer
from maskconver_mobile.converters.backends.tflite.integer_bands import sums
from maskconver_mobile.converters.quantization.calibration import Tensor
from maskconver_mobile.converters.quantization.float_graph import Array, Convolution, FloatGraph, Look
from maskconver_mobile.converters.quantization.recipes import layer_of
from maskconver_mobile.formats.runtimes import default_threads

HOMOGENEOUS = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)


class FlatbufferGraph(FloatGraph):
    """A flatbuffer; `content` is what it has become."""

    def __init__(self, content: bytes) -> None:
        self._flatbuffer = Flatbuffer(content)

    @property
    def content(self) -> bytes:
        """The flatbuffer as it is now."""
        return self._flatbuffer.to_bytes()

    def convolutions(self) -> list[Convolution]:
        """All of them, in the graph's order."""
        flatbuffer = self._flatbuffer
        return [self._convolution(op) for op in flatbuffer.graph.operators if flatbuffer.kind(op) in CONVOLUTIONS]

    def maker(self, output: str) -> Convolution:
        """The convolution that makes a map."""
        tensor = self._number(output)
        return self._convolution(next(op for op in self._flatbuffer.graph.operators if tensor in op.outputs))

    def readers(self, output: str) -> list[Convolution]:
        """The convolutions that read a map as their image; none if anything else sees it, too."""
        tensor = self._number(output)
        found = self._flatbuffer.consumers(tensor)
        alone = all(self._flatbuffer.kind(op) in CONVOLUTIONS and int(op.inputs[0]) == tensor for op in found)
        return [self._convolution(op) for op in found] if alone and tensor not in self._flatbuffer.graph.outputs else []

    def depthwise(self) -> list[list[Convolution]]:
        """Its depthwise convolutions; the pieces of one larger kernel together."""
        groups = [[self._convolution(piece) for piece in found.pieces] for found in sums(self._flatbuffer)]
        known = {id(piece.operator) for pieces in groups for piece in pieces}
        own = [[each] for each in self.convolutions() if each.depthwise and id(each.operator) not in known]
        return [each for each in (*groups, *own) if max(self._flatbuffer.shape(self._number(each[0].output))[1:3]) > 1]

    def replace(self, convolution: Convolution, kernel: Array, bias: Array) -> None:
        """Give a convolution weights of its own."""
        stored = kernel.transpose(2, 0, 1, 3) if convolution.depthwise else kernel.transpose(3, 0, 1, 2)
        stem = convolution.output.split(";")[0]
        parts = {"kernel": np.ascontiguousarray(stored, np.float32), "bias": np.asarray(bias, np.float32)}
        added = [
            self._flatbuffer.add_tensor(f"{stem}/own_{part}", list(values.shape), values)
            for part, values in parts.items()
        ]
        convolution.operator.inputs = np.array([int(convolution.operator.inputs[0]), *added], np.int32)

    def observe(
        self, names: Sequence[str], inputs: Sequence[Tensor], look: Look, on_image: Callable[[], None] = lambda: None
    ) -> None:
        """Run the graph and look at its maps."""
        observe(self.content, names, inputs, look, on_image)

    def _number(self, name: str) -> int:
        """Of a tensor as it is now: packing the flatbuffer numbers them anew."""
        return next(t for t in range(len(self._flatbuffer.graph.tensors)) if self._flatbuffer.name(t) == name)

    def _convolution(self, op: Any) -> Convolution:
        flatbuffer, options = self._flatbuffer, op.builtinOptions
        kernel = flatbuffer.constant(int(op.inputs[1]))
        depthwise = flatbuffer.kind(op) == "DEPTHWISE_CONV_2D"
        stride = (int(options.strideH), int(options.strideW))
        dilation = (int(options.dilationHFactor), int(options.dilationWFactor))
        sides = zip(
            flatbuffer.shape(int(op.inputs[0]))[1:3],
            flatbuffer.shape(int(op.outputs[0]))[1:3],
            kernel.shape[1:3],
            stride,
            dilation,
            strict=True,
        )
        same = options.padding == schema.Padding.SAME
        rows, columns = (_border(*side) if same else (0, 0) for side in sides)
        return Convolution(
            op,
            layer_of(flatbuffer.name(int(op.outputs[0]))),
            flatbuffer.name(int(op.inputs[0])),
            flatbuffer.name(int(op.outputs[0])),
            kernel.transpose(1, 2, 0, 3) if depthwise else kernel.transpose(1, 2, 3, 0),
            flatbuffer.constant(int(op.inputs[2])),
            depthwise,
            options.fusedActivationFunction in HOMOGENEOUS,
            stride,
            dilation,
            (rows, columns),
        )


def observe(
    content: bytes,
    names: Sequence[str],
    inputs: Sequence[Tensor],
    look: Look,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Run a float flatbuffer and look at what its tensors hold; see `FloatGraph.observe`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # keeping all tensors is said to be for debugging
        interpreter = Interpreter(
            model_content=content, num_threads=default_threads(), experimental_preserve_all_tensors=True
        )
    interpreter.allocate_tensors()
    indices = {detail["name"]: detail["index"] for detail in interpreter.get_tensor_details()}
    image = interpreter.get_input_details()[0]
    for value in inputs:
        interpreter.set_tensor(image["index"], value.astype(image["dtype"]))
        interpreter.invoke()
        for name in names:
            look(name, interpreter.get_tensor(indices[name]))
        on_image()


def _border(side: int, made: int, taps: int, stride: int, dilation: int) -> tuple[int, int]:
    """Zeros that `SAME` puts before and after a row."""
    total = max((made - 1) * stride + (taps - 1) * dilation + 1 - side, 0)
    return total // 2, total - total // 2
