"""The merge in cells gives the maps of the plain one: on both its paths, at its thresholds and in its corner cases."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from maskconver_mobile.converters.backends.tflite.ops import Tensor, TensorFlowOps
from maskconver_mobile.converters.lowerings import cells, fast_merge, plain_merge
from maskconver_mobile.converters.lowerings.plain_merge import MergeThresholds, Proposals

Floats = NDArray[np.float32]
Shape = tuple[tuple[int, int], tuple[int, int]]
Form = Callable[..., tuple[Tensor, Tensor]]
IS_THING = np.arange(20) < 10
THRESHOLDS = MergeThresholds(0.01, 0.7, 20)
LARGE = ((6, 8), (96, 128))
SMALL = ((8, 6), (64, 48))
UNEVEN = ((6, 6), (40, 45))
SAME = ((12, 10), (12, 10))


@dataclass(frozen=True)
class Scene:
    """Masks [h, w, K], their scores and classes, and how to merge them."""

    logits: Floats
    scores: Floats
    classes: NDArray[np.int32]
    size: tuple[int, int]
    thresholds: MergeThresholds = THRESHOLDS
    hard_sigmoid: bool = False


def blobs(shape: Shape, k: int, seed: int, sharpness: float = 6.0) -> Scene:
    """Masks that are positive in random ellipses, most likely first."""
    generator = np.random.default_rng(seed)
    (height, width), size = shape
    y, x = np.mgrid[:height, :width][..., None].astype(np.float32)
    centre, radius = generator.uniform(0, 1, (2, k)), generator.uniform(0.15, 0.5, (2, k))
    distance = ((y / height - centre[0]) / radius[0]) ** 2 + ((x / width - centre[1]) / radius[1]) ** 2
    logits = (sharpness * (1 - distance) + generator.normal(0, 0.1, distance.shape)).astype(np.float32)
    scores = np.sort(generator.uniform(0.1, 1, k).astype(np.float32))[::-1].copy()
    return Scene(logits, scores, generator.integers(1, 20, k, dtype=np.int32), size)


def merged(form: Form, scene: Scene) -> Tensor:
    """Category and instance map [2, height, width]."""
    found = Proposals(tf.convert_to_tensor(scene.classes), tf.convert_to_tensor(scene.scores))
    maps = form(
        TensorFlowOps(),
        found,
        tf.convert_to_tensor(scene.logits)[tf.newaxis],
        scene.size,
        scene.thresholds,
        IS_THING,
        hard_sigmoid=scene.hard_sigmoid,
    )
    return tf.concat(maps, 0)


def check(scene: Scene, *, quick: bool) -> NDArray[np.int32]:
    """Both forms agree, and the dense form is taken or not, as it should."""
    with patch.object(fast_merge, "dense", wraps=fast_merge.dense) as dense:
        result: NDArray[np.int32] = merged(fast_merge.panoptic, scene).numpy()
    np.testing.assert_array_equal(result, merged(plain_merge.panoptic, scene).numpy())
    assert dense.called != quick
    return result


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("sharpness", [10.0, 20.0, 40.0])
@pytest.mark.parametrize("shape", [LARGE, SMALL], ids=["large cells", "small cells"])
def test_few_candidates_are_settled_in_cells(shape: Shape, sharpness: float, hard: bool) -> None:
    for seed in range(3):
        result = check(replace(blobs(shape, 6, seed, sharpness), hard_sigmoid=hard), quick=True)
        assert len(np.unique(result[0])) > 2


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("shape", [LARGE, SMALL], ids=["large cells", "small cells"])
def test_many_candidates_take_the_dense_form(shape: Shape, hard: bool) -> None:
    scene = blobs(shape, 40, 0, 0.1)
    scores = np.linspace(1, 0.99, 40, dtype=np.float32)
    thresholds = MergeThresholds(0.01, 0.0, 20)
    assert check(replace(scene, scores=scores, thresholds=thresholds, hard_sigmoid=hard), quick=False).any()


def test_more_large_segments_than_few_are_all_counted() -> None:
    """Masks of 5x5 values, each with 400 pixels."""
    k = 36
    block = np.arange(30) // 5
    owner = block[:, None] * 6 + block
    logits = np.where(owner[..., None] == np.arange(k), 9, -9).astype(np.float32)
    classes = np.arange(k, dtype=np.int32) % 19 + 1
    scene = Scene(logits, np.linspace(1, 0.9, k, dtype=np.float32), classes, (120, 120))
    assert k > fast_merge.FEW_SEGMENTS
    assert len(np.unique(check(scene, quick=True)[1])) > fast_merge.FEW_SEGMENTS / 2


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("shape", [UNEVEN, SAME], ids=["uneven scale", "mask size"])
def test_other_sizes_are_dense(shape: Shape, hard: bool) -> None:
    scene = replace(blobs(shape, 6, 1), thresholds=MergeThresholds(0.01, 0.7, 3), hard_sigmoid=hard)
    assert check(scene, quick=False).any()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [LARGE, SMALL], ids=["large cells", "small cells"])
def test_ties_go_to_the_first(shape: Shape) -> None:
    """In LiteRT, whose matrix products round all rows alike."""
    scene = blobs(shape, 3, 2, 60.0)
    twice = [0, 1, 2, 2]
    doubled = replace(scene, logits=scene.logits[..., twice], scores=scene.scores[twice])
    doubled = replace(doubled, classes=np.arange(1, 5, dtype=np.int32))
    quick, plain = (run(converted(form, doubled), doubled) for form in (fast_merge.panoptic, plain_merge.panoptic))
    np.testing.assert_array_equal(quick, plain)
    assert 3 in quick[0]
    assert 4 not in quick[0]


@pytest.mark.parametrize("shape", [LARGE, SMALL, UNEVEN], ids=["large cells", "small cells", "uneven scale"])
def test_no_valid_proposal_leaves_all_void(shape: Shape) -> None:
    scene = blobs(shape, 6, 0)
    dense = shape == UNEVEN
    assert not check(replace(scene, scores=scene.scores * 1e-3), quick=not dense).any()


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
def test_where_all_probabilities_are_rounded_to_zero_the_first_wins(hard: bool) -> None:
    scene = blobs(LARGE, 2, 2, 300.0)
    assert (scene.logits.max(-1) < -90).any()
    check(replace(scene, hard_sigmoid=hard, thresholds=MergeThresholds(0.01, 0.0, 0)), quick=True)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("small_area", [0, 300, 1e6])
def test_thresholds(overlap: float, small_area: float) -> None:
    scene = replace(blobs(LARGE, 6, 0, 20.0), thresholds=MergeThresholds(0.3, overlap, small_area))
    assert (scene.scores < 0.3).any()
    assert check(scene, quick=True).any() == (small_area < 1e6)


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("scale", [2, 4, 6])
def test_own_areas_are_those_of_the_resized_masks(scale: int, hard: bool) -> None:
    logits = np.random.default_rng(0).normal(size=(1, 5, 7, 9)).astype(np.float32)
    logits[..., 0], logits[..., 1], logits[..., 2] = 0, 1, -1
    ops, size = TensorFlowOps(), (5 * 3, 7 * scale)
    masks = np.asarray(ops.resize(tf.constant(logits), size))
    probability = np.clip(masks + 3, 0, 6) * np.float32(0.16667) if hard else 1 / (1 + np.exp(-masks))
    scene = fast_merge.Scene(None, None, None, None, 9, None, size, MergeThresholds(0, 0, 0), IS_THING, hard)
    areas = np.asarray(fast_merge.own_areas(ops, scene, tf.constant(logits)))
    np.testing.assert_array_equal(areas, (probability > 0.5).sum((0, 1, 2)) * plain_merge.area_unit(size))


@pytest.mark.parametrize("shape", [LARGE, SMALL], ids=["large cells", "small cells"])
def test_winners_are_candidates(shape: Shape) -> None:
    scene = blobs(shape, 20, 3, 2.0)
    ops, logits = TensorFlowOps(), tf.constant(scene.logits[None])
    grid = cells.cell_grid(ops, logits, scene.size)
    assert grid is not None
    order = cells.merits(ops, tf.constant(scene.scores), tf.ones(20), 0.01, hard_sigmoid=False)
    can_win = np.asarray(cells.candidates(ops, grid, order)).reshape(*grid.cells, 20)
    masks = np.asarray(ops.resize(logits, scene.size))[0]
    winner = (scene.scores / (1 + np.exp(-masks))).argmax(-1)
    row, column = (
        (np.arange(n) + border) // pixels
        for n, border, pixels in zip(scene.size, grid.border, grid.pixels, strict=True)
    )
    assert can_win[row[:, None], column, winner].all()
    assert can_win.mean() < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("shape", [LARGE, SMALL], ids=["large cells", "small cells"])
def test_litert_runs_both_paths(shape: Shape, hard: bool) -> None:
    """Masks that win by probabilities down to those that kernels round to 0, and the condition in the flatbuffer."""
    sharp = replace(blobs(shape, 6, 0, 300.0), thresholds=MergeThresholds(0.01, 0.0, 0), hard_sigmoid=hard)
    vague = replace(blobs(shape, 6, 0, 0.01), scores=np.linspace(1, 0.999, 6, dtype=np.float32))
    quick, plain = (converted(form, sharp) for form in (fast_merge.panoptic, plain_merge.panoptic))
    for scene in (sharp, vague):
        np.testing.assert_array_equal(run(quick, scene), run(plain, scene))


def test_litert_plans_all_memory_ahead() -> None:
    """No dynamic shapes, and no loop: conditions alone."""
    interpreter = Interpreter(model_content=converted(fast_merge.panoptic, blobs(LARGE, 6, 0)))
    interpreter.allocate_tensors()
    names = [operator["op_name"] for operator in interpreter._get_ops_details()]
    assert "IF" in names
    assert not {"WHILE", "GATHER_ND", "ONE_HOT"} & set(names)
    assert all((tensor["shape_signature"] >= 0).all() for tensor in interpreter.get_tensor_details())


def converted(form: Form, scene: Scene) -> bytes:
    """The merge alone as a flatbuffer."""
    module = tf.Module()
    module.serve = tf.function(
        lambda logits, scores, classes: {
            "maps": merged(form, replace(scene, logits=logits, scores=scores, classes=classes))
        },
        input_signature=[
            tf.TensorSpec(scene.logits.shape, name="logits"),
            tf.TensorSpec(scene.scores.shape, name="scores"),
            tf.TensorSpec(scene.classes.shape, tf.int32, name="classes"),
        ],
        autograph=False,
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.serve.get_concrete_function()], module)
    return bytes(converter.convert())


def run(model: bytes, scene: Scene) -> NDArray[np.int32]:
    """Category and instance map by LiteRT."""
    runner = Interpreter(model_content=model, num_threads=2).get_signature_runner()
    maps: NDArray[np.int32] = runner(logits=scene.logits, scores=scene.scores, classes=scene.classes)["maps"]
    return maps
