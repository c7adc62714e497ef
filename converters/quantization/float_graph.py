"""A float model as quantization sees it, whatever its format: convolutions whose weights may change, and their maps."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.converters.quantization.calibration import Ranges, Samples, Tensor

Array = NDArray[np.float32]
Look = Callable[[str, Array], None]

WEIGHT_LIMIT = 127
"""Largest magnitude of an integer weight; where a graph is `paired`, of two neighbors together."""


@dataclass(frozen=True, eq=False)
class Convolution:
    """One of the graph's convolutions with constant weights.

    Attributes:
        operator: what the format has.
        layer: path of its layer in the checkpoint.
        source: name of the map that it reads.
        output: name of the map that it makes, with its activation.
        kernel: [kh, kw, inputs, outputs]; of a depthwise one [kh, kw, 1, channels].
        bias: [outputs].
        depthwise: whether every channel is convolved on its own.
        homogeneous: whether its activation lets positive factors through: ReLU or none.
        stride: of rows and columns.
        dilation: of rows and columns.
        padding: zeros before and after, of rows and columns.
    """

    operator: Any
    layer: str
    source: str
    output: str
    kernel: Array
    bias: Array
    depthwise: bool
    homogeneous: bool
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]


class FloatGraph(ABC):
    """A float model that is about to be quantized.

    Attributes:
        paired: whether neighboring integer weights share a limit.
    """

    paired = False

    @abstractmethod
    def convolutions(self) -> list[Convolution]:
        """All of them, in the graph's order."""

    @abstractmethod
    def maker(self, output: str) -> Convolution:
        """The convolution that makes a map."""

    @abstractmethod
    def readers(self, output: str) -> list[Convolution]:
        """The convolutions that read a map as their image; none if anything else sees it, too."""

    @abstractmethod
    def replace(self, convolution: Convolution, kernel: Array, bias: Array) -> None:
        """Give a convolution weights of its own; others may share the ones it had."""

    @abstractmethod
    def observe(
        self, names: Sequence[str], inputs: Sequence[Tensor], look: Look, on_image: Callable[[], None] = lambda: None
    ) -> None:
        """Run the graph and look at its maps.

        Args:
            names: of maps.
            inputs: tensors of the type that the graph takes, or that can be cast to it.
            look: called with name and values [1, h, w, c] of each map for each input.
            on_image: called after each input.
        """

    @abstractmethod
    def depthwise(self) -> list[list[Convolution]]:
        """Its depthwise convolutions of maps larger than 1x1; the pieces of one larger kernel together."""

    def step(self, weights: Array) -> Array:
        """What one means in the integer weights of each channel: [channels] for [channels, taps]."""
        return np.asarray(np.maximum(np.abs(weights).max(1), 1e-9) / WEIGHT_LIMIT, np.float32)

    def ranges(
        self,
        names: Sequence[str],
        inputs: Sequence[Tensor],
        bits: int = 8,
        on_image: Callable[[], None] = lambda: None,
    ) -> Ranges:
        """The range that integers should span, for maps by name (`calibration.best_range`)."""
        samples = Samples(names, len(inputs))
        self.observe(names, inputs, samples.take, on_image)
        return samples.ranges(bits)
