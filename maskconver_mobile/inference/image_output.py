"""Pictures as files of the format that a name says."""

import io
from pathlib import Path

import cv2
from PIL import Image

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.inference.image import Pixels, encode_png

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}

QUALITY = 90
MAX_JPEG_SIDE = 65_500


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
    if format == "JPEG" and max(image.shape) <= MAX_JPEG_SIDE:  # OpenCV takes a third of Pillow's time
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    encoded = io.BytesIO()
    try:
        Image.fromarray(image).save(encoded, format, quality=QUALITY)
    except (OSError, ValueError) as error:
        raise MaskConverError(f"{path}: cannot be encoded ({error}); save it as .png") from error
    return encoded.getvalue()
