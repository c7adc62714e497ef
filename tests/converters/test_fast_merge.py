"""The merge in cells gives the maps of the plain one: on both its paths, at its thresholds and in its corner cases."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from maskconver_mobile.converters import cells, fast_merge, postprocess
from maskconver_mobile.converters.ops import Tensor, TensorFlowOps
from maskconver_mobile.converters.postprocess import MergeThresholds, Proposals

Floats = NDArray[np.float32]
IS_THING = np.arange(20) < 10
REFINED = ((6, 8), (96, 128))
WHOLE = ((8, 6), (64, 48))
UNEVEN = ((6, 6), (40, 45))
SAME = ((12, 10), (12, 10))


class Watched(TensorFlowOps):
    """Remembers whether the graph trusts the quick path; None where there is none."""

    certain: Tensor = None

    def choose(self, condition: Tensor, then: Callable[[], Tensor], otherwise: Callable[[], Tensor]) -> Tensor:
        self.certain = condition
        return super().choose(condition, then, otherwise)


@dataclass(frozen=True)
class Scene:
    """Masks [h, w, K], their scores and classes, and how to merge them."""

    logits: Floats
    scores: Floats
    classes: NDArray[np.int32]
    size: tuple[int, int]
    thresholds: MergeThresholds = MergeThresholds(0.01, 0.7, 20)
    hard_sigmoid: bool = False


def blobs(shape: tuple[tuple[int, int], tuple[int, int]], k: int, seed: int, sharpness: float = 6.0) -> Scene:
    """Masks that are positive in random ellipses, most likely first."""
    generator = np.random.default_rng(seed)
    (height, width), size = shape
    y, x = np.mgrid[:height, :width][..., None].astype(np.float32)
    centre, radius = generator.uniform(0, 1, (2, k)), generator.uniform(0.15, 0.5, (2, k))
    distance = ((y / height - centre[0]) / radius[0]) ** 2 + ((x / width - centre[1]) / radius[1]) ** 2
    logits = (sharpness * (1 - distance) + generator.normal(0, 0.1, distance.shape)).astype(np.float32)
    scores = np.sort(generator.uniform(0.1, 1, k).astype(np.float32))[::-1].copy()
    return Scene(logits, scores, generator.integers(1, 20, k, dtype=np.int32), size)


def merged(form: Callable[..., tuple[Tensor, Tensor]], scene: Scene, ops: TensorFlowOps | None = None) -> NDArray[np.int32]:
    """Category and instance map [2, height, width]."""
    found = Proposals(tf.constant(scene.classes), tf.zeros(scene.classes.shape, tf.int32), tf.constant(scene.scores))
    maps = form(
        ops or TensorFlowOps(),
        found,
        tf.constant(scene.logits[None]),
        scene.size,
        scene.thresholds,
        IS_THING,
        hard_sigmoid=scene.hard_sigmoid,
    )
    return np.concatenate([np.asarray(m) for m in maps])


def check(scene: Scene, certain: bool | None) -> NDArray[np.int32]:
    """Both forms agree, and the quick path is trusted or not, as it should."""
    ops = Watched()
    result = merged(fast_merge.panoptic, scene, ops)
    np.testing.assert_array_equal(result, merged(postprocess.panoptic, scene))
    assert (None if ops.certain is None else bool(ops.certain)) == certain
    return result


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [REFINED, WHOLE], ids=["refined cells", "whole cells"])
def test_few_candidates_are_settled_in_cells(
    shape: tuple[tuple[int, int], tuple[int, int]], seed: int, hard: bool
) -> None:
    scene = blobs(shape, 6, seed, 40.0)
    result = check(Scene(scene.logits, scene.scores, scene.classes, scene.size, hard_sigmoid=hard), certain=True)
    assert len(np.unique(result[0])) > 2


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("shape", [REFINED, WHOLE], ids=["refined cells", "whole cells"])
def test_many_candidates_take_the_dense_form(shape: tuple[tuple[int, int], tuple[int, int]], hard: bool) -> None:
    scene = blobs(shape, 40, 0, 0.5)
    result = check(Scene(scene.logits, scene.scores, scene.classes, scene.size, hard_sigmoid=hard), certain=False)
    assert result.any()


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
@pytest.mark.parametrize("shape", [UNEVEN, SAME], ids=["uneven scale", "mask size"])
def test_other_sizes_are_dense(shape: tuple[tuple[int, int], tuple[int, int]], hard: bool) -> None:
    scene = blobs(shape, 6, 1)
    thresholds = MergeThresholds(0.01, 0.7, 3)
    result = check(Scene(scene.logits, scene.scores, scene.classes, scene.size, thresholds, hard), certain=None)
    assert result.any()
