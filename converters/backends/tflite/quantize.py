"""Quantization recipes applied to a float TFLite model of ours."""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np

from maskconver_mobile.card import KEY, InputType, ModelCard
from maskconver_mobile.converters.backends.tflite.flatbuffer import CONVOLUTIONS, Flatbuffer
from maskconver_mobile.converters.backends.tflite.float_graph import FlatbufferGraph
from maskconver_mobile.converters.backends.tflite.integer_bands import band_depthwise, is_band, merge_pieces
from maskconver_mobile.converters.backends.tflite.late_bias import add_biases_early
from maskconver_mobile.converters.backends.tflite.pixel_input import (
    fold_normalisation,
    pixel_ranges,
    starts_with_bytes,
    take_bytes,
)
from maskconver_mobile.converters.quantization.calibration import Ranges, Tensor
from maskconver_mobile.converters.quantization.equalization import equalize
from maskconver_mobile.converters.quantization.float_graph import FloatGraph
from maskconver_mobile.converters.quantization.half_precision import halve_weights
from maskconver_mobile.converters.quantization.recipes import (
    WEIGHT_BITS,
    Operation,
    Recipe,
    Roles,
    allowed,
    check_quantizable,
    find_recipe,
    layer_of,
    matches,
    select,
)
from maskconver_mobile.converters.quantization.rounding import round_weights
from maskconver_mobile.converters.quantization.static_model import StaticModel, Wires, until_heads
from maskconver_mobile.formats import TFLITE
from maskconver_mobile.formats.tflite.file import attach, read_metadata
from maskconver_mobile.formats.tflite.metadata import KEY as METADATA_KEY

Statistics = dict[str, dict[str, Any]]

INTEGER = (*CONVOLUTIONS, "ADD", "CONCATENATION", "MEAN", "AVERAGE_POOL_2D", "RESIZE_BILINEAR")
WEIGHTS_ONLY = ("CONV_2D", "FULLY_CONNECTED")
TOP_K = "TOPK_V2"


def operations(content: bytes, roles: Roles) -> list[Operation]:
    """What can be quantized in a float flatbuffer, in its order; `roles` are those of its card."""
    flatbuffer = Flatbuffer(content)
    found = []
    for op in flatbuffer.graph.operators:
        kind, name = flatbuffer.kind(op), flatbuffer.name(int(op.outputs[0]))
        convolution = kind in CONVOLUTIONS or is_band(name)
        integer = allowed(layer_of(name), roles, whole=kind in INTEGER or convolution, convolution=convolution)
        if integer or kind in WEIGHTS_ONLY:
            found.append(Operation(kind, name, layer_of(name), integer))
    return found


def quantize(
    content: bytes,
    card: ModelCard,
    recipe: str,
    *,
    calibration: Sequence[Tensor] = (),
    keep_float: Sequence[str] = (),
    on_image: Callable[[], None] = lambda: None,
) -> bytes:
    """Quantize a float32 model of ours.

    Args:
        content: the model file.
        card: its card.
        recipe: a name of `RECIPES`.
        calibration: input tensors as the runtime makes them (`calibration.read_calibration`), for recipes with integer
            activations.
        keep_float: layer paths or patterns with `*`, such as `class_head/*`; these layers stay as they are.
        on_image: called after each calibration input, once for each of the recipe's passes.

    Returns:
        The quantized model file with its card.

    Raises:
        MaskConverError: the model is quantized already, the recipe needs calibration inputs and there are none, or a
            pattern matches no layer.
    """
    chosen = find_recipe(recipe)
    check_quantizable(card)
    if chosen.activation_bits:
        model = StaticFlatbuffer(content, card, chosen, calibration, keep_float, on_image)
        return model.file(model.operations)
    kept = select(operations(content, card.roles), keep_float, chosen, card.joined)
    return _finish(_weights_only(content, chosen, kept), content, card, chosen, card.input_type)


def _finish(quantized: bytes, content: bytes, card: ModelCard, recipe: Recipe, input_type: InputType) -> bytes:
    """The model file, with the card and the further metadata of the float one."""
    metadata = read_metadata(content, card.name)
    used = {} if recipe.name == "float16" else {"litert-quantizer": version("litert-quantizer")}
    extra = {key: data for key, data in metadata.items() if key not in (KEY, METADATA_KEY)}
    halves = card.half_precision and recipe.name == "float16"  # where integers compute, no float16 does
    tools = {**card.tools, **used}
    written = replace(card, recipe=recipe.name, input_type=input_type, half_precision=halves, tools=tools)
    return attach(Flatbuffer(quantized).to_bytes(), written, extra)


