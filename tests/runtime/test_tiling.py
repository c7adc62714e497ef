import numpy as np
import pytest
from reference_merge import resize

from maskconver_mobile.inference.tiling import TiledMasks

GEOMETRIES = [
    ((8, 8), (64, 64), (64, 64)),
    ((8, 8), (64, 64), (48, 61)),
    ((8, 10), (131, 77), (100, 70)),
    ((30, 20), (17, 11), (15, 11)),
    ((1, 1), (40, 30), (40, 30)),
    ((2, 3), (300, 200), (290, 10)),
]


@pytest.mark.parametrize(("masks", "extent", "size"), GEOMETRIES)
@pytest.mark.parametrize("seed", range(3))
def test_areas_are_those_of_the_upsampled_masks(
    masks: tuple[int, int], extent: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (5, *masks)).astype(np.float32)
    pixels = resize(np.moveaxis(logits, 0, -1), extent)[: size[0], : size[1]]
    expected = (pixels > 0).sum(axis=(0, 1))
    tiled = TiledMasks(logits, extent, size)
    least, most = tiled.area_bounds(np.arange(5))
    assert tiled.areas(np.arange(5)).tolist() == expected.tolist()
    assert tiled.areas(np.array([3, 1])).tolist() == expected[[3, 1]].tolist()
    assert (least <= expected).all()
    assert (expected <= most).all()


@pytest.mark.parametrize(("masks", "extent", "size"), GEOMETRIES)
def test_winners_come_with_their_areas(masks: tuple[int, int], extent: tuple[int, int], size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (9, *masks)).astype(np.float32)
    scores = np.sort(rng.uniform(0.1, 1, 9).astype(np.float32))[::-1]
    pixels = resize(np.moveaxis(logits, 0, -1), extent)[: size[0], : size[1]]
    ids, areas = TiledMasks(logits, extent, size).winners(scores)
    assert np.array_equal(ids, np.argmax(scores / (1 + np.exp(-pixels)), axis=-1))
    assert areas.tolist() == np.bincount(ids.ravel(), minlength=9).tolist()


def test_most_tiles_of_clear_masks_are_decided_unseen() -> None:
    logits = np.full((2, 32, 32), -8, np.float32)
    logits[0, :, :16] = 8
    logits[1, :, 16:] = 8
    tiled = TiledMasks(logits, (640, 640), (640, 640))
    able = tiled._able(np.array([0.9, 0.8], np.float32))
    assert (np.count_nonzero(able, axis=0) == 1).mean() > 0.9
