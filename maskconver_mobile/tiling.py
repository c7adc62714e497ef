"""Masks upsampled bilinearly, asked for winners and areas without making most of the pixels.

The image is cut into tiles of 8x8 pixels or so that never cross a sample of the coarse masks. Within a tile the
interpolated logit is a + b i + c j + d i j of row i and column j, so it stays between the tile's corners: where the
worst corner of one mask beats the best of every other, the tile is decided. Only the other tiles are looked into.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.intp]
Flags: TypeAlias = NDArray[np.bool_]
Ids: TypeAlias = NDArray[np.unsignedinteger[Any]]

# Larger images have larger tiles: looking at many tiles costs as much as looking into a few.
_TILE = 8
_TILES_PER_AXIS = 100
# Pixels worked on at a time: they stay in the cache, and below the size where BLAS would start threads.
_BATCH = 1 << 15
# Corners are compared with this much room for rounding; what lies within it is looked into.
_ROOM = np.float32(1 + 1e-5)


@dataclass(frozen=True, eq=False)
class _Axis:
    """An image axis cut into tiles; tile t lies between the lattice points t and t + 1."""

    tile_of_pixel: Indices
    start: Indices
    size: Indices
    phase: Floats  # where the first pixel stands in its tile, the tile being 1 long
    step: np.float32  # from pixel to pixel, in the same unit
    low: Indices  # a lattice point is mask[low] + weight (mask[high] - mask[low])
    high: Indices
    weight: Floats


@lru_cache(maxsize=64)
def _cut(samples: int, extent: int, pixels: int) -> _Axis:
    """Cut the first `pixels` of an axis where `samples` mask values cover `extent` pixels."""
    parts = max(1, round(extent / samples / max(_TILE, extent / _TILES_PER_AXIS)))
    step = samples / extent * parts
    # Half-pixel centres: pixel i stands at sample (i + 0.5) samples / extent - 0.5, lattice point 0 at sample -1.
    position = (np.arange(pixels) + 0.5) * step + 0.5 * parts
    tile_of_pixel = position.astype(np.intp)
    tiles = np.arange(tile_of_pixel[-1] + 1)
    start = np.searchsorted(tile_of_pixel, tiles)
    sample = np.clip(np.arange(len(tiles) + 1) / parts - 1, 0, samples - 1)
    low = sample.astype(np.intp)
    return _Axis(
        tile_of_pixel=tile_of_pixel,
        start=start,
        size=np.diff(start, append=pixels),
        phase=((start + 0.5) * step + 0.5 * parts - tiles).astype(np.float32),
        step=np.float32(step),
        low=low,
        high=np.minimum(low + 1, samples - 1),
        weight=(sample - low).astype(np.float32),
    )


@lru_cache(maxsize=64)
class _Window:
    """The pixels of the tiles of an image, each tile padded to the largest tile's shape: P pixels."""

    def __init__(self, y: _Axis, x: _Axis, width: int) -> None:
        height_of_tile, width_of_tile = int(y.size.max()), int(x.size.max())
        row, column = np.divmod(np.arange(height_of_tile * width_of_tile), width_of_tile)
        self.pixels = len(row)
        self.basis: Floats = np.stack([np.ones_like(row), row, column, row * column]).astype(np.float32)
        self._offsets = row * width + column
        self._starts = np.add.outer(y.start * width, x.start).ravel()
        self._shapes = np.add.outer(y.size * (width_of_tile + 1), x.size).ravel()
        rows_there = row < np.arange(height_of_tile + 1)[:, None, None]
        columns_there = column < np.arange(width_of_tile + 1)[:, None]
        self._there = (rows_there & columns_there).reshape(-1, self.pixels)

    def there(self, tiles: Indices) -> Flags:
        """Which pixels are the tile's and not padding, [n, P]."""
        there: Flags = self._there.take(self._shapes.take(tiles), 0)
        return there

    def places(self, tiles: Indices) -> Indices:
        """Flat places of the pixels in the image, [n, P]."""
        places: Indices = self._starts.take(tiles)[:, None] + self._offsets
        return places

    def batches(self, first: int, end: int) -> Iterator[slice]:
        """The range cut so that no piece has more pixels than a batch."""
        step = max(1, _BATCH // self.pixels)
        for start in range(first, end, step):
            yield slice(start, min(start + step, end))


class TiledMasks:
    """K masks of [h, w] logits on the top left `size` pixels of the `extent` that they cover."""

    def __init__(self, logits: Floats, extent: tuple[int, int], size: tuple[int, int]) -> None:
        """`logits` is [K, h, w]; `extent` and `size` are (height, width) in pixels."""
        self._y = _cut(logits.shape[1], extent[0], size[0])
        self._x = _cut(logits.shape[2], extent[1], size[1])
        self._window = _Window(self._y, self._x, size[1])
        self._tile_areas = np.outer(self._y.size, self._x.size).ravel()
        self._corners = _lattice(_lattice(logits, self._y, 1), self._x, 2)

    def area_bounds(self, masks: Indices) -> tuple[Indices, Indices]:
        """Between which numbers the areas of `masks` must lie, at a glance."""
        full, some = self._positive(masks)
        return full @ self._tile_areas, some @ self._tile_areas

    def areas(self, masks: Indices) -> Indices:
        """How many pixels of each of `masks` have a positive logit."""
        full, some = self._positive(masks)
        areas: Indices = full @ self._tile_areas
        which, tiles = np.nonzero(some & ~full)
        bilinear = self._bilinear(masks[which], tiles)
        ends = np.searchsorted(which, np.arange(len(masks) + 1)).tolist()
        for i, (first, end) in enumerate(pairwise(ends)):
            for part in self._window.batches(first, end):
                positive = bilinear[part] @ self._window.basis > 0
                areas[i] += np.count_nonzero(positive & self._window.there(tiles[part]))
        return areas

    def winners(self, scores: Floats) -> tuple[Ids, Indices]:
        """The k of the largest sigmoid(logit_k) scores_k at each pixel, the first on ties.

        `scores` are [K], positive and descending. Compared are the inverses, 1 / s + exp(-(logit + log s)), whose
        order is the same. Returns [h, w] of k, and how many pixels each k has, [K].
        """
        count = len(scores)
        dtype = np.min_scalar_type(count)
        able = self._able(scores)
        rivals = np.add.reduce(able, axis=0, dtype=dtype)
        winner = np.add.reduce(able * np.arange(count, dtype=dtype)[:, None], axis=0, dtype=dtype)
        decided = rivals == 1
        by_tile = winner.reshape(len(self._y.size), len(self._x.size))
        ids = by_tile.take(self._x.tile_of_pixel, 1).take(self._y.tile_of_pixel, 0)
        tiles = np.argsort(count - rivals, kind="stable")[: np.count_nonzero(rivals > 1)]
        contested = [winner[:0]]
        for part, won in self._contests(scores, able.take(tiles, 1), tiles):
            there = self._window.there(tiles[part])
            contested.append(won[there])
            ids.ravel()[self._window.places(tiles[part])[there]] = contested[-1]
        areas: Indices = np.bincount(winner[decided], self._tile_areas[decided], count).astype(np.intp)
        looked_into = np.concatenate(contested)
        areas += [np.count_nonzero(looked_into == k) for k in range(count)]
        return ids, areas

    def _able(self, scores: Floats) -> Flags:
        """Which masks might win a pixel of which tiles, [K, tiles]."""
        count = len(scores)
        costs = cv2.exp(-np.log(scores)[:, None] - self._corners.reshape(count, -1))
        np.add(costs, 1 / scores[:, None], out=costs)
        costs = costs.reshape(self._corners.shape)
        able: Flags = _fold(costs, np.minimum) <= _fold(costs, np.maximum).min(axis=0) * _ROOM
        return able

    def _contests(self, scores: Floats, able: Flags, tiles: Indices) -> Iterator[tuple[slice, Ids]]:
        """Who wins each pixel of `tiles`, which come most rivals first: parts of them and k, [n, P]."""
        rivals = np.count_nonzero(able, axis=0)
        which, k = np.nonzero(able.T)
        bilinear = self._bilinear(k, tiles[which])
        bilinear[:, 0] += np.log(scores)[k]
        np.negative(bilinear, out=bilinear)
        least_cost = (1 / scores)[k]
        k = k.astype(np.min_scalar_type(len(scores)))
        first = np.cumsum(rivals) - rivals
        for part in self._window.batches(0, len(tiles)):
            best = np.full((part.stop - part.start, self._window.pixels), np.inf, np.float32)
            won: Ids = np.zeros(best.shape, k.dtype)
            ranks = np.arange(rivals[part.start])
            for rank, n in enumerate(np.count_nonzero(rivals[part] > ranks[:, None], axis=1).tolist()):
                pair = first[part][:n] + rank
                cost = bilinear.take(pair, 0) @ self._window.basis
                cv2.exp(cost, cost)
                cost += least_cost.take(pair)[:, None]
                better = cost < best[:n]
                np.minimum(cost, best[:n], out=best[:n])
                np.maximum(won[:n], better * k.take(pair)[:, None], out=won[:n])
            yield part, won

    def _positive(self, masks: Indices) -> tuple[Flags, Flags]:
        """Where all corners of a tile are positive and where some are, [masks, tiles] each."""
        positive = self._corners[masks] > 0
        return _fold(positive, np.logical_and), _fold(positive, np.logical_or)

    def _bilinear(self, masks: Indices, tiles: Indices) -> Floats:
        """(a, b, c, d) of pairs of a mask and a tile, [n, 4]."""
        _, height, width = self._corners.shape
        row, column = np.divmod(tiles, width - 1)
        corner = (masks * height + row) * width + column
        corners = self._corners.ravel()
        a = corners.take(corner)
        right = corners.take(corner + 1) - a
        down = corners.take(corner + width) - a
        twist = corners.take(corner + width + 1) - a - right - down
        y, x = self._y.phase.take(row), self._x.phase.take(column)
        down += twist * x
        result = np.empty((len(tiles), 4), np.float32)
        result[:, 0] = a + right * x + down * y
        result[:, 1] = down * self._y.step
        result[:, 2] = (right + twist * y) * self._x.step
        result[:, 3] = twist * (self._y.step * self._x.step)
        return result


def _lattice(masks: Floats, cut: _Axis, axis: int) -> Floats:
    low = masks.take(cut.low, axis)
    if cut.weight.any():
        rise = masks.take(cut.high, axis)
        rise -= low
        rise *= np.expand_dims(cut.weight, tuple(range(1, masks.ndim - axis)))
        low += rise
    return low


def _fold(points: NDArray[Any], pick: np.ufunc) -> NDArray[Any]:
    """`pick` of the four corners of every tile: [K, y + 1, x + 1] to [K, y x]."""
    rows = pick(points[:, :-1], points[:, 1:])
    folded = np.asarray(pick(rows[:, :, :-1], rows[:, :, 1:]))
    return folded.reshape(len(points), folded.shape[1] * folded.shape[2])