class StaticFlatbuffer(StaticModel):
    """A flatbuffer ready for integers; `quantize` says what goes in."""

    format = TFLITE

    def _prepare(self, calibration: Sequence[Tensor], on_image: Callable[[], None]) -> None:
        content, card, recipe = self._content, self._card, self._recipe
        self._pixels = takes_pixels(content, card, recipe, self._kept)
        self._graph = prepare(
            content, recipe, calibration, on_image, pixels=self._pixels, roles=card.roles, keep_float=self._kept
        )
        found = select(operations(self._graph, card.roles), self._keep_float, recipe, card.joined)
        self.operations = [op for op in found if _turns_integer(op, recipe)]
        self._ranges = FlatbufferGraph(self._graph).ranges(
            integer_tensors(self._graph, self.operations), calibration, recipe.activation_bits, on_image
        )
        if self._pixels:
            self._ranges |= pixel_ranges(self._graph)

    def float_graph(self) -> FloatGraph:
        """The model as it was given."""
        return FlatbufferGraph(self._content)

    def _cut(self) -> set[str]:
        self._graph = _cut_at_heads(self._graph)
        return {op.name for op in operations(self._graph, self._card.roles)}

    def apply(self, chosen: Sequence[Operation]) -> bytes:
        """A flatbuffer as the quantizer leaves it."""
        return apply_static(self._graph, statistics(self._graph, self._ranges), self._recipe, chosen)

    def file(self, chosen: Sequence[Operation]) -> bytes:
        """Takes the pixels as bytes, or as floats where the first layer is not chosen."""
        quantized = self.apply(chosen)
        if not self._pixels:
            return _finish(quantized, self._content, self._card, self._recipe, self._card.input_type)
        integer = starts_with_bytes(quantized)
        input_type: InputType = "uint8" if integer else "pixels"
        return _finish(
            take_bytes(quantized) if integer else quantized, self._content, self._card, self._recipe, input_type
        )


def _cut_at_heads(content: bytes) -> bytes:
    """The graph up to the network's last maps, which become its outputs."""
    flatbuffer = Flatbuffer(content)
    graph = flatbuffer.graph
    wires = [
        Wires(
            flatbuffer.name(int(op.outputs[0])), op.inputs.tolist(), op.outputs.tolist(), flatbuffer.kind(op) == TOP_K
        )
        for op in graph.operators
    ]
    kept, maps = until_heads(wires)
    graph.operators = [graph.operators[place] for place in kept]
    graph.outputs = np.array(maps, np.int32)
    flatbuffer.model.signatureDefs = []
    return flatbuffer.to_bytes()


def takes_pixels(content: bytes, card: ModelCard, recipe: Recipe, keep_float: Sequence[str] = ()) -> bool:
    """Whether the quantized graph takes the pixels as they are (`pixel_input`): not if its first layer stays float."""
    if recipe.activation_bits != WEIGHT_BITS or card.input_type == "float32":
        return False
    first = next((op for op in operations(content, card.roles) if op.kind == "CONV_2D"), None)
    return first is not None and not matches(first.layer, keep_float)


def prepare(
    content: bytes,
    recipe: Recipe,
    calibration: Sequence[Tensor],
    on_image: Callable[[], None] = lambda: None,
    *,
    pixels: bool,
    roles: Roles,
    keep_float: Sequence[str] = (),
) -> bytes:
    """The float graph that a recipe is applied to; `pixels` if it takes them as they are.

    For 8 bits its channels are evened out (`equalization`), and large depthwise convolutions get a form that integer
    kernels are fast at (`integer_bands`). Weights are rounded in between (`rounding`).
    """
    content = add_biases_early(content)
    if pixels:
        content = fold_normalisation(content)
    graph = FlatbufferGraph(content)
    if recipe.equalized:
        equalize(graph, calibration, on_image)
        graph = FlatbufferGraph(merge_pieces(graph.content, keep_float))
    unrounded = [*keep_float, *(layer for layer, role in roles.items() if role == "weights")]
    round_weights(graph, calibration, on_image, unrounded, dense=recipe.rounds_dense)
    return band_depthwise(graph.content, keep_float) if recipe.equalized else graph.content


