"""Masks in the two forms that COCO annotations have: run lengths and polygons."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def encode_rle(mask: Mask) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths, which `pycocotools.mask.decode` reads.

    Runs go down the columns, one of zeros first. From the fourth on, a run is stored as its difference to the one
    before the last; each number in groups of five bits, the lowest first, as a character from "0" on, with the sixth
    bit where more follow (https://github.com/cocodataset/cocoapi, `maskApi.c`).

    Args:
        mask: bool [h, w].

    Returns:
        `size` [h, w] and `counts`, text.
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]]))
    if flat[0]:
        runs = np.insert(runs, 0, 0)
    differences = runs.copy()
    differences[3:] -= runs[1:-2]
    return {"size": list(mask.shape), "counts": "".join(map(_characters, differences.tolist()))}


def _characters(number: int) -> str:
    text = ""
    while True:
        low, number = number & 0x1F, number >> 5
        last = number == (-1 if low & 0x10 else 0)
        text += chr(48 + low + (0 if last else 0x20))
        if last:
            return text


def polygons(mask: Mask) -> list[list[float]]:
    """The outlines of a mask's connected parts as COCO polygons: x, y, x, y, ... in pixels.

    A point lies a quarter of a pixel inside the edge of the pixels, so that programs which fill a polygon find the
    mask. Holes are filled, as the format knows none.

    Args:
        mask: bool [h, w].
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    part = mask[y : y + height, x : x + width].astype(np.uint8)
    fine = part.repeat(2, axis=0).repeat(2, axis=1)
    outlines, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((points.reshape(-1, 2) + 0.5) / 2 + (x, y)).ravel().tolist() for points in outlines]
