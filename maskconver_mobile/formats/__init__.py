"""The formats of model files: the one place that tells them apart, by suffix."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maskconver_mobile.errors import MaskConverError

RuntimeName = Literal["litert", "onnxruntime"]


@dataclass(frozen=True)
class Format:
    """A format of model files.

    Attributes:
        suffix: of its files, in lower case.
        runtime: what runs it.
        package: what has to be installed for that.
        cure: how to get the package, or what to do without it.
    """

    suffix: str
    runtime: RuntimeName
    package: str
    cure: str


_ONNX_CURE = "install it with: pip install 'maskconver-mobile[onnx]'"
TFLITE = Format(
    ".tflite",
    "litert",
    "ai-edge-litert",
    "install ai-edge-litert, or use an .onnx file where there is none, as on Windows",
)
ONNX = Format(".onnx", "onnxruntime", "onnxruntime", _ONNX_CURE)
ORT = Format(".ort", "onnxruntime", "onnxruntime", _ONNX_CURE)
FORMATS = {format.suffix: format for format in (TFLITE, ONNX, ORT)}


def is_model(path: Path) -> bool:
    """Whether a file's name is that of a model."""
    return path.suffix.lower() in FORMATS


def format_of(path: Path) -> Format:
    """The format that a file's suffix names.

    Raises:
        MaskConverError: none is of that name.
    """
    if not is_model(path):
        *others, last = FORMATS
        raise MaskConverError(
            f"{path}: unknown model format {path.suffix or '(no suffix)'!r}; expected {', '.join(others)} or {last}"
        )
    return FORMATS[path.suffix.lower()]


def missing(path: Path, format: Format) -> MaskConverError:
    """The error for a file whose runtime is not installed."""
    return MaskConverError(f"{path}: {format.suffix} files need {format.package}; {format.cure}")
