"""Masks upsampled bilinearly, asked for winners and areas without making most of the pixels.

The image is cut into tiles of about 8x8 pixels that never cross a sample of the coarse masks. Within a tile the
interpolated logit is a + b i + c j + d i j of row i and column j, so it stays between its corners: where the worst
corner of one mask beats the best of every other, the tile is decided. Only the other tiles are looked into.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.intp]
Ids: TypeAlias = NDArray[np.unsignedinteger[Any]]

_TILE = 8
# Pixels worked on at a time: they stay in the cache, and below the size where BLAS starts threads.
_BATCH = 1 << 15
# Corners are compared with this much room for rounding; what lies within it is looked into.
_ROOM = np.float32(1 + 1e-5)


@dataclass(frozen=True)
class _Axis:
    """An image axis cut into tiles; tile t lies between the lattice points t and t + 1."""

    of_pixel: Indices
    start: Indices
    size: Indices
    phase: Floats  # where a tile's first pixel stands in it, the tile being 1 long
    step: np.float32  # from pixel to pixel, in the same unit
    low: Indices  # a lattice point is mask[low] + weight (mask[high] - mask[low])
    high: Indices
    weight: Floats


@lru_cache(maxsize=64)
def _cut(samples: int, extent: int, pixels: int) -> _Axis:
    """Cut the first `pixels` of an axis where `samples` mask values cover `extent` pixels."""
    parts = max(1, round(extent / samples / _TILE))
    step = samples / extent * parts
    # Half-pixel centres: pixel i stands at sample (i + 0.5) samples / extent - 0.5, lattice point 0 at sample -1.
    position = (np.arange(pixels) + 0.5) * step + 0.5 * parts
    of_pixel = position.astype(np.intp)
    tiles = np.arange(of_pixel[-1] + 1)
    start = np.searchsorted(of_pixel, tiles)
    sample = np.clip(np.arange(len(tiles) + 1) / parts - 1, 0, samples - 1)
    low = sample.astype(np.intp)
    return _Axis(
        of_pixel=of_pixel,
        start=start,
        size=np.diff(start, append=pixels),
        phase=((start + 0.5) * step + 0.5 * parts - tiles).astype(np.float32),
        step=np.float32(step),
        low=low,
        high=np.minimum(low + 1, samples - 1),
        weight=(sample - low).astype(np.float32),
    )


def _lattice(masks: Floats, cut: _Axis, axis: int) -> Floats:
    low = masks.take(cut.low, axis)
    if not cut.weight.any():
        return low
    weight = np.expand_dims(cut.weight, tuple(range(1, masks.ndim - axis)))
    return low + (masks.take(cut.high, axis) - low) * weight


def _fold(a: NDArray[Any], pick: np.ufunc) -> NDArray[Any]:
    """`pick` over the four corners of every tile: [K, y + 1, x + 1] to [K, y * x]."""
    rows = pick(a[:, :-1], a[:, 1:])
    return pick(rows[:, :, :-1], rows[:, :, 1:]).reshape(len(a), -1)


class TiledMasks:
    """K masks of [h, w] logits on the top left `size` pixels of the `extent` that they cover."""

    def __init__(self, logits: Floats, extent: tuple[int, int], size: tuple[int, int]) -> None:
        """`logits` is [K, h, w]; `extent` and `size` are (height, width) in pixels."""
        self._y = y = _cut(logits.shape[1], extent[0], size[0])
        self._x = x = _cut(logits.shape[2], extent[1], size[1])
        self._corners = _lattice(_lattice(logits, y, 1), x, 2)
        self._tile_shape = int(y.size.max()), int(x.size.max())
        row, column = np.divmod(np.arange(self._tile_shape[0] * self._tile_shape[1]), self._tile_shape[1])
        self._basis = np.stack([np.ones_like(row), row, column, row * column]).astype(np.float32)
        self._offsets = row * size[1] + column
        self._starts = np.add.outer(y.start * size[1], x.start).ravel()
        self._areas = np.outer(y.size, x.size).ravel()
        self._kinds = np.add.outer(y.size * (x.size.max() + 1), x.size).ravel()
        exists = (row < np.arange(self._tile_shape[0] + 1)[:, None, None]) & (
            column < np.arange(self._tile_shape[1] + 1)[:, None]
        )
        self._exists = exists.reshape(-1, len(row))

    def areas(self, masks: Indices) -> Indices:
        """How many pixels of each of `masks` have a positive logit."""
        positive = self._corners[masks] > 0
        full = _fold(positive, np.logical_and)
        which, tiles = np.nonzero(_fold(positive, np.logical_or) ^ full)
        inside = np.zeros(len(tiles), np.intp)
        bilinear = self._bilinear(masks[which], tiles)
        areas: Indices = full @ self._areas
        ends = np.searchsorted(which, np.arange(len(masks) + 1))
        for i, (first, end) in enumerate(zip(ends, ends[1:])):
            for part in self._batches(first, end):
                inside = bilinear[part] @ self._basis > 0
                areas[i] += np.count_nonzero(inside & self._pixels(tiles[part]))
        return areas

    def winners(self, scores: Floats) -> tuple[Ids, Indices]:
        """The k of the largest sigmoid(logit_k) scores_k at each pixel, the first on ties.

        `scores` are [K], positive and descending. Compared are the inverses, 1 / s + exp(-(logit + log s)),
        whose order is the same. Returns [h, w] of k, and how many pixels each k has, [K].
        """
        self.T and self.T('-')
        count = len(scores)
        dtype = np.min_scalar_type(count)
        costs = cv2.exp(-np.log(scores)[:, None] - self._corners.reshape(count, -1))
        costs += 1 / scores[:, None]
        costs = costs.reshape(self._corners.shape)
        able = _fold(costs, np.minimum) <= _fold(costs, np.maximum).min(axis=0) * _ROOM
        self.T and self.T('bounds')
        rivals = np.add.reduce(able, axis=0, dtype=dtype)
        winner = np.add.reduce(able * np.arange(count, dtype=dtype)[:, None], axis=0, dtype=dtype)
        decided = rivals == 1
        areas = np.bincount(winner[decided], self._areas[decided], count)
        ids = winner.reshape(len(self._y.start), -1).take(self._x.of_pixel, 1).take(self._y.of_pixel, 0)
        self.T and self.T('win')
        tiles = np.argsort(count - rivals, kind='stable')[:np.count_nonzero(rivals>1)]
        self.T and self.T('sort')
        won = self._contest(scores, able[:, tiles], tiles, rivals[tiles])
        self.T and self.T('contest')
        for part in self._batches(0, len(tiles)):
            exists = self._pixels(tiles[part])
            v = won[part][exists]
            ids.ravel()[(self._starts[tiles[part]][:, None] + self._offsets)[exists]] = v
            areas += cv2.calcHist([v], [0], None, [count], [0, count]).ravel()
        self.T and self.T('scatter')
        return ids, areas.astype(np.intp)

    def _contest(self, scores: Floats, able: NDArray[np.bool_], tiles: Indices, rivals) -> Ids:
        least = np.full((len(tiles), len(self._offsets)), np.inf, np.float32)
        won = np.zeros(least.shape, np.min_scalar_type(len(scores)))
        place = np.cumsum(able, axis=0, dtype=won.dtype)
        for r in range(rivals.max(initial=0)):
            n = np.count_nonzero(rivals > r)
            k = np.argmax(place[:, :n] == r + 1, axis=0)
            bilinear = self._bilinear(k, tiles[:n])
            bilinear[:, 0] += np.log(scores)[k]
            np.negative(bilinear, bilinear)
            inv = (1/scores)[k][:, None]
            k = k[:, None].astype(won.dtype)
            for part in self._batches(0, n):
                cost = bilinear[part] @ self._basis
                cv2.exp(cost, cost)
                cost += inv[part]
                better = cost < least[part]
                np.minimum(cost, least[part], out=least[part])
                np.maximum(won[part], better * k[part], out=won[part])
        return won

    def _bilinear(self, masks: Indices, tiles: Indices) -> Floats:
        """(a, b, c, d) of each pair of a mask and a tile, [n, 4]."""
        _, height, width = self._corners.shape
        row, column = np.divmod(tiles, width - 1)
        corner = (masks * height + row) * width + column
        points = self._corners.ravel()
        a = points.take(corner)
        right = points.take(corner + 1) - a
        down = points.take(corner + width) - a
        twist = points.take(corner + width + 1) - a - right - down
        y, x = self._y.phase.take(row), self._x.phase.take(column)
        down += twist * x
        out = np.empty((len(tiles), 4), np.float32)
        out[:, 0] = a + right * x + down * y
        out[:, 1] = down * self._y.step
        out[:, 2] = (right + twist * y) * self._x.step
        out[:, 3] = twist * (self._y.step * self._x.step)
        return out

    def _pixels(self, tiles: Indices) -> NDArray[np.bool_]:
        """Which pixels of the full tile shape these tiles have, [n, pixels]."""
        return self._exists.take(self._kinds.take(tiles), 0)

    def _batches(self, first: int, end: int) -> Iterator[slice]:
        step = max(1, _BATCH // len(self._offsets))
        for start in range(first, end, step):
            yield slice(start, min(start + step, end))
