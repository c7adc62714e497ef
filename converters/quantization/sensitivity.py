"""Which layers a recipe hurts: the error that each brings alone, what keeping it float saves, and what that costs."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.converters.passes.pad_classes import NEVER
from maskconver_mobile.converters.quantization.calibration import CalibrationSet, Tensor, spread
from maskconver_mobile.converters.quantization.float_graph import Array, FloatGraph
from maskconver_mobile.converters.quantization.recipes import Operation, Recipe
from maskconver_mobile.converters.quantization.static_model import Maps, StaticModel
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.inference.image import Letterbox

PROBES = 4
SAVED = 3
"""Bytes that a weight loses as an integer."""


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer under a recipe; signal to noise of the heads' outputs in dB, 10 log10(sum a^2 / sum (a - b)^2).

    Attributes:
        layer: its path, as `--keep-float` takes it.
        alone: with only this layer quantized; low is bad.
        saves: by how much the fully quantized model gains if this layer stays float.
        work: its share of the multiply-adds that the recipe makes integer, 0..1.
        size: its share of the bytes that the recipe saves, 0..1.
    """

    layer: str
    alone: float
    saves: float
    work: float
    size: float


@dataclass(frozen=True)
class Sensitivity:
    """All layers, the most rewarding to keep float first.

    Attributes:
        total: the fully quantized model's signal to noise in dB.
        layers: what each loses, saves and costs; shares of all add up to 1.
        multiply_adds: of all layers for one image.
        bytes: that the file would gain with all of them float, scales and zero points aside.
    """

    total: float
    layers: tuple[LayerSensitivity, ...]
    multiply_adds: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the attributes by name, and those of each layer."""
        return asdict(self)


@dataclass(frozen=True)
class Cost:
    """Of keeping a layer float.

    Attributes:
        multiply_adds: of its convolutions for one image.
        bytes: that its weights take more.
    """

    multiply_adds: int = 0
    bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.multiply_adds + other.multiply_adds, self.bytes + other.bytes)


class HeadNoise:
    """Noise over signal of each of the heads' maps, as a share of energy, for any part of a model in integers.

    Errors are taken where the heads end, before the choice of proposals makes them jump, and within the photographs:
    their border is of one color, whose error no sum averages out.
    """

    def __init__(self, heads: StaticModel, data: CalibrationSet) -> None:
        """Of a model that ends there, on some images that are evenly spread over these."""
        places = spread(range(len(data.inputs)), PROBES)
        self._heads = heads
        self._inputs = [data.inputs[place] for place in places]
        self._letterboxes = [data.letterboxes[place] for place in places]
        self._expected = heads.run((), self._inputs)

    def __call__(self, chosen: Sequence[Operation]) -> NDArray[np.float64]:
        """With integers for these operations alone: [maps], means over the images."""
        found = self._heads.run(chosen, self._inputs)
        triples = zip(self._expected, found, self._letterboxes, strict=True)
        shares: NDArray[np.float64] = np.mean([_noise(*one) for one in triples], 0)
        return shares


def check_analysable(recipe: Recipe) -> None:
    """Refuse what has no layers to choose from.

    Raises:
        MaskConverError: activations stay float.
    """
    if not recipe.activation_bits:
        raise MaskConverError(f"recipe {recipe.name} has no integer activations to analyse; choose int8 or int16x8")


def analyse(heads: StaticModel, data: CalibrationSet, on_layer: Callable[[], None] = lambda: None) -> Sensitivity:
    """Quantize each layer alone, and all but each; every map of the heads counts alike.

    Args:
        heads: a model that ends where its heads do.
        data: images to measure on; a few are taken.
        on_layer: called after each layer, for progress.
    """
    measured = HeadNoise(heads, data)

    def ratio(chosen: Sequence[Operation]) -> float:
        return decibel(float(measured(chosen).mean()))

    costs = layer_costs(heads.float_graph(), data.inputs[0], heads.layers)
    whole = sum(costs.values(), Cost())
    total = ratio(heads.operations)
    layers = []
    for layer in heads.layers:
        alone = ratio([op for op in heads.operations if op.layer == layer])
        without = ratio([op for op in heads.operations if op.layer != layer])
        work = costs[layer].multiply_adds / max(whole.multiply_adds, 1)
        size = costs[layer].bytes / max(whole.bytes, 1)
        layers.append(LayerSensitivity(layer, alone, without - total, work, size))
        on_layer()
    ordered = tuple(sorted(layers, key=lambda one: -one.saves))
    return Sensitivity(total, ordered, whole.multiply_adds, whole.bytes)


def layer_costs(graph: FloatGraph, image: Tensor, layers: Sequence[str]) -> dict[str, Cost]:
    """What keeping each of some layers float costs; nothing for one without convolutions.

    Args:
        graph: the float heads.
        image: an input tensor [1, H, W, 3].
        layers: their paths.
    """
    convolutions = [each for each in graph.convolutions() if each.layer in layers]
    places: dict[str, int] = {}

    def look(name: str, values: Array) -> None:
        places[name] = values.size // values.shape[-1]

    graph.observe([each.output for each in convolutions], [image], look)
    costs = dict.fromkeys(layers, Cost())
    stored: set[bytes] = set()
    for each in convolutions:
        weights = each.kernel.tobytes()  # levels may share them
        size = 0 if weights in stored else SAVED * each.kernel.size
        stored.add(weights)
        costs[each.layer] += Cost(each.kernel.size * places[each.output], size)
    return costs


def decibel(noise: float) -> float:
    """Signal to noise, of noise over signal."""
    return float(-10 * np.log10(max(noise, 1e-20)))


def _noise(expected: Maps, found: Maps, letterbox: Letterbox) -> list[float]:
    pairs = [[_within(one, letterbox) for one in pair] for pair in zip(expected, found, strict=True)]
    own = [(a[a > NEVER / 2], b[a > NEVER / 2]) for a, b in pairs]
    return [float(np.square(a - b).sum() / max(np.square(a).sum(), 1e-20)) for a, b in own]


def _within(values: Array, letterbox: Letterbox) -> Array:
    """The part of a map [1, h, w, c] that shows the photograph."""
    height, width = (
        max(side * scaled // canvas, 1)
        for side, scaled, canvas in zip(values.shape[1:3], letterbox.scaled_size, letterbox.canvas_size, strict=True)
    )
    return values[:, :height, :width]
