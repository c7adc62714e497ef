"""From an image file to a model's input tensor, and the way back for maps."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.inference.image_file import (
    MAX_FILE_BYTES,
    check_size,
    decoding,
    note,
    open_picture,
    orientation,
    whole_jpeg,
)


class Readable(Protocol):
    """A file object opened in binary mode, or anything that reads as one does."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes."""


Pixels: TypeAlias = NDArray[np.uint8]
ImageSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | Image.Image | Pixels
ColorOrder = Literal["rgb", "bgr"]


def load_image(source: ImageSource, color: ColorOrder = "rgb", *, upright: bool = True) -> Pixels:
    """Decode an image to RGB, upright.

    Files, bytes and PIL images are turned as their EXIF orientation says. 16-bit grey is scaled to 8 bits. Transparent
    pixels are laid over white, as a page would show them. Of an animation the first frame is taken.

    Args:
        source: path of a file (`~` is your home), its bytes, or a file object opened in binary mode; a PIL image; or a
            uint8 array: grey [h, w] or [h, w, 1], RGB [h, w, 3], RGBA [h, w, 4].
        color: order of an array's channels. OpenCV's arrays are "bgr", of `cv2.imread` as of a camera; all other
            sources say themselves what they are.
        upright: False leaves the pixels as they are stored, whatever the EXIF orientation.

    Returns:
        uint8 [h, w, 3] RGB, a copy of its own.

    Raises:
        MaskConverError: no such file, no image, a damaged one, one of over 64 million pixels (a JPEG 256 million) or of
            none, or an array of another dtype or shape.

    Warns:
        MaskConverWarning: a JPEG lacked its last bytes, or is so large that it was read at a part of its size.
    """
    if color not in get_args(ColorOrder):
        raise MaskConverError(f"color is {color!r}; expected 'rgb', or 'bgr' for OpenCV's arrays")
    if isinstance(source, np.ndarray):
        return _from_array(source, color)
    if isinstance(source, Image.Image):
        with decoding("PIL image"):
            check_size(source, "PIL image")
            return _from_pil(source, "PIL image", upright)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_file(io.BytesIO(source), f"image of {memoryview(source).nbytes} bytes", upright)
    if isinstance(source, str | os.PathLike):
        return _from_path(os.fsdecode(source), upright)
    if hasattr(source, "read"):
        return _from_stream(source, upright)
    raise MaskConverError(
        f"an image of type {type(source).__name__}: expected a path, bytes, a file object, a PIL image or a uint8 "
        "array [h, w, 3]"
    )


@dataclass(frozen=True)
class Letterbox:
    """How an image lies on a model's canvas: scaled with its aspect kept, at the top left. Sizes are (height, width).

    Attributes:
        image_size: of the image, in its own pixels.
        canvas_size: of the model's input.
        scaled_size: of the image on the canvas.
    """

    image_size: tuple[int, int]
    canvas_size: tuple[int, int]
    scaled_size: tuple[int, int]

    @classmethod
    def fit(cls, image_size: tuple[int, int], canvas_size: tuple[int, int]) -> "Letterbox":
        """The largest fit, rounded to pixels in float32 as in training, and at least one pixel wide and high."""
        image, canvas = np.array(image_size, np.float32), np.array(canvas_size, np.float32)
        height, width = np.maximum(np.round(image * (canvas / image).min()), 1).astype(int).tolist()
        return cls(image_size, canvas_size, (height, width))

    @property
    def image_info(self) -> NDArray[np.float32]:
        """float32 [4, 2]: image size, canvas size, scale on either axis, zeros."""
        image, canvas, scaled = np.array([self.image_size, self.canvas_size, self.scaled_size], np.float32)
        return np.stack([image, canvas, scaled / image, np.zeros_like(image)])

    @property
    def extent(self) -> tuple[int, int]:
        """(height, width) that the whole canvas covers, in pixels of the image."""
        _, canvas, scale, _ = self.image_info
        height, width = np.ceil(canvas / scale).astype(int).tolist()
        return height, width


def preprocess(image: Pixels, card: ModelCard) -> tuple[NDArray[Any], Letterbox]:
    """Lay an image on a model's canvas.

    The scaling is bilinear with half-pixel centers and without antialiasing. Padding is the mean color: 0 once
    normalized.

    Args:
        image: uint8 [h, w, 3] RGB.
        card: says what the model takes.

    Returns:
        The input tensor [1, H, W, 3] of the card's input type, and where the image lies.
    """
    letterbox = Letterbox.fit((image.shape[0], image.shape[1]), card.input_size)
    height, width = letterbox.scaled_size
    mean, std = np.array([card.mean, card.std], np.float32)
    scaled: NDArray[Any]
    padding: NDArray[Any]
    if card.input_type == "uint8":
        # On bytes INTER_LINEAR rounds down now and then, a tenth of a gray value on average; the exact one does not.
        scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        padding = np.round(card.mean).astype(np.uint8)
    elif card.input_type == "pixels":
        scaled, padding = resize(image, (height, width)), mean
    else:
        scaled, padding = (resize(image, (height, width)) - mean) / std, np.zeros(3, np.float32)
    tensor = np.broadcast_to(padding, (1, *card.input_size, 3)).copy()
    tensor[0, :height, :width] = scaled
    return tensor, letterbox


