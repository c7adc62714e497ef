"""Pictures as files of the format that a name says."""

import io
from pathlib import Path

from PIL import Image

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.image import Pixels, encode_png

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}


def check_suffix(path: Path) -> None:
    """Refuse a name of no known format.

    Raises:
        MaskConverError: it is none.
    """
    if path.suffix.lower() not in FORMATS:
        raise MaskConverError(f"{path}: unknown suffix {path.suffix!r}; expected one of {', '.join(FORMATS)}")


def encode_image(image: Pixels, path: Path) -> bytes:
    """An RGB image [h, w, 3] in the format of a path's suffix.

    Raises:
        MaskConverError: an unknown suffix, or an image too large for the format.
    """
    check_suffix(path)
    format = FORMATS[path.suffix.lower()]
    if format == "PNG":
        return encode_png(image)
    encoded = io.BytesIO()
    try:
        Image.fromarray(image).save(encoded, format, quality=90)
    except (OSError, ValueError) as error:
        raise MaskConverError(f"{path}: cannot be encoded ({error}); save it as .png") from error
    return encoded.getvalue()
