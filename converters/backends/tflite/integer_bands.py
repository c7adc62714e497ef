"""Large depthwise convolutions of an integer graph as grouped convolutions, which have kernels with dot products."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from maskconver_mobile.converters.backends.tflite.flatbuffer import Flatbuffer
from maskconver_mobile.converters.graph.operations import Array
from maskconver_mobile.converters.passes.split_depthwise import MAX_TAPS
from maskconver_mobile.converters.quantization.recipes import layer_of, matches

TILES = (16, 8)
"""Rows of the result that one product gives: as many as integer matrix kernels have outputs, or half of it."""
BAND = "band_"
"""How the names of these operators' outputs begin, behind the path of their layer."""
Builtin = schema.BuiltinOperator


class Sum(NamedTuple):
    """Depthwise convolutions of one map and the ADDs that join them; the last ADD has the activation."""

    pieces: list[Any]
    joins: list[Any]


def merge_pieces(content: bytes, keep_float: Sequence[str] = ()) -> bytes:
    """Undo `split_depthwise` where `band_depthwise` will do better: integers round no partial sums then.

    Layers of the patterns `keep_float` stay as they are.
    """
    flatbuffer = Flatbuffer(content)
    for found in sums(flatbuffer):
        first, last = found.pieces[0], found.joins[-1]
        if _tile(flatbuffer, first) is None or _is_kept(flatbuffer, first, keep_float):
            continue
        kernel = _whole_kernel(flatbuffer, found.pieces)
        bias = np.sum([flatbuffer.constant(piece.inputs[2]) for piece in found.pieces], 0)
        name = flatbuffer.name(int(last.outputs[0])).split(";")[0]
        values = {"kernel": kernel, "bias": bias}
        constants = [flatbuffer.add_tensor(f"{name}/{part}", list(v.shape), v) for part, v in values.items()]
        first.inputs = np.array([first.inputs[0], *constants], np.int32)
        first.outputs = last.outputs
        options = first.builtinOptions
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = last.builtinOptions.fusedActivationFunction
        gone = {id(op) for op in (*found.pieces[1:], *found.joins)}
        flatbuffer.graph.operators = [op for op in flatbuffer.graph.operators if id(op) not in gone]
    return flatbuffer.to_bytes()


def band_depthwise(content: bytes, keep_float: Sequence[str] = ()) -> bytes:
    """Turn depthwise convolutions of stride 1 and over 25 taps into grouped ones along the map's columns.

    For one channel, a column x of the map moved over by a column k of the kernel is a product with a banded matrix:
    y[p] = sum over j of k[j - p] x[j]. With `tile` results p as outputs and the rows j that they see as inputs, a group
    for each channel, a kernel of one row does that for all columns of the kernel. It multiplies 3.1 times as much for
    7x7 and tiles of 16, but integer kernels for that do 16 products in an instruction; those for depthwise do not.
    """
    flatbuffer = Flatbuffer(content)
    operators: list[Any] = []
    for op in flatbuffer.graph.operators:
        large = flatbuffer.kind(op) == "DEPTHWISE_CONV_2D" and np.prod(flatbuffer.shape(op.inputs[1])[1:3]) > MAX_TAPS
        tile = _tile(flatbuffer, op) if large and not _is_kept(flatbuffer, op, keep_float) else None
        operators += [op] if tile is None else _banded(flatbuffer, op, tile)
    flatbuffer.graph.operators = operators
    return flatbuffer.to_bytes()


def is_band(name: str) -> bool:
    """Whether a tensor of this name is the output of such an operator."""
    return name.rpartition("/")[2].startswith(BAND)


def band_matrix(kernel: Array, tile: int) -> Array:
    """The grouped kernel [c * tile, 1, k, tile + k - 1] of a depthwise one [1, k, k, c]."""
    _, taps, _, channels = kernel.shape
    matrix = np.zeros((channels, tile, taps, tile + taps - 1), np.float32)
    for p in range(tile):
        matrix[:, p, :, p : p + taps] = kernel[0].transpose(2, 1, 0)
    return matrix.reshape(channels * tile, 1, taps, tile + taps - 1)


def _is_kept(flatbuffer: Flatbuffer, op: Any, keep_float: Sequence[str]) -> bool:
    return matches(layer_of(flatbuffer.name(int(op.outputs[0]))), keep_float)


def _tile(flatbuffer: Flatbuffer, op: Any) -> int | None:
    """How many rows of results at a time; None if no tile divides the map."""
    height = flatbuffer.shape(int(op.outputs[0]))[1]
    return next((tile for tile in TILES if height % tile == 0), None)


