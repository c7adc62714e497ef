"""Large PNG files by all processors: rows are filtered and deflated in stripes, which join to one stream."""

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError

Pixels = NDArray[np.uint8]

STRIPED_PIXELS = 1 << 21
"""Smaller images go to OpenCV, which has less to prepare."""
MAX_THREADS = 8
MAX_SIDE = 1_000_000
"""More is refused by libpng, and so by most that would read it."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _UP = 2, 2
_ZLIB_HEADER = b"\x78\x01"


def encode_png(image: Pixels) -> bytes:
    """An RGB image as PNG, about a tenth larger than Pillow's, in a small part of its time.

    Args:
        image: uint8 [h, w, 3].

    Raises:
        MaskConverError: it is too large for the format.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    height, width = image.shape[:2]
    if height * width >= STRIPED_PIXELS and processors > 1 and max(height, width) <= MAX_SIDE:
        return _striped(np.ascontiguousarray(image), min(MAX_THREADS, processors))
    try:
        ok, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        ok = False
    if not ok:
        raise MaskConverError(f"a PNG of {width}x{height} pixels cannot be encoded")
    return encoded.tobytes()


def _striped(image: Pixels, threads: int) -> bytes:
    """One deflate stream of stripes: each ends at a byte and refers to nothing before it (RFC 1950, 1951)."""
    height, width, _ = image.shape
    rows = image.reshape(height, 3 * width)
    bounds = np.unique(np.linspace(0, height, 4 * threads + 1).astype(int)).tolist()
    with ThreadPoolExecutor(threads) as pool:
        stripes = list(pool.map(lambda span: _stripe(rows, *span), pairwise(bounds)))
    checksum = 1
    for _, filtered in stripes:
        checksum = zlib.adler32(filtered.data, checksum)
    end = zlib.compressobj(1, zlib.DEFLATED, -15).flush()
    parts = [_ZLIB_HEADER, *(deflated for deflated, _ in stripes), end + struct.pack(">I", checksum)]
    header = struct.pack(">IIBBBBB", width, height, 8, _RGB, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header), *(_chunk(b"IDAT", part) for part in parts), _chunk(b"IEND", b"")]
    return _SIGNATURE + b"".join(chunks)


def _stripe(rows: Pixels, start: int, end: int) -> tuple[bytes, Pixels]:
    """Rows as differences to the one above them, deflated and plain."""
    filtered = np.empty((end - start, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    np.subtract(rows[start + 1 : end], rows[start : end - 1], out=filtered[1:, 1:])
    np.subtract(rows[start], rows[start - 1] if start else 0, out=filtered[0, 1:])
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    return deflate.compress(filtered.data) + deflate.flush(zlib.Z_FULL_FLUSH), filtered


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
