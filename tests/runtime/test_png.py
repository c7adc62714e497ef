"""PNG files written in stripes."""

import io
import struct

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.inference import png
from maskconver_mobile.inference.png import encode_png


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth, flat and noisy thirds."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 3] = np.linspace(0, 255, height).astype(np.uint8)[:, None, None]
    image[:, width // 2 :] = np.random.default_rng(0).integers(0, 256, (height, width - width // 2, 3), np.uint8)
    return image


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3), (40, 1), (97, 61)])
def test_every_reader_sees_the_same_pixels(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with more stripes than rows."""
    monkeypatch.setattr(png, "STRIPED_PIXELS", 0)
    monkeypatch.setattr(png.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    image = picture(*size)
    content = encode_png(image)
    assert content.count(b"IDAT") > 1
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), image)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], image)


def test_chunks_and_checksums_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "STRIPED_PIXELS", 0)
    monkeypatch.setattr(png.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    content, place, kinds = encode_png(picture(64, 64)), 8, []
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        kinds.append(content[place + 4 : place + 8])
        place += 12 + length
    assert place == len(content)
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    with Image.open(io.BytesIO(content)) as image:
        image.verify()


def test_views_and_one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(50, 60)
    monkeypatch.setattr(png, "STRIPED_PIXELS", 0)
    for processors in ({0}, {0, 1}):
        monkeypatch.setattr(png.os, "sched_getaffinity", lambda _, these=processors: these, raising=False)
        for view in (image[:, ::-1], image[::2], image[5:, 7:]):
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(view)))), view)


def test_flat_pictures_stay_small() -> None:
    assert len(encode_png(np.full((1500, 1500, 3), 7, np.uint8))) < 60_000


def test_what_no_reader_takes_is_refused() -> None:
    with pytest.raises(MaskConverError, match="a PNG of 1000001x3 pixels cannot be encoded"):
        encode_png(np.zeros((3, 1_000_001, 3), np.uint8))