def integer_tensors(content: bytes, chosen: Sequence[Operation]) -> list[str]:
    """Names of the float tensors that the integer operations among `chosen` read and write, constants left out."""
    flatbuffer = Flatbuffer(content)
    names = {op.name for op in chosen if op.integer}
    touched = [
        int(tensor)
        for op in flatbuffer.graph.operators
        if flatbuffer.name(int(op.outputs[0])) in names
        for tensor in (*op.inputs, *op.outputs)
    ]
    activations = {t for t in touched if flatbuffer.is_float(t) and not flatbuffer.is_constant(t)}
    return sorted(flatbuffer.name(t) for t in activations)


def statistics(content: bytes, ranges: Ranges) -> Statistics:
    """Ranges of the graph's tensors in the quantizer's form: by name, `min` and `max` of the tensor's rank.

    What only moves values leaves their range as it is.
    """
    flatbuffer = Flatbuffer(content)
    ranges = dict(ranges)
    for op in flatbuffer.graph.operators:
        source, name = flatbuffer.name(int(op.inputs[0])), flatbuffer.name(int(op.outputs[0]))
        if is_band(name) and flatbuffer.kind(op) not in CONVOLUTIONS and source in ranges:
            ranges[name] = ranges[source]
    ranks = {flatbuffer.name(t): len(flatbuffer.shape(t)) for t in range(len(flatbuffer.graph.tensors))}
    return {
        name: {
            "min": np.full((1,) * ranks[name], low, np.float32),
            "max": np.full((1,) * ranks[name], high, np.float32),
        }
        for name, (low, high) in ranges.items()
        if name in ranks
    }


def apply_static(content: bytes, ranges: Statistics, recipe: Recipe, chosen: Sequence[Operation]) -> bytes:
    """Integer weights and activations for `chosen`; a flatbuffer as the quantizer leaves it."""
    if not chosen:
        return content
    quantizer = _quantizer(content)
    for scope, kind in _scopes([op for op in chosen if op.integer]):
        quantizer.add_static_config(scope, kind, recipe.activation_bits, WEIGHT_BITS)
    for scope, kind in _scopes([op for op in chosen if not op.integer]):
        quantizer.add_dynamic_config(scope, kind, WEIGHT_BITS)
    return _run(quantizer, ranges)


def _turns_integer(operation: Operation, recipe: Recipe) -> bool:
    """A map that kernels quantize on the fly has 8 bits and one scale; rows have a scale each."""
    return operation.integer or recipe.activation_bits == WEIGHT_BITS or operation.kind == "FULLY_CONNECTED"


def _weights_only(content: bytes, recipe: Recipe, chosen: Sequence[Operation]) -> bytes:
    """Smaller weights; depthwise ones stay float under `dynamic`, for which kernels have no fast path."""
    if recipe.name == "float16":
        return halve_weights(content, {op.name for op in chosen})
    quantizer = _quantizer(content)
    for scope, kind in _scopes([op for op in chosen if op.kind in WEIGHTS_ONLY]):
        quantizer.add_dynamic_config(scope, kind, WEIGHT_BITS)
    return _run(quantizer, None)


def _quantizer(content: bytes) -> Any:
    from litert_quantizer import quantizer

    return quantizer.Quantizer(bytearray(content))


def _run(quantizer: Any, ranges: Statistics | None) -> bytes:
    with redirect_stderr(io.StringIO()), warnings.catch_warnings():  # it draws progress bars of its own
        warnings.simplefilter("ignore", UserWarning)
        result = quantizer.quantize(ranges, enable_progress_report=False, enable_progress_bar=False)
    return bytes(result.quantized_model)


def _scopes(found: Sequence[Operation]) -> Iterator[tuple[str, Any]]:
    """The quantizer's pattern for all operations of a kind: one, since Python keeps 512 compiled ones."""
    from litert_quantizer import qtyping

    for kind in dict.fromkeys(op.kind for op in found):
        names = "|".join(re.escape(op.name) for op in found if op.kind == kind)
        yield f"^({names})(;|$)", qtyping.TFLOperationName(kind)