def sums(flatbuffer: Flatbuffer) -> Iterator[Sum]:
    """What `split_depthwise` made: at least two depthwise convolutions of one map that nothing but their sum reads."""
    by_source: dict[int, list[Any]] = {}
    for op in flatbuffer.graph.operators:
        if flatbuffer.kind(op) == "DEPTHWISE_CONV_2D" and op.builtinOptions.strideH == 1:
            by_source.setdefault(int(op.inputs[0]), []).append(op)
    for pieces in by_source.values():
        parts, joins = {int(piece.outputs[0]) for piece in pieces}, []
        for op in flatbuffer.graph.operators:
            if flatbuffer.kind(op) == "ADD" and {int(v) for v in op.inputs} <= parts:
                parts.add(int(op.outputs[0]))
                joins.append(op)
        if len(pieces) > 1 and len(joins) == len(pieces) - 1:
            yield Sum(pieces, joins)


def _whole_kernel(flatbuffer: Flatbuffer, pieces: list[Any]) -> Array:
    """The kernel [1, k, k, c] whose taps the pieces have; each is symmetric about the centre."""
    placed = []
    for piece in pieces:
        options, kernel = piece.builtinOptions, flatbuffer.constant(piece.inputs[1])
        steps = options.dilationHFactor, options.dilationWFactor
        rows, columns = (
            np.arange(n) * step - (n - 1) * step // 2 for n, step in zip(kernel.shape[1:3], steps, strict=True)
        )
        placed.append((kernel[0], rows, columns))
    radius = max(int(offsets.max()) for _, *both in placed for offsets in both)
    whole = np.zeros((1, 2 * radius + 1, 2 * radius + 1, placed[0][0].shape[-1]), np.float32)
    for kernel, rows, columns in placed:
        whole[0][np.ix_(rows + radius, columns + radius)] += kernel
    return whole


def _banded(flatbuffer: Flatbuffer, op: Any, tile: int) -> list[Any]:
    """The operators in place of a depthwise convolution [1, h, w, c], whose output gets another name."""
    kernel, bias = (flatbuffer.constant(tensor) for tensor in op.inputs[1:3])
    output = int(op.outputs[0])
    _, height, width, channels = flatbuffer.shape(output)
    stem = _stem(flatbuffer, layer_of(flatbuffer.name(output)))
    radius, rows, tiles = kernel.shape[1] // 2, tile + kernel.shape[1] - 1, height // tile
    made: list[Any] = []

    def constant(values: Any) -> int:
        values = np.array(values, np.int32)
        return flatbuffer.add_tensor(f"{stem}constant_{len(flatbuffer.graph.tensors)}", list(values.shape), values)

    def add(builtin: int, inputs: list[int], shape: list[int], into: int | None = None) -> int:
        name = f"{stem}{len(made)}"
        target = flatbuffer.add_tensor(name, shape) if into is None else into
        made.append(flatbuffer.operator(builtin, inputs, target))
        return target

    border = constant([[0, 0], [radius, radius], [0, 0], [0, 0]])
    padded = add(Builtin.PAD, [int(op.inputs[0]), border], [1, height + 2 * radius, width, channels])
    size = [1, rows, width, channels]
    strips = [
        add(Builtin.SLICE, [padded, constant([0, start, 0, 0]), constant(size)], size)
        for start in range(0, height, tile)
    ]
    joined = flatbuffer.add_tensor(f"{stem}strips", [tiles, *size[1:]])
    made.append(flatbuffer.concatenation(strips, joined, 0))
    turned = add(Builtin.TRANSPOSE, [joined, constant([0, 2, 3, 1])], [tiles, width, channels, rows])
    shape = [tiles, 1, width, channels * rows]
    x = add(Builtin.RESHAPE, [turned, constant(shape)], shape)
    matrix = band_matrix(kernel, tile)
    weights = flatbuffer.add_tensor(f"{stem}kernel", list(matrix.shape), matrix)
    biases = flatbuffer.add_tensor(f"{stem}bias", [channels * tile], np.repeat(bias, tile))
    y = add(Builtin.CONV_2D, [x, weights, biases], [tiles, 1, width, channels * tile])
    made[-1].builtinOptionsType, made[-1].builtinOptions = schema.BuiltinOptions.Conv2DOptions, _options(op)
    shape = [tiles, width, channels, tile]
    y = add(Builtin.RESHAPE, [y, constant(shape)], shape)
    y = add(Builtin.TRANSPOSE, [y, constant([0, 3, 1, 2])], [tiles, tile, width, channels])
    flatbuffer.graph.tensors[output].name = f"{stem}output".encode()
    add(Builtin.RESHAPE, [y, constant([1, height, width, channels])], [1, height, width, channels], output)
    return made


def _stem(flatbuffer: Flatbuffer, layer: str) -> str:
    """How the names of new tensors begin: those of a layer that several maps go through are told apart."""
    taken = {bytes(tensor.name) for tensor in flatbuffer.graph.tensors}
    stems = (f"{layer}/{BAND}{number}" for number in ("", *(f"{i}_" for i in range(1, len(taken)))))
    return next(stem for stem in stems if f"{stem}output".encode() not in taken)


def _options(depthwise: Any) -> Any:
    """Of a `SAME` convolution with the depthwise one's activation."""
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = depthwise.builtinOptions.fusedActivationFunction
    return options
