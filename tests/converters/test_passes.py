"""Every pass on small random graphs: it does something, and the graph means what it meant, in float64."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from maskconver_mobile.converters import passes
from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.evaluator import evaluate
from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.passes import Pass
from maskconver_mobile.converters.passes.split_depthwise import pieces

Floats = NDArray[np.float32]
Build = Callable[[GraphBuilder, Value, np.random.Generator], Value]


def normal(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.normal(size=shape).astype(np.float32)


def norm(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    gamma, beta, mean, variance = (normal(rng, x.shape[-1]) for _ in range(4))
    return b.batch_norm(x, gamma, beta, mean, np.abs(variance), 1e-3)


def normed(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    stride, kernel = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    y = b.conv(
        x, normal(rng, kernel, kernel, x.shape[-1], 5), normal(rng, 5) if rng.random() < 0.5 else None, stride=stride
    )
    y = norm(b, y, rng)
    return norm(b, b.depthwise(y, normal(rng, 3, 3, 5, 1), stride=stride), rng)


def activated(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    return b.relu(b.conv(x, normal(rng, 1, 1, x.shape[-1], 5), normal(rng, 5)))


def scaled_image(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    x = (b.planar(x) - b.constant(normal(rng, x.shape[-1]))) * b.constant(normal(rng, x.shape[-1]))
    return b.conv(x, normal(rng, 3, 3, x.shape[-1], 4), stride=2)


def gamma(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    y = b.conv(x, normal(rng, 1, 1, x.shape[-1], 5), normal(rng, 5) if rng.random() < 0.5 else None)
    y = y * b.constant(normal(rng, 5))
    y = b.depthwise(b.relu(y), normal(rng, 3, 3, 5, 1), normal(rng, 5), stride=int(rng.integers(1, 3)))
    return b.relu(y * b.constant(normal(rng, 5)))


def lateral(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    y = b.depthwise(x, normal(rng, 1, 1, x.shape[-1], 1), dilation=(3, 2))
    kernel = int(rng.integers(1, 4))
    return b.conv(y, normal(rng, kernel, kernel, x.shape[-1], 5), normal(rng, 5), stride=int(rng.integers(1, 3)))


def dilated(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    rate = max(x.shape[1:3]) + int(rng.integers(0, 3))
    y = b.depthwise(x, normal(rng, 3, 3, x.shape[-1], 1), dilation=(rate, rate))
    return b.conv(y, normal(rng, 1, 1, x.shape[-1], 5), normal(rng, 5))


def branches(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    parts = [b.conv(x, normal(rng, 1, 1, x.shape[-1], n), normal(rng, n), activation="relu") for n in (2, 3)]
    parts.append(b.conv(b.relu(x), normal(rng, 1, 1, x.shape[-1], 4), activation="relu"))
    pooled = b.conv(b.global_mean(x), normal(rng, 1, 1, x.shape[-1], 3), normal(rng, 3), activation="relu")
    parts.insert(int(rng.integers(0, 4)), b.resize(pooled, x.shape[1:3]))
    return b.conv(
        b.concat(parts), normal(rng, 1, 1, 12, 5), normal(rng, 5), activation="relu" if rng.random() < 0.5 else None
    )


def joined(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    parts = [
        b.conv(y, normal(rng, 1, 1, x.shape[-1], n), activation="relu") for y, n in ((x, 2), (b.relu(x), 4), (x, 3))
    ]
    return b.conv(b.concat(parts), normal(rng, 1, 1, 9, 5), normal(rng, 5))


def masks(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    _, h, w, c = x.shape
    pixels = b.conv(x, normal(rng, 1, 1, c, 6), normal(rng, 6))
    vectors = b.dense(b.constant(normal(rng, 4, 7)), normal(rng, 7, 6), normal(rng, 6))
    product = b.matmul(b.reshape(pixels, [1, h * w, 6]), b.reshape(vectors, [1, 4, 6]))
    return b.reshape(product, [1, h, w, 4])


def picked(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    y = b.conv(x, normal(rng, 1, 1, x.shape[-1], 5), normal(rng, 5), activation="relu")
    y = b.relu(b.layer_norm(y, normal(rng, 5), normal(rng, 5), 1e-6))
    return b.pick(y, b.constant(rng.integers(0, x.shape[1] * x.shape[2], 4), np.int32))


def windowed(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    size = int(rng.choice([2, 3, 5]))
    y = b.depthwise(x, normal(rng, size, size, x.shape[-1], 1), normal(rng, x.shape[-1]), activation="relu")
    return b.pick(y, b.constant(rng.integers(0, x.shape[1] * x.shape[2], 1), np.int32))


def leveled(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    """Two levels with one head: a shared convolution, norms of their own, a shared prediction."""
    size = int(rng.choice([1, 3]))
    kernel, bias, last = normal(rng, size, size, x.shape[-1], 5), normal(rng, 5), normal(rng, 1, 1, 5, 4)
    maps = []
    for y in (x, b.max_pool(x, 3, stride=2)):
        y = b.conv(y, kernel, bias)
        y = b.relu(b.layer_norm(y, normal(rng, 5), normal(rng, 5), 1e-6))
        y = y * b.constant(normal(rng, 5)) + b.constant(normal(rng, 5))
        y = b.conv(y, last)
        maps.append(b.reshape(y, [1, y.shape[1] * y.shape[2], 1, 4]))
    places = sum(map_.shape[1] for map_ in maps)
    return b.pick(b.concat(maps, 1), b.constant(rng.integers(0, places, 4), np.int32))


def small(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    for _ in range(2):
        x = b.max_pool(x, 3, stride=2)
    y = b.conv(x, normal(rng, 5, 7, x.shape[-1], 5), normal(rng, 5))
    return b.depthwise(y, normal(rng, 9, 7, 5, 1), activation="relu")


def doubled(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    parts = [b.upsample(y, 2) for y in (b.relu(x), x * 2.0, b.abs(x))]
    return parts[0] + parts[1] + parts[2]


def classes(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    y = b.conv(x, normal(rng, 1, 1, x.shape[-1], 130), normal(rng, 130), activation="relu")
    y = b.conv(y, normal(rng, 1, 1, 130, 5) * np.float32(0.02), normal(rng, 5))
    found, locations, scores = b.add(operations.Proposals(4), y)
    return b.cast(found, np.float32) * 100.0 + b.cast(locations, np.float32) + scores


def large(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    size = int(rng.choice([7, 9]))
    return b.depthwise(x, normal(rng, size, size, x.shape[-1], 1), normal(rng, x.shape[-1]), activation="relu")


def merged(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
    k = x.shape[-1]
    scores = b.constant(np.sort(rng.uniform(0.1, 1, k).astype(np.float32))[::-1])
    ids = b.constant(rng.permutation(np.arange(1, k + 1)), np.int32)
    merge = operations.Panoptic(
        (x.shape[1] * 4, x.shape[2] * 4), 0.01, 0.3, 4, np.arange(k + 1) < 4, bool(rng.random() < 0.5)
    )
    maps = b.add(merge, ids, scores, x * 20.0)
    return b.concat([b.cast(map_, np.float32) for map_ in maps], 0)


PLACES: dict[Pass, Build] = {
    passes.fold_batch_norm: normed,
    passes.lower_batch_norm: normed,
    passes.fuse_activation: activated,
    passes.fold_input_scale: scaled_image,
    passes.interleave_image: scaled_image,
    passes.fold_channel_scale: gamma,
    passes.fold_unit_depthwise: lateral,
    passes.fold_center_tap: dilated,
    passes.fold_pooled_branch: branches,
    passes.join_branches: joined,
    passes.sum_projection: branches,
    passes.fold_classifier: masks,
    passes.sink_picks: picked,
    passes.pick_windows: windowed,
    passes.pick_few_windows: windowed,
    passes.pick_levels: leveled,
    passes.sum_upsampled: doubled,
    passes.crop_kernels: small,
    passes.pad_classes: classes,
    passes.block_sums: classes,
    passes.split_depthwise: large,
    passes.lower_proposals: classes,
    passes.lower_proposals_fast: classes,
    passes.lower_panoptic: merged,
    passes.lower_panoptic_by_logarithms: merged,
    passes.lower_panoptic_in_cells: merged,
}


def built(build: Build, seed: int) -> GraphBuilder:
    rng = np.random.default_rng(seed)
    builder = GraphBuilder()
    x = builder.input("x", (1, int(rng.integers(7, 12)), int(rng.integers(7, 12)), 6), np.float32)
    builder.graph.outputs = {"y": build(builder, x, rng)}
    return builder


def value(builder: GraphBuilder, seed: int) -> NDArray[np.float64]:
    for lower in (passes.lower_proposals, passes.lower_panoptic):
        lower(builder)
    x = np.random.default_rng(seed).normal(size=builder.graph.inputs["x"].shape)
    return evaluate(builder.graph, {"x": x})["y"]


def test_every_pass_has_a_place() -> None:
    assert set(PLACES) == {each for pipeline in passes.PIPELINES.values() for each in pipeline}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("pass_", PLACES, ids=[each.__name__ for each in PLACES])
def test_a_pass_does_something_and_changes_nothing(pass_: Pass, seed: int) -> None:
    expected = value(built(PLACES[pass_], seed), seed)
    builder = built(PLACES[pass_], seed)
    needs = {passes.sum_projection: passes.fold_pooled_branch}
    applied = passes.run(builder, [*([needs[pass_]] if pass_ in needs else []), pass_])
    assert applied[-1].places > 0
    found = value(builder, seed)
    # Weights are stored in float32: what is computed on them is rounded once.
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("pipeline", passes.PIPELINES, ids="-".join)
@pytest.mark.parametrize("seed", range(5))
def test_whole_pipelines(pipeline: tuple[passes.Target, passes.Format], seed: int) -> None:
    """Everything in one graph: what a pass leaves is what the next one finds."""

    def everything(b: GraphBuilder, x: Value, rng: np.random.Generator) -> Value:
        y = b.relu(norm(b, scaled_image(b, b.concat([x, x]), rng), rng))
        y = large(b, branches(b, y, rng), rng)
        return b.pick(activated(b, y, rng), b.constant([0, 3, 1], np.int32))

    expected = value(built(everything, seed), seed)
    builder = built(everything, seed)
    passes.run(builder, passes.PIPELINES[pipeline])
    np.testing.assert_allclose(value(builder, seed), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("size", [7, 9, 11, 13])
def test_pieces_are_small_and_add_no_tap(size: int) -> None:
    parts = pieces(normal(np.random.default_rng(0), size, size, 3, 1))
    assert max(part.kernel.shape[0] * part.kernel.shape[1] for part in parts) <= 25
    assert sum(part.kernel[..., 0, 0].size for part in parts) == size * size


@pytest.mark.parametrize("shape", [(3, 3), (5, 5), (6, 6), (7, 3)])
def test_small_even_and_oblong_kernels_stay_whole(shape: tuple[int, int]) -> None:
    kernel = normal(np.random.default_rng(0), *shape, 2, 1)
    (piece,) = pieces(kernel)
    assert piece.kernel is kernel
    assert piece.dilation == (1, 1)


def test_a_center_tap_is_alone_only_where_nothing_else_reaches() -> None:
    builder = GraphBuilder()
    rng = np.random.default_rng(0)
    x = builder.input("x", (1, 6, 5, 4), np.float32)
    y = builder.depthwise(x, normal(rng, 3, 3, 4, 1), dilation=(5, 5))
    builder.graph.outputs = {"y": builder.conv(y, normal(rng, 1, 1, 4, 4))}
    assert passes.fold_center_tap(builder) == 0


def test_a_kernel_that_several_factors_follow_stays_one() -> None:
    builder = GraphBuilder()
    rng = np.random.default_rng(0)
    x = builder.input("x", (1, 6, 5, 4), np.float32)
    kernel = normal(rng, 1, 1, 4, 4)
    parts = [builder.conv(y, kernel) * builder.constant(normal(rng, 4)) for y in (x, builder.relu(x))]
    builder.graph.outputs = {"y": builder.concat(parts)}
    assert passes.fold_channel_scale(builder) == 0


def test_a_kernel_that_several_norms_follow_stays_one() -> None:
    builder = GraphBuilder()
    rng = np.random.default_rng(0)
    x = builder.input("x", (1, 6, 5, 4), np.float32)
    kernel = normal(rng, 1, 1, 4, 4)
    parts = [norm(builder, builder.conv(y, kernel), rng) for y in (x, builder.relu(x))]
    builder.graph.outputs = {"y": builder.concat(parts)}
    assert passes.fold_batch_norm(builder) == 0
