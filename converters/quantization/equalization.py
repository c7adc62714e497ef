"""Cross-layer equalisation: channels share an integer range evenly, before a quantizer sees the weights.

For s > 0, relu(x / s) = relu(x) / s. So where a convolution's output is read by convolutions alone, dividing its output
channels by s and multiplying their input channels by s leaves the network's answer as it is, up to rounding. A tensor
of int8 has one scale for all channels; without this, the largest channel's range decides how coarse all others are
(Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction").
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from maskconver_mobile.converters.backends.tflite.flatbuffer import CONVOLUTIONS, Flatbuffer
from maskconver_mobile.converters.quantization.calibration import Tensor, observe

Array = NDArray[np.float32]

SPREAD = 1e-3
"""Channels below this part of the largest are scaled as if they reached it."""
HOMOGENEOUS = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)


def balance(reach: Array, weights: Array | None) -> Array:
    """Scales s that even out a tensor's channels, and the weights that read them.

    The tensor's channels reach r / s then, and weights w s. Depthwise weights have a scale of their own per channel,
    so there s = r. The others share a scale per output, so there both sides get the same spread: s = sqrt(r / w).

    Args:
        reach: largest magnitude of each channel [channels].
        weights: largest magnitude of the dense weights that read each channel; None if only depthwise ones do.

    Returns:
        [channels], of geometric mean 1.
    """
    scale = _relative(reach) if weights is None else np.sqrt(_relative(reach) / _relative(weights))
    return np.asarray(scale / np.exp(np.log(scale).mean()), np.float32)


def _relative(values: Array) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    largest = max(float(wide.max()), np.finfo(np.float32).tiny)
    relative: NDArray[np.float64] = np.maximum(wide / largest, SPREAD)
    return relative


class Reach(dict[str, Array]):
    """The largest magnitude seen in each channel [channels], by the name of the map."""

    def __init__(self, channels: int) -> None:
        """Of maps whose channels are on this axis."""
        super().__init__()
        self._places = tuple({0, 1, 2, 3} - {channels})

    def widen(self, name: str, values: Array) -> None:
        """Take further values of a map into account."""
        largest = np.abs(values).max(self._places)
        self[name] = np.maximum(self.get(name, np.float32(0)), largest)


def equalize(content: bytes, inputs: Sequence[Tensor], on_image: Callable[[], None] = lambda: None) -> bytes:
    """Equalise the convolutions of a float flatbuffer.

    Args:
        content: the flatbuffer.
        inputs: calibration tensors, on which the channels' reach is measured.
        on_image: called after each.
    """
    flatbuffer = Flatbuffer(content)
    links = list(_links(flatbuffer))
    reach = Reach(channels=3)
    names = [flatbuffer.name(int(producer.outputs[0])) for producer, _ in links]
    observe(content, names, inputs, reach.widen, on_image)
    for producer, consumers in links:
        _scale(flatbuffer, producer, consumers, reach)
    return flatbuffer.to_bytes()


def _links(flatbuffer: Flatbuffer) -> Any:
    """Convolutions whose output is read by convolutions alone, with those."""
    for op in flatbuffer.graph.operators:
        if flatbuffer.kind(op) not in CONVOLUTIONS or op.builtinOptions.fusedActivationFunction not in HOMOGENEOUS:
            continue
        output = int(op.outputs[0])
        consumers = flatbuffer.consumers(output)
        as_map = all(flatbuffer.kind(c) in CONVOLUTIONS and int(c.inputs[0]) == output for c in consumers)
        if consumers and as_map and output not in flatbuffer.graph.outputs:
            yield op, consumers


def _scale(flatbuffer: Flatbuffer, producer: Any, consumers: Sequence[Any], reach: Mapping[str, Array]) -> None:
    kernels = [flatbuffer.constant(int(op.inputs[1])) for op in (producer, *consumers)]
    dense = [k for k, op in zip(kernels[1:], consumers, strict=True) if flatbuffer.kind(op) == "CONV_2D"]
    weights = np.max([np.abs(kernel).max((0, 1, 2)) for kernel in dense], 0) if dense else None
    scale = balance(reach[flatbuffer.name(int(producer.outputs[0]))], weights)
    axes = (1, 1, 1, -1) if flatbuffer.kind(producer) == "DEPTHWISE_CONV_2D" else (-1, 1, 1, 1)
    _replace(flatbuffer, producer, 1, kernels[0] / scale.reshape(axes))
    _replace(flatbuffer, producer, 2, flatbuffer.constant(int(producer.inputs[2])) / scale)
    for op, kernel in zip(consumers, kernels[1:], strict=True):
        _replace(flatbuffer, op, 1, kernel * scale)


def _replace(flatbuffer: Flatbuffer, op: Any, place: int, values: Array) -> None:
    """Give an operator a constant of its own: others may share the one it had."""
    inputs = [int(tensor) for tensor in op.inputs]
    name = f"{flatbuffer.name(int(op.outputs[0])).split(';')[0]}/equalised_{('', 'kernel', 'bias')[place]}"
    inputs[place] = flatbuffer.add_tensor(name, list(values.shape), values)
    op.inputs = np.array(inputs, np.int32)
