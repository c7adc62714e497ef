"""Quantization recipes applied to a float ONNX model of ours."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.backends.onnx.edit import GraphEditor, halve_weights
from maskconver_mobile.converters.backends.onnx.float_graph import OnnxFloatGraph, step
from maskconver_mobile.converters.backends.onnx.graph import checked, reads
from maskconver_mobile.converters.quantization.calibration import Ranges, Tensor
from maskconver_mobile.converters.quantization.equalization import equalize
from maskconver_mobile.converters.quantization.float_graph import FloatGraph
from maskconver_mobile.converters.quantization.recipes import (
    ONNX_RECIPES,
    Operation,
    Recipe,
    Roles,
    allowed,
    check_quantizable,
    find_recipe,
    layer_of,
    select,
)
from maskconver_mobile.converters.quantization.rounding import round_weights
from maskconver_mobile.converters.quantization.static_model import StaticModel, Wires, until_heads
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats import ONNX
from maskconver_mobile.formats.onnx.file import attach, read_tail

INTEGER = ("Conv", "Relu", "Add", "Concat", "Resize", "GlobalAveragePool", "AveragePool")
KEEPS_SCALE = ("Resize",)
"""Operators whose output has its input's scale: then they work on the integers themselves."""
Steps = Mapping[str, NDArray[np.float32]]


def quantize_onnx(
    content: bytes,
    card: ModelCard,
    recipe: str,
    *,
    calibration: Sequence[Tensor] = (),
    keep_float: Sequence[str] = (),
    on_image: Callable[[], None] = lambda: None,
) -> bytes:
    """Quantize a float32 model of ours; see `quantize.quantize` for what goes in and comes out.

    Raises:
        MaskConverError: the model is quantized already, ONNX has no such recipe, it needs calibration inputs and
            there are none, or a pattern matches no layer.
    """
    chosen = find_recipe(recipe)
    check_model(card, chosen)
    if chosen.activation_bits:
        ready = StaticOnnx(content, card, chosen, calibration, keep_float, on_image)
        return ready.file(ready.operations)
    model = checked(onnx.load_model_from_string(content))
    operations = select(find_operations(model, card.roles), keep_float, chosen, card.joined)
    if recipe == "float16":
        halve_weights(model, {op.name for op in operations})
    else:
        apply_dynamic(model, {op.name for op in operations if op.integer})
    return _finish(model, content, card, recipe)


def check_model(card: ModelCard, recipe: Recipe) -> None:
    """Refuse what cannot be quantized, before any work.

    Raises:
        MaskConverError: the model is quantized already or written for ARM, or ONNX has no such recipe.
    """
    if recipe.name not in ONNX_RECIPES:
        raise MaskConverError(f"recipe {recipe.name} is not for .onnx files; choose from {', '.join(ONNX_RECIPES)}")
    check_quantizable(card)
    if card.target == "arm" and recipe.name != "float16":
        raise MaskConverError(f"model {card.name} has target arm, whose form is for floats; convert it for target cpu")


def _finish(model: onnx.ModelProto, content: bytes, card: ModelCard, recipe: str) -> bytes:
    """The model file, with the card and the tail of the float one."""
    metadata = onnx.load_model_from_string(content).metadata_props
    tail = read_tail({entry.key: entry.value for entry in metadata}, card.name)
    used = {} if recipe == "float16" else {"onnxruntime": version("onnxruntime")}
    return attach(checked(model), replace(card, recipe=recipe, tools={**card.tools, **used}), tail)


class StaticOnnx(StaticModel):
    """An ONNX model ready for integers; `quantize_onnx` says what goes in."""

    format = ONNX

    def _prepare(self, calibration: Sequence[Tensor], on_image: Callable[[], None]) -> None:
        card, recipe = self._card, self._recipe
        self._model = model = checked(onnx.load_model_from_string(self._content))
        found = select(find_operations(model, card.roles), self._keep_float, recipe, card.joined)
        self.operations = [op for op in found if op.integer or op.kind == "Gemm"]
        graph = OnnxFloatGraph(model)
        equalize(graph, calibration, on_image)
        steps = round_weights(graph, calibration, on_image, self._kept)
        self._steps = {
            each.operator.input[1]: steps[each.output] for each in graph.convolutions() if each.output in steps
        }
        self._ranges = graph.ranges(_float_maps(model), calibration, recipe.activation_bits, on_image)

    def float_graph(self) -> FloatGraph:
        """The model as it was given."""
        return OnnxFloatGraph(checked(onnx.load_model_from_string(self._content)))

    def _cut(self) -> set[str]:
        self._model = _cut_at_heads(self._model)
        return {node.name for node in self._model.graph.node}

    def apply(self, chosen: Sequence[Operation]) -> bytes:
        """A model without its card."""
        content: bytes = self._with_integers(chosen).SerializeToString()
        return content

    def file(self, chosen: Sequence[Operation]) -> bytes:
        """An .onnx file."""
        return _finish(self._with_integers(chosen), self._content, self._card, self._recipe.name)

    def _with_integers(self, chosen: Sequence[Operation]) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        weights_only = {op.name for op in chosen if not op.integer}
        apply_static(model, {op.name for op in chosen if op.integer}, weights_only, self._ranges, self._steps)
        return model


