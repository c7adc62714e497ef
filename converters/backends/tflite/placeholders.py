"""Large kernels are put into the flatbuffer when TensorFlow's converter is done.

The converter transposes constants value by value and keeps an object of a hundred bytes for each number it has seen: a
network of 58 million weights takes it 11 GB. A kernel that is one number everywhere is one object.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from maskconver_mobile.converters.backends.tflite.flatbuffer import FLOAT32, Flatbuffer

Array = NDArray[np.float32]
LARGE = 1 << 16
"""Kernels of so many weights are left out."""
STEP = 2.0**-14


class Placeholders:
    """Numbers that stand for kernels, each a number of its own."""

    def __init__(self) -> None:
        self._kernels: list[tuple[Array, tuple[int, ...]]] = []
        self._numbers: dict[int, float] = {}

    def constant(self, kernel: Array, stored: tuple[int, ...]) -> Any:
        """A kernel as a TensorFlow constant; in a flatbuffer its axes stand in the order `stored`."""
        if kernel.size < LARGE:
            return tf.constant(kernel)
        if id(kernel) not in self._numbers:
            self._numbers[id(kernel)] = 1 + len(self._kernels) * STEP
            self._kernels.append((kernel, stored))
        return tf.constant(self._numbers[id(kernel)], tf.float32, kernel.shape)

    def fill(self, content: bytes) -> bytes | None:
        """The flatbuffer with its kernels; None where the converter has changed or merged a placeholder."""
        if not self._kernels:
            return content
        flatbuffer = Flatbuffer(content)
        buffers = flatbuffer.model.buffers
        missing = set(range(len(self._kernels)))
        for tensor in (tensor for graph in flatbuffer.model.subgraphs for tensor in graph.tensors):
            data = buffers[tensor.buffer].data
            if tensor.type != FLOAT32 or data is None or len(data) < 4 * LARGE:
                continue
            values = np.asarray(data, np.uint8).view(np.float32)
            number = (float(values[0]) - 1) / STEP
            if not number.is_integer() or not 0 <= number < len(self._kernels) or (values != values[0]).any():
                continue
            kernel, stored = self._kernels[int(number)]
            kernel = kernel.transpose(stored)
            if kernel.shape != tuple(tensor.shape):
                return None
            buffers[tensor.buffer].data = np.ascontiguousarray(kernel).view(np.uint8).ravel()
            missing.discard(int(number))
        return None if missing else flatbuffer.to_bytes()
