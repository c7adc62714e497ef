"""Weights rounded by the error of their layer: less of it, in whole steps, in both formats."""

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from models import Models, golden_inputs
from numpy.typing import NDArray

from maskconver_mobile.converters.backends.onnx.float_graph import OnnxFloatGraph, step
from maskconver_mobile.converters.backends.onnx.graph import checked
from maskconver_mobile.converters.backends.tflite.float_graph import FlatbufferGraph
from maskconver_mobile.converters.quantization.calibration import Tensor
from maskconver_mobile.converters.quantization.float_graph import WEIGHT_LIMIT, FloatGraph
from maskconver_mobile.converters.quantization.rounding import descend, round_weights
from maskconver_mobile.formats.tflite.file import read_tflite

CHANNELS, TAPS, PLACES = 6, 9, 400


def alike_taps() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights and what their taps see, which is much the same for all, as in a photograph."""
    random = np.random.default_rng(0)
    kernel = random.normal(size=(CHANNELS, TAPS)).astype(np.float32)
    common = random.normal(1, 1, (CHANNELS, 1, PLACES))
    seen = common + random.normal(0, 0.1, (CHANNELS, TAPS, PLACES))
    return kernel, np.concatenate([seen, np.ones((CHANNELS, 1, PLACES))], 1).astype(np.float32)


def noise(exact: NDArray[np.float32], found: NDArray[np.float64], shift: float, seen: NDArray[np.float32]) -> float:
    error = np.einsum("ct,ctp->cp", found - exact, seen[:, :-1]) + np.reshape(shift, (-1, 1))
    return float(np.square(error).mean())


@pytest.mark.parametrize("paired", [False, True])
def test_the_error_of_the_sums_falls(paired: bool) -> None:
    kernel, seen = alike_taps()
    own = step(kernel) if paired else np.abs(kernel).max(1) / np.float32(127)
    steps = np.broadcast_to(own[:, None], kernel.shape)
    found, shift = descend(kernel, seen @ seen.transpose(0, 2, 1) / PLACES, steps, paired=paired)
    nearest = np.round(kernel / steps) * steps
    assert noise(kernel, found, shift, seen) < 0.4 * noise(kernel, nearest, 0, seen)
    whole = found / steps
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-4)
    if paired:
        assert (np.abs(whole[:, :-1]) + np.abs(whole[:, 1:])).max() <= WEIGHT_LIMIT + 1e-4
    else:
        np.testing.assert_allclose(np.abs(whole).max(1), 127)


def test_pieces_cancel_each_other_s_errors() -> None:
    """Two kernels of one map, each with a step of its own."""
    kernel, seen = alike_taps()
    steps = np.abs(kernel).max(1, keepdims=True) / 127 * np.repeat([1.0, 3.0], [5, 4])[None]
    moments = seen @ seen.transpose(0, 2, 1) / PLACES
    together, shift = descend(kernel, moments, steps.astype(np.float32))
    alone = [
        descend(kernel[:, part], moments[:, [*part, TAPS]][:, :, [*part, TAPS]], steps[:, part].astype(np.float32))
        for part in (list(range(5)), list(range(5, 9)))
    ]
    apart = np.concatenate([weights for weights, _ in alone], 1)
    assert noise(kernel, together, shift, seen) < noise(kernel, apart, sum(moved for _, moved in alone), seen)


def test_outputs_that_see_the_same_share_their_moments() -> None:
    """As the channels of a dense layer do."""
    kernel, seen = alike_taps()
    steps = np.broadcast_to(np.abs(kernel).max(1, keepdims=True) / np.float32(127), kernel.shape)
    moments = (seen[:1] @ seen[:1].transpose(0, 2, 1) / PLACES).astype(np.float32)
    shared, own = (descend(kernel, h, steps) for h in (moments, np.repeat(moments, CHANNELS, 0)))
    np.testing.assert_allclose(shared[0], own[0], rtol=1e-6)
    np.testing.assert_allclose(shared[1], own[1], rtol=1e-4, atol=1e-7)


def test_dead_channels_stay_finite() -> None:
    moments = np.zeros((2, 5, 5), np.float32)
    moments[:, 4, 4] = 1
    found, shift = descend(np.zeros((2, 4), np.float32), moments, np.full((2, 4), 1e-9, np.float32))
    assert np.isfinite(found).all()
    assert np.isfinite(shift).all()


@pytest.fixture(params=["tflite", "onnx"])
def graph(request: pytest.FixtureRequest) -> FloatGraph:
    if request.param == "tflite":
        models: Models = request.getfixturevalue("models")
        return FlatbufferGraph(read_tflite(models.get("heads")).content)
    onnx_models: Models = request.getfixturevalue("onnx_models")
    return OnnxFloatGraph(checked(onnx.load(onnx_models.get("heads"))))


def test_a_model_s_layers_come_nearer_than_to_the_nearest(graph: FloatGraph) -> None:
    """On the maps that they read, each depthwise layer of the tiny model, in whole steps that its format takes."""
    inputs = golden_inputs()
    before = {piece.output: piece for pieces in graph.depthwise() for piece in pieces}
    steps = round_weights(graph, inputs)
    after = {piece.output: piece for pieces in graph.depthwise() for piece in pieces}
    assert steps.keys() == before.keys()
    changed = 0
    for name, own in steps.items():
        whole = after[name].kernel / own
        np.testing.assert_allclose(whole, np.round(whole), atol=1e-3)
        assert np.abs(whole).max() <= 127.001
        nearest = np.round(before[name].kernel / own) * own
        changed += int((np.abs(after[name].kernel - nearest) > own / 2).sum())
    assert changed > 100


def test_dense_layers_are_rounded_on_demand(models: Models) -> None:
    """What they put out is nearer to what they did than with weights rounded to the nearest."""
    inputs = golden_inputs()
    graph = FlatbufferGraph(read_tflite(models.get("heads")).content)
    before = {each.output: each for each in graph.convolutions() if not each.depthwise}
    steps = round_weights(graph, inputs, dense=True)
    after = {each.output: each for each in graph.convolutions() if not each.depthwise}
    rounded = before.keys() & steps.keys()
    assert len(rounded) > 10
    better = []
    for name in rounded:
        if before[name].kernel.shape[:2] != (1, 1):
            continue
        exact, own = before[name].kernel[0, 0], steps[name]
        found = after[name].kernel[0, 0]
        np.testing.assert_allclose(found / own, np.round(found / own), atol=1e-3)
        seen = maps(graph, before[name].source, inputs)
        shift = after[name].bias - before[name].bias
        error = np.square(seen @ (found - exact) + shift).mean()
        better.append(error < np.square(seen @ (np.round(exact / own) * own - exact)).mean())
    assert np.mean(better) > 0.9


def test_few_places_round_no_dense_weights(models: Models) -> None:
    """They would fit what happens to be there."""
    graph = FlatbufferGraph(read_tflite(models.get("heads")).content)
    dense = {each.output: each for each in graph.convolutions() if not each.depthwise}
    steps = round_weights(graph, golden_inputs()[:1], dense=True)
    small = [name for name, each in dense.items() if places(graph, name) < 4 * (each.kernel.size // each.bias.size)]
    assert small
    assert not steps.keys() & set(small)


def places(graph: FlatbufferGraph, name: str) -> int:
    """How many values a channel of a map has."""
    return len(maps(graph, name, golden_inputs()[:1]))


def maps(graph: FlatbufferGraph, name: str, inputs: Sequence[Tensor]) -> NDArray[np.float32]:
    """The values of a map on all inputs [places, channels]."""
    found: list[NDArray[np.float32]] = []
    graph.observe([name], inputs, lambda _, values: found.append(values.reshape(-1, values.shape[3])))
    return np.concatenate(found)
