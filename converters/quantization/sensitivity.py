"""Which layers a recipe hurts: the error that each brings alone, and what keeping it float saves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.backends.tflite.flatbuffer import Flatbuffer
from maskconver_mobile.converters.backends.tflite.float_graph import FlatbufferGraph
from maskconver_mobile.converters.backends.tflite.pixel_input import pixel_ranges
from maskconver_mobile.converters.backends.tflite.quantize import (
    apply_static,
    integer_tensors,
    operations,
    prepare,
    statistics,
    takes_pixels,
)
from maskconver_mobile.converters.passes.pad_classes import NEVER
from maskconver_mobile.converters.quantization.calibration import Tensor
from maskconver_mobile.converters.quantization.policy import NETWORK
from maskconver_mobile.converters.quantization.recipes import (
    Operation,
    Roles,
    check_calibration,
    check_quantizable,
    find_recipe,
)
from maskconver_mobile.errors import MaskConverError

Outputs = list[NDArray[np.float32]]


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer under a recipe; signal to noise of the heads' outputs in dB, 10 log10(sum a^2 / sum (a - b)^2).

    Attributes:
        layer: its path, as `--keep-float` takes it.
        alone: with only this layer quantized; low is bad.
        saves: by how much the fully quantized model gains if this layer stays float.
    """

    layer: str
    alone: float
    saves: float


@dataclass(frozen=True)
class Sensitivity:
    """All layers, the most rewarding to keep float first, and the fully quantized model's signal to noise in dB."""

    total: float
    layers: tuple[LayerSensitivity, ...]


def layer_paths(content: bytes, roles: Roles) -> list[str]:
    """The layers of the network that a recipe quantizes, in the graph's order."""
    return list(dict.fromkeys(op.layer for op in _network(content, roles)))


def analyse(
    content: bytes,
    card: ModelCard,
    recipe: str,
    calibration: Sequence[Tensor],
    *,
    probes: int = 4,
    on_layer: Callable[[], None] = lambda: None,
) -> Sensitivity:
    """Quantize each layer alone, and all but each.

    Errors are taken where the heads end, before the choice of proposals makes them jump; each output counts alike.

    Args:
        content: a float32 model of ours.
        card: its card.
        recipe: one with integer activations.
        calibration: input tensors for the ranges.
        probes: how many of them the errors are measured on.
        on_layer: called after each layer, for progress.

    Raises:
        MaskConverError: the recipe has no calibrated layers, or the model cannot be quantized.
    """
    chosen = find_recipe(recipe)
    check_quantizable(card)
    if not chosen.activation_bits:
        raise MaskConverError(f"recipe {recipe} has no integer activations to analyse; choose int8 or int16x8")
    check_calibration(chosen, calibration)
    pixels = takes_pixels(content, card, chosen)
    prepared = prepare(content, chosen, calibration, pixels=pixels)
    float_model = _cut_at_heads(prepared, card.roles)
    found = _network(float_model, card.roles)
    names = integer_tensors(float_model, found)
    measured = FlatbufferGraph(float_model).ranges(names, calibration, chosen.activation_bits)
    if pixels:
        measured |= pixel_ranges(float_model)
    ranges = statistics(float_model, measured)
    inputs = calibration[:probes]
    expected = [_run(float_model, value) for value in inputs]

    def noise(operations: Sequence[Operation]) -> float:
        quantized = apply_static(float_model, ranges, chosen, operations)
        return float(np.mean([_noise(a, _run(quantized, x)) for x, a in zip(inputs, expected, strict=True)]))

    total = noise(found)
    layers = []
    for layer in layer_paths(content, card.roles):
        alone = noise([op for op in found if op.layer == layer])
        without = noise([op for op in found if op.layer != layer])
        layers.append(LayerSensitivity(layer, _decibel(alone), _decibel(without) - _decibel(total)))
        on_layer()
    return Sensitivity(_decibel(total), tuple(sorted(layers, key=lambda one: -one.saves)))


def _network(content: bytes, roles: Roles) -> list[Operation]:
    return [op for op in operations(content, roles) if op.name.startswith(NETWORK) and op.kind != "FULLY_CONNECTED"]


def _cut_at_heads(content: bytes, roles: Roles) -> bytes:
    """The same graph without what follows the network: its last tensors become the outputs."""
    flatbuffer = Flatbuffer(content)
    graph = flatbuffer.graph
    names = {op.name for op in _network(content, roles)}
    heads = [op for op in graph.operators if flatbuffer.name(int(op.outputs[0])) in names]
    needed: set[int] = {int(t) for op in heads for t in op.outputs}
    kept: list[Any] = []
    for op in reversed(graph.operators):
        if not needed.isdisjoint(int(t) for t in op.outputs):
            kept.insert(0, op)
            needed.update(int(t) for t in op.inputs)
    read = {int(t) for op in kept for t in op.inputs}
    graph.outputs = np.array([t for op in kept for t in op.outputs if int(t) not in read], np.int32)
    graph.operators = kept
    flatbuffer.model.signatureDefs = []
    return flatbuffer.to_bytes()


def _run(content: bytes, value: Tensor) -> Outputs:
    interpreter = Interpreter(model_content=content, num_threads=2)
    interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]
    interpreter.set_tensor(image["index"], value.astype(image["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]


def _noise(expected: Outputs, found: Outputs) -> float:
    pairs = zip(expected, found, strict=True)
    own = ((a[a > NEVER / 2], b[a > NEVER / 2]) for a, b in pairs)
    return float(np.mean([np.square(a - b).sum() / np.square(a).sum() for a, b in own]))


def _decibel(noise: float) -> float:
    return float(-10 * np.log10(max(noise, 1e-20)))
