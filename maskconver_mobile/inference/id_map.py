"""A segmentation as one small number a pixel, with a table of what each number stands for."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Map: TypeAlias = NDArray[np.int32]
Ids: TypeAlias = NDArray[np.unsignedinteger[Any]]
Box: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class Found:
    """A segment of a map: what it is, its area in pixels, and x, y, width, height of the box around it."""

    category_id: int
    instance: int
    area: int
    bbox: Box


@dataclass(frozen=True)
class IdMap:
    """Category and instance of every pixel.

    Attributes:
        ids: [h, w], indices into the other two.
        categories: int32 [n], class ids; 0 is void.
        instances: int32 [n], the number of a thing, from 1 on; 0 for all else.
    """

    ids: Ids
    categories: Map
    instances: Map

    @classmethod
    def of(cls, category_map: Map, instance_map: Map) -> "IdMap":
        """From int32 maps [h, w] of categories and instances."""
        stride = int(instance_map.max()) + 1
        starts, lengths = _runs(category_map * np.int32(stride) + instance_map)
        values = category_map.ravel()[starts] * np.int64(stride) + instance_map.ravel()[starts]
        keys, ids = np.unique(values, return_inverse=True)
        categories, instances = np.divmod(keys, stride)
        numbers = np.repeat(ids.astype(np.min_scalar_type(len(keys))), lengths).reshape(category_map.shape)
        return cls(numbers, categories.astype(np.int32), instances.astype(np.int32))

    @property
    def category_map(self) -> Map:
        """int32 [h, w] of class ids, 0 for void."""
        return _look_up(self.categories, self.ids)

    @property
    def maps(self) -> tuple[Map, Map]:
        """The category map, and the same of instances."""
        return self.category_map, _look_up(self.instances, self.ids)

    def segments(self, *, zero_is_void: bool = True) -> tuple[Map, list[Found]]:
        """The segments in order of category and instance, and an int32 map [h, w] of 1 + their place; 0 is void.

        Where category 0 is not void, it is a segment like others.
        """
        shift = 0 if zero_is_void else 1
        count = max(len(self.categories), 1)
        starts, lengths = _runs(self.ids)
        of_run = self.ids.ravel()[starts]
        present = np.bincount(of_run, minlength=count)[:count] > 0
        stride = int(self.instances.max(initial=0)) + 1
        # Without proposals all is category 0.
        categories, instances = (
            np.resize(table, count).astype(np.int64) for table in (self.categories, self.instances)
        )
        keys = np.where(present & (categories + shift > 0), (categories + shift) * stride + instances, 0)
        distinct, number = np.unique(np.append(keys, 0), return_inverse=True)
        table = np.zeros(count, np.int32)
        table[: len(keys)] = number[:-1]
        areas, boxes = _measure(table[of_run], starts, lengths, len(distinct), self.ids.shape[1])
        found = [
            Found(key // stride - shift, key % stride, area, (x, y, width, height))
            for key, area, (x, y, width, height) in zip(distinct.tolist(), areas, boxes, strict=True)
        ]
        return _look_up(table, self.ids), found[1:]


def _runs(map_: NDArray[np.integer[Any]]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where horizontal runs of one value start in a flat map, and how long they are."""
    flat = map_.ravel()
    begins = np.ones(flat.size, np.bool_)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[:: map_.shape[1]] = True
    starts = np.flatnonzero(begins)
    return starts, np.diff(starts, append=flat.size)


def _measure(
    numbers: Map, starts: NDArray[np.intp], lengths: NDArray[np.intp], count: int, width: int
) -> tuple[list[int], list[list[int]]]:
    """Area and box of each number from 0 to `count` - 1, from the runs that have it."""
    areas = np.bincount(numbers, lengths, count).astype(int).tolist()
    top, left = np.divmod(starts, width)
    low = np.full((2, count), starts.size + width)
    high = np.zeros((2, count), np.intp)
    for axis, (first, last) in enumerate([(left, left + lengths), (top, top + 1)]):
        np.minimum.at(low[axis], numbers, first)
        np.maximum.at(high[axis], numbers, last)
    return areas, np.concatenate([low, high - low]).T.tolist()


def _look_up(table: Map, ids: Ids) -> Map:
    if ids.dtype != np.uint8:
        return table[ids]
    padded = np.zeros(256, np.int32)
    padded[: len(table)] = table
    return np.asarray(cv2.LUT(ids, padded), np.int32)