def _cut_at_heads(whole: onnx.ModelProto) -> onnx.ModelProto:
    """The model up to the network's last maps; its outputs are copies of those, [1, h, w, c]."""
    model = onnx.ModelProto()
    model.CopyFrom(whole)
    nodes = list(model.graph.node)
    kept, maps = until_heads(
        [Wires(node.name, list(reads([node])), node.output, node.op_type == "TopK") for node in nodes]
    )
    floats = set(_float_maps(whole))
    copies = [
        helper.make_node("Transpose", [name], [f"{name}_map"], f"{name}_map", perm=[0, 2, 3, 1])
        for name in maps
        if name in floats
    ]
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(node.output[0]) for node in copies)
    GraphEditor(model).finish([*(nodes[place] for place in kept), *copies], keep_shapes=True)
    return checked(model)


def find_operations(model: onnx.ModelProto, roles: Roles) -> list[Operation]:
    """What can be quantized, in the graph's order; `roles` are those of its card."""
    maps = set(_float_maps(model))
    constants = {tensor.name for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        layer, kind, on_map = layer_of(node.name), node.op_type, node.output[0] in maps
        if on_map and allowed(layer, roles, whole=kind in INTEGER, convolution=kind == "Conv"):
            found.append(Operation(kind, node.name, layer, integer=True))
        elif "/" in node.name and kind in ("Conv", "Gemm") and node.input[1] in constants:
            found.append(Operation(kind, node.name, layer, integer=False))
    return found


def _float_maps(model: onnx.ModelProto) -> list[str]:
    """All maps that operators compute."""
    return [value.name for value in model.graph.value_info if _is_float_map(value)]


def _is_float_map(value: onnx.ValueInfoProto) -> bool:
    type_ = value.type.tensor_type
    return len(type_.shape.dim) == 4 and type_.elem_type == onnx.TensorProto.FLOAT


def apply_static(
    model: onnx.ModelProto, chosen: set[str], weights_only: set[str], ranges: Ranges, steps: Steps
) -> None:
    """Put QuantizeLinear and DequantizeLinear around the chosen operators, which runtimes merge into integer ones.

    Activations are bytes with a zero point, weights per channel and symmetric (`WEIGHT_LIMIT`), and biases 32 bits.

    Args:
        model: changed in place.
        chosen: operators by name.
        weights_only: Gemm operators whose weights alone become integers.
        ranges: of all float tensors, by name.
        steps: what one means in integer weights [outputs], by the name of the weights, where that is known.
    """
    editor = _Quantizer(model, steps)
    inner = _before_relu(model, chosen)
    for node in model.graph.node:
        if node.name not in chosen:
            if node.name in weights_only:
                node.input[1] = editor.integer_weights(node.input[1], axis=1)
            node.input[:] = [editor.stand_ins.get(name, name) for name in node.input]
            editor.nodes.append(node)
            continue
        source, output = node.input[0], node.output[0]
        for i, name in enumerate(node.input):
            if name in ranges and name not in inner:
                node.input[i] = editor.pair(name, *_scale(ranges[name]))
        if node.op_type == "Conv":
            weights = node.input[1]
            node.input[1] = editor.integer_weights(weights, axis=0)
            if len(node.input) > 2:
                node.input[2] = editor.integer_bias(node.input[2], editor.scales[source], weights)
        editor.nodes.append(node)
        if output not in inner:
            scale = editor.scales[source] if node.op_type in KEEPS_SCALE else _scale(ranges[output])
            editor.pair(output, *scale)
    editor.finish(editor.nodes)


def _before_relu(model: onnx.ModelProto, chosen: set[str]) -> set[str]:
    """Tensors between an operator and the Relu that runtimes merge with it; both must be chosen."""
    made = {node.output[0]: node for node in model.graph.node}
    reads = Counter(name for node in model.graph.node for name in node.input)
    return {
        node.input[0]
        for node in model.graph.node
        if node.op_type == "Relu" and node.name in chosen
        if reads[node.input[0]] == 1 and made[node.input[0]].op_type in ("Conv", "Add")
        if made[node.input[0]].name in chosen
    }


def apply_dynamic(model: onnx.ModelProto, chosen: set[str]) -> None:
    """Integer weights for the chosen dense convolutions, whose inputs are quantized by their own range at each run."""
    editor = _Quantizer(model, {})
    for node in model.graph.node:
        weights = editor.constants.get(node.input[1]) if node.name in chosen and node.op_type == "Conv" else None
        if weights is None or editor.is_depthwise(node):
            editor.nodes.append(node)
            continue
        editor.dynamic_conv(node)
    editor.finish(editor.nodes)


class _Quantizer(GraphEditor):
    """A graph being quantized: what stands in for a tensor, and in which scale and zero point."""

    def __init__(self, model: onnx.ModelProto, steps: Steps) -> None:
        super().__init__(model)
        self._steps = steps
        self.stand_ins: dict[str, str] = {}
        self.scales: dict[str, tuple[np.float32, np.uint8]] = {}

    def pair(self, tensor: str, scale: np.float32, zero: np.uint8) -> str:
        """Quantize and dequantize a tensor, once."""
        if tensor not in self.stand_ins:
            self.scales[tensor] = scale, zero
            numbers = [self.constant(f"{tensor}_scale", scale), self.constant(f"{tensor}_zero", zero)]
            integers = self.node("QuantizeLinear", [tensor, *numbers], f"{tensor}_quantized")
            self.stand_ins[tensor] = self.node("DequantizeLinear", [integers, *numbers], f"{tensor}_dequantized")
        return self.stand_ins[tensor]

    def integer_weights(self, name: str, axis: int) -> str:
        """Replace float weights by integers per channel of an axis, with a DequantizeLinear behind them."""
        if name not in self.stand_ins:
            integers, scales = self._per_channel(name, axis)
            zeros = self.constant(f"{name}_zero", np.zeros(len(scales), np.int8))
            inputs = [self.constant(f"{name}_quantized", integers), self.constant(f"{name}_scale", scales), zeros]
            self.stand_ins[name] = self.node("DequantizeLinear", inputs, f"{name}_dequantized", axis=axis)
        return self.stand_ins[name]

    def integer_bias(self, name: str, activation: tuple[np.float32, np.uint8], weights: str) -> str:
        """A bias in units of the products that it is added to."""
        scales = activation[0] * self._per_channel(weights, 0)[1]
        stem = f"{name}_{len(self.nodes)}"
        integers = np.clip(np.round(self.constants[name] / scales.astype(np.float64)), -(2**31), 2**31 - 1)
        numbers = [
            self.constant(f"{stem}_quantized", integers.astype(np.int32)),
            self.constant(f"{stem}_scale", scales),
        ]
        return self.node("DequantizeLinear", numbers, f"{stem}_dequantized", axis=0)

    def dynamic_conv(self, node: onnx.NodeProto) -> None:
        """Replace a convolution by an integer one between a dynamic quantization and its inverse."""
        source, stem = node.input[0], node.name
        if source not in self.stand_ins:
            names = [f"{source}_{part}" for part in ("quantized", "scale", "zero")]
            self.nodes.append(helper.make_node("DynamicQuantizeLinear", [source], names, name=names[0]))
            self.stand_ins[source] = source
        integers, scales = self._per_channel(node.input[1], 0)
        inputs = [f"{source}_quantized", self.constant(f"{stem}_weights", integers), f"{source}_zero"]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        summed = self.node("ConvInteger", inputs, f"{stem}_integers", **attributes)
        summed = self.node("Cast", [summed], f"{stem}_sum", to=onnx.TensorProto.FLOAT)
        per_channel = self.constant(f"{stem}_weight_scales", scales[:, None, None])
        factor = self.node("Mul", [f"{source}_scale", per_channel], f"{stem}_factor")
        bias = self.constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(integers), np.float32)
        scaled = self.node("Mul", [summed, factor], f"{stem}_scaled")
        self.node("Add", [scaled, self.constant(f"{stem}_bias", bias[:, None, None])], node.output[0])

    def _per_channel(self, name: str, axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Symmetric integers and a scale per channel, within `WEIGHT_LIMIT` by pairs.

        Products are added in the order in which weights lie in memory: inputs first, or, where a runtime changes the
        layout, places first.
        """
        weights = self.constants[name]
        rows = np.moveaxis(weights, axis, 0)
        orders = rows.reshape(len(rows), -1), np.moveaxis(rows, 1, -1).reshape(len(rows), -1)
        scales = self._steps[name] if name in self._steps else np.max([step(order) for order in orders], 0)
        shape = [1] * weights.ndim
        shape[axis] = -1
        return np.round(weights / scales.reshape(shape)).astype(np.int8), scales


def _scale(limits: tuple[float, float]) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of bytes for a range, which 0 belongs to."""
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    scale = max(high - low, 1e-6) / 255
    return np.float32(scale), np.uint8(round(-low / scale))
