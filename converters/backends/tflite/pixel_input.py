"""Let the first convolution take the pixels themselves, so that an integer graph never casts the image to float."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from maskconver_mobile.converters.backends.tflite.flatbuffer import FLOAT32, Flatbuffer
from maskconver_mobile.converters.quantization.calibration import Ranges
from maskconver_mobile.errors import MaskConverError

PIXEL_RANGE = (0.0, 255.0)
CHANNELS = 3
Vector = NDArray[np.float64]


def fold_normalisation(content: bytes) -> bytes:
    """Rewrite `conv(scale * pixel + offset)` as `conv'(pixel)`; the input becomes float32 pixels 0..255.

    The kernel takes the scale and the bias takes what the kernel makes of the offset. The `SAME` border of the original
    is 0 after normalisation, that is the mean colour before it, which no padding operator can spell: so rows and
    columns of the mean colour, rounded to whole pixels, are joined to the image and the convolution is `VALID`.

    Raises:
        MaskConverError: what stands between the image and the first convolution is no plain normalisation.
    """
    flatbuffer = Flatbuffer(content)
    graph = flatbuffer.graph
    image = int(graph.inputs[0])
    chain, convolution, scale, offset = _normalisation(flatbuffer, image)
    kernel = flatbuffer.constant(convolution.inputs[1]).astype(np.float64)
    bias = flatbuffer.constant(convolution.inputs[2]) + (kernel * offset).sum((1, 2, 3))
    name = flatbuffer.name(convolution.outputs[0])
    bordered, joins = _add_border(flatbuffer, image, convolution, np.round(-offset / scale), name)
    convolution.inputs = np.array(
        [
            bordered,
            flatbuffer.add_tensor(f"{name}/pixel_kernel", list(kernel.shape), kernel * scale),
            flatbuffer.add_tensor(f"{name}/pixel_bias", [len(bias)], bias),
        ],
        np.int32,
    )
    convolution.builtinOptions.padding = schema.Padding.VALID
    graph.tensors[image].type = FLOAT32
    graph.operators = [*joins, *(op for op in graph.operators if all(op is not other for other in chain))]
    return flatbuffer.to_bytes()


def pixel_ranges(content: bytes) -> Ranges:
    """The range 0..255 for the rewritten graph's input and the image with its border, so that their scale is 1."""
    flatbuffer = Flatbuffer(content)
    found = {int(flatbuffer.graph.inputs[0])}
    for op in flatbuffer.graph.operators:
        if flatbuffer.kind(op) == "CONCATENATION" and not found.isdisjoint(op.inputs):
            found.update(op.outputs)
    return {flatbuffer.name(int(tensor)): PIXEL_RANGE for tensor in found}


def starts_with_bytes(content: bytes) -> bool:
    """Whether all that a quantized graph does with its image is to make bytes of it."""
    flatbuffer = Flatbuffer(content)
    readers = flatbuffer.consumers(int(flatbuffer.graph.inputs[0]))
    return [flatbuffer.kind(op) for op in readers] == ["QUANTIZE"]


def take_bytes(content: bytes) -> bytes:
    """Make the float32 pixel input, which is quantized to int8 with scale 1, a uint8 input.

    The QUANTIZE operator behind it then only shifts the zero point from 0 to -128.
    """
    flatbuffer = Flatbuffer(content)
    tensor = flatbuffer.graph.tensors[flatbuffer.graph.inputs[0]]
    tensor.type = schema.TensorType.UINT8
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale, tensor.quantization.zeroPoint = np.ones(1, np.float32), np.zeros(1, np.int64)
    return flatbuffer.to_bytes()


def _normalisation(flatbuffer: Flatbuffer, image: int) -> tuple[list[Any], Any, Vector, Vector]:
    """The operators between image and first convolution, that convolution, and scale and offset per channel."""
    scale, offset = np.ones(CHANNELS), np.zeros(CHANNELS)
    chain: list[Any] = []
    tensor = image
    while len(chain) < 8:
        readers = flatbuffer.consumers(tensor)
        if len(readers) != 1:
            break
        operator, kind = readers[0], flatbuffer.kind(readers[0])
        if kind == "CONV_2D" and operator.builtinOptions.padding == schema.Padding.SAME:
            return chain, operator, scale, offset
        if kind in ("SUB", "ADD", "MUL") and flatbuffer.is_constant(int(operator.inputs[1])):
            places = flatbuffer.constant(operator.inputs[1]).astype(np.float64).reshape(-1, CHANNELS)
            value = places[0]
            if (places != value).any():
                break
            scale = scale * value if kind == "MUL" else scale
            offset = offset * value if kind == "MUL" else offset + (value if kind == "ADD" else -value)
        elif kind not in ("CAST", "RESHAPE"):
            break
        chain.append(operator)
        tensor = int(operator.outputs[0])
    raise MaskConverError("image: no plain normalisation in front of the first convolution; convert the model again")


def _add_border(
    flatbuffer: Flatbuffer, image: int, convolution: Any, colour: Vector, name: str
) -> tuple[int, list[Any]]:
    """Join what `SAME` padding would add, in this colour; returns the larger image and the joining operators."""
    _, *size, _ = flatbuffer.shape(image)
    _, *kernel, _ = flatbuffer.shape(int(convolution.inputs[1]))
    options = convolution.builtinOptions
    joins = []
    tensor = image
    for axis, stride in ((0, options.strideH), (1, options.strideW)):
        total = max((-(-size[axis] // stride) - 1) * stride + kernel[axis] - size[axis], 0)
        parts = [tensor]
        for before, width in ((True, total // 2), (False, total - total // 2)):
            if width:
                shape = [1, *size, CHANNELS]
                shape[axis + 1] = width
                band = flatbuffer.add_tensor(
                    f"{name}/border_{axis}_{width}_{before}", shape, np.broadcast_to(colour, shape)
                )
                parts.insert(0 if before else len(parts), band)
        if len(parts) > 1:
            size[axis] += total
            tensor = flatbuffer.add_tensor(f"{name}/bordered_{axis}", [1, *size, CHANNELS])
            joins.append(flatbuffer.concatenation(parts, tensor, axis + 1))
    return tensor, joins
