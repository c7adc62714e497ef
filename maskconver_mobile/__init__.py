"""Panoptic segmentation with MaskConver models on phones and on the host.

    from maskconver_mobile import segment
    result = segment("photo.jpg")
    result.save("overlay.png")

OpenCV's arrays are BGR: `segment(frame, color="bgr")`.

Names are resolved on first use, so that importing the package (as the command line does) costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maskconver_mobile.benchmarks.host.session import HostOptions
    from maskconver_mobile.card import Category, ModelCard, Verdict
    from maskconver_mobile.converters.spec import GraphSpec
    from maskconver_mobile.errors import MaskConverError, MaskConverWarning
    from maskconver_mobile.inference.image import ImageSource
    from maskconver_mobile.result import PanopticResult, Segment
    from maskconver_mobile.segmenter import Segmenter, segment
    from maskconver_mobile.verbs import benchmark, compare, convert, evaluate, inspect, quantize

__all__ = [
    "Category",
    "GraphSpec",
    "HostOptions",
    "ImageSource",
    "MaskConverError",
    "MaskConverWarning",
    "ModelCard",
    "PanopticResult",
    "Segment",
    "Segmenter",
    "Verdict",
    "benchmark",
    "compare",
    "convert",
    "evaluate",
    "inspect",
    "quantize",
    "segment",
]
__version__ = "0.1.0"

_HOMES = {
    "Category": "card",
    "GraphSpec": "converters.spec",
    "HostOptions": "benchmarks.host.session",
    "ImageSource": "inference.image",
    "MaskConverError": "errors",
    "MaskConverWarning": "errors",
    "ModelCard": "card",
    "PanopticResult": "result",
    "Segment": "result",
    "Segmenter": "segmenter",
    "Verdict": "card",
    "segment": "segmenter",
    **dict.fromkeys(("benchmark", "compare", "convert", "evaluate", "inspect", "quantize"), "verbs"),
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
