"""A float model made ready for integer maps, whatever its format; which operations get them is chosen afterwards."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.quantization.calibration import Tensor
from maskconver_mobile.converters.quantization.float_graph import FloatGraph
from maskconver_mobile.converters.quantization.policy import NETWORK
from maskconver_mobile.converters.quantization.recipes import Operation, Recipe, check_calibration, with_joined
from maskconver_mobile.formats import Format
from maskconver_mobile.formats.engines import open_engine
from maskconver_mobile.formats.runtimes import default_threads

Maps = list[NDArray[np.float32]]


class StaticModel(ABC):
    """Weights are evened out and rounded and ranges are measured, once; then any part of it turns integer in no time.

    Attributes:
        format: of its files.
        operations: what the recipe turns integer, if nothing else is chosen; in the graph's order.
    """

    format: Format
    operations: list[Operation]

    def __init__(
        self,
        content: bytes,
        card: ModelCard,
        recipe: Recipe,
        calibration: Sequence[Tensor],
        keep_float: Sequence[str] = (),
        on_image: Callable[[], None] = lambda: None,
    ) -> None:
        """Of a float model; what goes in is that of the format's function that quantizes.

        Raises:
            MaskConverError: there are no calibration inputs, or a pattern matches no layer.
        """
        check_calibration(recipe, calibration)
        self._content, self._card, self._recipe, self._keep_float = content, card, recipe, keep_float
        self._kept = with_joined(recipe.kept(keep_float), card.joined)
        self._prepare(calibration, on_image)

    @abstractmethod
    def _prepare(self, calibration: Sequence[Tensor], on_image: Callable[[], None]) -> None:
        """Even out and round weights, measure ranges, and set `operations`."""

    @abstractmethod
    def _cut(self) -> set[str]:
        """Leave out what follows the heads; names of the operations that stay."""

    @property
    def layers(self) -> list[str]:
        """Paths of the operations' layers, in the graph's order."""
        return list(dict.fromkeys(op.layer for op in self.operations))

    @abstractmethod
    def float_graph(self) -> FloatGraph:
        """The model with the kernels that float layers have."""

    def heads(self) -> "StaticModel":
        """The same up to where the heads end, before the choice of proposals; their maps [1, h, w, c] come out."""
        cut = copy(self)
        names = cut._cut()
        cut.operations = [op for op in self.operations if op.name in names]
        return cut

    @abstractmethod
    def apply(self, chosen: Sequence[Operation]) -> bytes:
        """The bare graph, with integers for these operations alone."""

    @abstractmethod
    def file(self, chosen: Sequence[Operation]) -> bytes:
        """The model file with its card, with integers for these operations alone; not of `heads()`."""

    def run(self, chosen: Sequence[Operation], inputs: Sequence[Tensor]) -> list[Maps]:
        """All outputs for each input, with integers for these operations alone."""
        engine = open_engine(self.format, self.apply(chosen), default_threads())
        ((name, (_, dtype)),) = engine.inputs.items()
        found = []
        for value in inputs:
            engine.feed({name: value.astype(dtype)})
            engine.invoke()
            found.append(list(engine.results().values()))
        return found


@dataclass(frozen=True)
class Wires:
    """How an operator is connected.

    Attributes:
        name: its own or its output's, which begins with the path of its layer.
        reads: the tensors that go in.
        makes: the tensors that come out.
        chooses: whether it picks the largest values.
    """

    name: str
    reads: Sequence[Hashable]
    makes: Sequence[Hashable]
    chooses: bool


def until_heads(graph: Sequence[Wires]) -> tuple[list[int], list[Hashable]]:
    """The operators that the network's maps are made of, by their places, and those maps that none of them reads.

    What follows a choice of the largest values is left out: there, a small error makes an answer jump.
    """
    chosen: set[Hashable] = set()
    needed: set[Hashable] = set()
    for each in graph:
        if each.chooses or not chosen.isdisjoint(each.reads):
            chosen.update(each.makes)
        elif each.name.startswith(NETWORK):
            needed.update(each.makes)
    kept: list[int] = []
    for place in reversed(range(len(graph))):
        if not needed.isdisjoint(graph[place].makes):
            kept.insert(0, place)
            needed.update(graph[place].reads)
    read = {tensor for place in kept for tensor in graph[place].reads}
    return kept, [tensor for place in kept for tensor in graph[place].makes if tensor not in read]
