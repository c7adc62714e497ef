"""Image files: which kinds are read, opened with bounds, and JPEGs that lack their last bytes."""

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin, UnidentifiedImageError, features

from maskconver_mobile.errors import MaskConverError, MaskConverWarning

MAX_PIXELS = 64_000_000
MAX_JPEG_PIXELS = 4 * MAX_PIXELS
"""Of JPEGs, which are decoded at half their size or less where they have over `MAX_PIXELS`."""
MAX_FILE_BYTES = 1 << 30

_ENDINGS = "jpg jpeg jpe jfif mpo png webp bmp tif tiff gif jp2 j2k ppm pgm pbm pnm avif heic heif"
SUFFIXES = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""Of files that are taken for pictures in a folder."""
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_HEAD = 64

File = str | Path | IO[bytes]


def images_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The pictures of a folder by suffix, in order of their names; what macOS puts beside each (`._NAME`) is none."""
    found = folder.rglob("*") if recursive else folder.iterdir()
    return [p for p in sorted(found) if p.suffix.lower() in SUFFIXES and not p.name.startswith("._") and p.is_file()]


@contextmanager
def open_picture(file: File, name: str) -> Iterator[Image.Image]:
    """An image file of a kind that is read, its header alone read so far.

    A JPEG of more pixels than are read is set to be decoded at a half, a quarter or an eighth of its size, with a
    warning.

    Raises:
        MaskConverError: it has over 64 million pixels (a JPEG 256 million), or none, or its kind needs a package that
            is not installed.
        Exception: whatever Pillow raises of files that it cannot read.
    """
    formats = _formats_of(_head(file), name)
    with open_image(file, name, formats, MAX_JPEG_PIXELS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.info.get("progressive"):
                raise _too_large(name)
            scale = next(n for n in (2, 4, 8) if width * height <= MAX_PIXELS * n * n)
            image.draft("RGB", (width // scale, height // scale))
            note(f"{name}: has {width * height / 1e6:.0f} million pixels; read at 1/{scale} of its width and height")
        yield image


@contextmanager
def open_image(file: File, name: str, formats: tuple[str, ...], max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """An image file whose header was read and nothing else.

    Raises:
        MaskConverError: it has more than `max_pixels`, or none.
        Exception: whatever Pillow raises of files that it cannot read.
    """
    try:
        with without_warnings():
            opened = Image.open(file, formats=formats)
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    with opened as image:
        check_size(image, name, max_pixels)
        yield image


def orientation(image: Image.Image) -> int:
    """How an image is to be turned, 1 to 8 as in EXIF; 1, as it is, where that is not said or damaged."""
    with suppress(Exception), without_warnings():  # a photo with damaged EXIF is still a photo
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
        return found if found in range(1, 9) else 1
    return 1


def stored_size(path: Path) -> tuple[int, int, bool]:
    """Width and height of an image file as it is stored, and whether EXIF turns it by a quarter; from its header.

    Raises:
        MaskConverError: it is no image.
    """
    with decoding(str(path)), open_picture(path, str(path)) as image:
        return *image.size, orientation(image) > 4


def check_size(image: Image.Image, name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse an image of too many pixels, or of none.

    Raises:
        MaskConverError: it has them.
    """
    width, height = image.size
    if width * height > max_pixels:
        raise _too_large(name)
    if width * height == 0:
        raise MaskConverError(f"{name}: has no pixels ({width}x{height})")


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn what decoders raise on files that are damaged or no images into one line."""
    try:
        yield
    except MaskConverError:
        raise
    except UnidentifiedImageError as error:
        kinds = "JPEG, PNG, WebP, TIFF, BMP or GIF"
        raise MaskConverError(f"{name}: is no image of a known format; expected {kinds}") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        reason = " ".join(str(error).split())
        raise MaskConverError(f"{name}: cannot be decoded ({reason}); save it again as JPEG or PNG") from error


@contextmanager
def without_warnings() -> Iterator[None]:
    """Without what Pillow warns of, for work that takes no time: Python's list of filters belongs to all threads."""
    with _FILTERS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


_FILTERS = threading.Lock()


def _renew_lock() -> None:
    global _FILTERS
    _FILTERS = threading.Lock()


if hasattr(os, "register_at_fork"):  # a child must not wait for a thread that only its parent has
    os.register_at_fork(after_in_child=_renew_lock)


def note(words: str) -> None:
    """Warn whoever called this package of something that was mended in an image."""
    warnings.warn(words, MaskConverWarning, stacklevel=2)


def whole_jpeg(content: bytes) -> bytes | None:
    """A JPEG that can be decoded, from one that lacks its last bytes; nothing where too much of the picture is missing.

    Whatever follows the picture's data changes nothing where they are complete. So two endings are tried, and the
    picture is whole where both give the same pixels but for one in fifty.
    """
    if not content.startswith(b"\xff\xd8"):
        return None
    endings = (b"\xff\xd9", bytes(range(1, 250)) * 64 + b"\xff\xd9")
    pictures = []
    for ending in endings:
        with Image.open(io.BytesIO(content + ending), formats=("JPEG",)) as image:
            check_size(image, "JPEG")
            pictures.append(np.asarray(image.convert("L")).astype(np.int16))
    changed = float((np.abs(pictures[0] - pictures[1]) > 2).mean())
    return content + endings[0] if changed <= 1 / 50 else None


def _head(file: File) -> bytes:
    if isinstance(file, str | Path):
        with open(file, "rb") as opened:
            return opened.read(_HEAD)
    head = file.read(_HEAD)
    file.seek(0)
    return head


def _formats_of(head: bytes, name: str) -> tuple[str, ...]:
    """Pillow's names of the formats that the file may be in; those of two codecs alone need something else."""
    brands = (head[8:12], *(head[i : i + 4] for i in range(16, len(head) - 3, 4))) if head[4:8] == b"ftyp" else ()
    if any(brand in _AVIF_BRANDS for brand in brands):
        if not features.check("avif"):
            raise MaskConverError(f"{name}: is an AVIF picture; run `pip install 'pillow>=11.3'`, or save it as JPEG")
        return ("AVIF",)
    if any(brand in _HEIF_BRANDS for brand in brands):
        if find_spec("pillow_heif") is None:
            cure = "run `pip install 'maskconver-mobile[heif]'`, or save it as JPEG"
            raise MaskConverError(f"{name}: is an HEIC picture, whatever its name says; {cure}")
        import pillow_heif

        pillow_heif.register_heif_opener()
        return ("HEIF",)
    return _FORMATS


def _too_large(name: str) -> MaskConverError:
    return MaskConverError(f"{name}: has over {MAX_PIXELS // 10**6} million pixels; make it smaller first")
