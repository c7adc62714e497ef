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
    tiles = np.arange(int((pixels - 0.5) * step + 0.5 * parts) + 1)
    start = np.clip(np.ceil((tiles - 0.5 * parts) / step - 0.5), 0, pixels).astype(np.intp)
    sample = np.clip(np.arange(len(tiles) + 1) / parts - 1, 0, samples - 1)
    low = sample.astype(np.intp)
    return _Axis(
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
        heights, height_of = np.unique(y.size, return_inverse=True)
        widths, width_of = np.unique(x.size, return_inverse=True)
        self._shapes = np.add.outer(height_of * len(widths), width_of).ravel()
        self._there = ((row < heights[:, None, None]) & (column < widths[:, None])).reshape(-1, self.pixels)

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
        ids = by_tile.repeat(self._x.size, axis=1).repeat(self._y.size, axis=0)
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
        exponents = self._bilinear(k, tiles[which])
        exponents[:, 0] += np.log(scores)[k]
        np.negative(exponents, out=exponents)
        inverse = (1 / scores)[k]
        k = k.astype(np.min_scalar_type(len(scores)))

        def costs(pairs: Indices) -> Floats:
            costs = exponents.take(pairs, 0) @ self._window.basis
            cv2.exp(costs, costs)
            costs += inverse.take(pairs)[:, None]
            return costs

        first = np.cumsum(rivals) - rivals
        with_more = [np.count_nonzero(rivals > rank) for rank in range(rivals.max(initial=0))]
        for part in self._window.batches(0, len(tiles)):
            best = costs(first[part])
            won: Ids = np.repeat(k.take(first[part]), self._window.pixels).reshape(best.shape)
            for rank in range(1, rivals[part.start]):
                pairs = first[part.start : min(part.stop, with_more[rank])] + rank
                rows = slice(len(pairs))
                cost = costs(pairs)
                better = cost < best[rows]
                np.minimum(cost, best[rows], out=best[rows])
                np.maximum(won[rows], better * k.take(pairs)[:, None], out=won[rows])
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
