"""Panoptic segmentation with MaskConver models on phones and on the host.

    from maskconver_mobile import segment
    result = segment("photo.jpg")
    result.save("overlay.png")

Names are resolved on first use, so that importing the package (as the command line does) costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskconver_mobile.errors import MaskConverError
    from maskconver_mobile.panoptic import PanopticResult, Segment
    from maskconver_mobile.segmenter import Segmenter, segment

__all__ = ["MaskConverError", "PanopticResult", "Segment", "Segmenter", "segment"]
__version__ = "0.1.0"

_HOMES = {
    "MaskConverError": "errors",
    "PanopticResult": "panoptic",
    "Segment": "panoptic",
    "Segmenter": "segmenter",
    "segment": "segmenter",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