def resize(image: Pixels, size: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear, half-pixel centers, no antialiasing, without rounding; all arithmetic in float32.

    The same values in the same order as TensorFlow's `ResizeBilinear(half_pixel_centers=True)`, with which the network
    was trained: `a + (b - a) t` along rows first, then along columns. Only the pixels that are read are converted.

    Args:
        image: uint8 [h, w, c].
        size: (height, width) of the result.

    Returns:
        float32 [height, width, c].
    """
    (top, bottom, down), (left, right, across) = (_neighbors(n, m) for n, m in zip(image.shape, size, strict=False))
    across, down = across[:, None], down[:, None, None]
    rows = []
    for line in (top, bottom):
        picked = image.take(line, 0) if len(line) < len(image) else image[line]
        a, b = (picked.take(column, 1).astype(np.float32) for column in (left, right))
        rows.append(a + (b - a) * across)
    upper, lower = rows
    result: NDArray[np.float32] = upper + (lower - upper) * down
    return result


def _neighbors(length: int, samples: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Of each sample the neighbor before and behind, and how far it lies between them, 0..1."""
    scale = np.float32(length) / np.float32(samples)
    position = (np.arange(samples, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    floor = np.floor(position)
    before = np.maximum(floor.astype(np.int64), 0)
    behind = np.minimum(np.ceil(position).astype(np.int64), length - 1)
    return before, behind, position - floor


def restore(map_: NDArray[Any], letterbox: Letterbox) -> NDArray[Any]:
    """Bring a map of the whole canvas back to the image's own size, by nearest neighbour.

    Args:
        map_: [oh, ow] of any size; it covers the canvas, padding included.
        letterbox: where the image lies on the canvas.

    Returns:
        [h, w] of the same dtype.
    """
    sizes = zip(letterbox.image_size, letterbox.canvas_size, letterbox.scaled_size, map_.shape, strict=True)
    # floor((i + 0.5) scaled / image * map / canvas), in whole numbers
    places = [(2 * np.arange(i) + 1) * scaled * samples // (2 * i * canvas) for i, canvas, scaled, samples in sizes]
    for axis in np.argsort(letterbox.image_size).tolist():  # the short side first, lest a long one meets a whole map
        map_ = map_.take(places[axis], axis)
    return map_


def encode_png(image: Pixels) -> bytes:
    """An RGB image [h, w, 3] as PNG. OpenCV writes a tenth more than Pillow, four times as fast.

    Raises:
        MaskConverError: it is too large for the format.
    """
    try:
        ok, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        ok = False
    if not ok:
        raise MaskConverError(f"a PNG of {image.shape[1]}x{image.shape[0]} pixels cannot be encoded")
    return encoded.tobytes()


def _from_path(path: str, upright: bool) -> Pixels:
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        raise MaskConverError(f"{path}: is a folder; expected an image file")
    if not os.path.isfile(path):
        raise MaskConverError(f"{path}: no such image file")
    return _from_file(Path(path), path, upright)


def _from_stream(stream: Readable, upright: bool) -> Pixels:
    content = stream.read(MAX_FILE_BYTES)
    name = str(getattr(stream, "name", "image stream"))
    if not isinstance(content, bytes):
        raise MaskConverError(f"{name}: gives {type(content).__name__}; open it in binary mode, as in open(path, 'rb')")
    return _from_file(io.BytesIO(content), name, upright)


def _from_file(file: Path | io.BytesIO, name: str, upright: bool) -> Pixels:
    with decoding(name):
        try:
            with open_picture(file, name) as image:
                return _from_pil(image, name, upright)
        except OSError as error:
            if "truncated" not in str(error):
                raise
            whole = whole_jpeg(file.read_bytes() if isinstance(file, Path) else file.getvalue())
            if whole is None:
                raise
        with open_picture(io.BytesIO(whole), name) as image:
            pixels = _from_pil(image, name, upright)
        note(f"{name}: lacks its last bytes; read without them")
        return pixels


def _from_pil(image: Image.Image, name: str, upright: bool) -> Pixels:
    pixels = _to_rgb(image, name)
    if upright:
        pixels = _UPRIGHT[orientation(image)](pixels)
    pixels = np.ascontiguousarray(pixels)
    return pixels if pixels.flags.writeable else pixels.copy()  # Pillow hands out views of immutable bytes


_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


def _to_rgb(image: Image.Image, name: str) -> Pixels:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise MaskConverError(f"{name}: has grey values beyond 16 bits; scale them to 8 bits first")
        return _grey_to_rgb(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise MaskConverError(f"{name}: has floating-point pixels; scale them to 8 bits first")
    if image.has_transparency_data:
        return _over_white(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _grey_to_rgb(grey: Pixels) -> Pixels:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _over_white(rgba: Pixels) -> Pixels:
    alpha = rgba[:, :, 3:].astype(np.uint16)
    return ((rgba[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _from_array(array: NDArray[Any], color: ColorOrder) -> Pixels:
    letters = color.upper()
    wanted = f"expected uint8 [h, w, 3] {letters}, [h, w] grey or [h, w, 4] {letters}A"
    if array.dtype != np.uint8:
        cure = "; multiply values in 0..1 by 255 and round" if array.dtype.kind == "f" else ""
        raise MaskConverError(f"image array is {array.dtype} {list(array.shape)}; {wanted}{cure}")
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise MaskConverError(f"image array is uint8 {list(array.shape)}; {wanted}")
    if array.size == 0:
        raise MaskConverError(f"image array {list(array.shape)} has no pixels; {wanted}")
    if channels == 1:
        return _grey_to_rgb(array.reshape(array.shape[:2]))
    if color == "bgr":
        array = array[:, :, [2, 1, 0, 3][:channels]]
    return _over_white(array) if channels == 4 else np.array(array, order="C")
