"""What `pip install 'maskconver-mobile[EXTRA]'` adds, and the line that says so where it is missing."""

from importlib.util import find_spec

from maskconver_mobile.errors import MaskConverError

EXTRAS = {
    "onnx": ("onnx", "onnxruntime"),
    "convert": ("tensorflow", "yaml"),
    "quantize": ("tensorflow", "yaml", "litert_quantizer"),
    "adb": ("adbutils",),
    "web": ("cryptography", "segno"),
    "heif": ("pillow_heif",),
}
"""Modules by extra."""
PURPOSES = {
    "onnx": ".onnx and .ort models",
    "convert": "converting checkpoints",
    "quantize": "quantizing",
    "adb": "an adb client for phones",
    "web": "serving the page to phones",
    "heif": "HEIC photographs",
}
PACKAGES = {"tensorflow": "TensorFlow", "yaml": "PyYAML", "litert_quantizer": "litert-quantizer"}


def install_line(*extras: str) -> str:
    """The command that installs extras."""
    return f"pip install 'maskconver-mobile[{','.join(extras)}]'"


def missing_modules(extra: str) -> list[str]:
    """Packages of an extra that are not installed."""
    return [PACKAGES.get(name, name) for name in EXTRAS[extra] if find_spec(name) is None]


def require_quantizer(suffix: str, recipe: str) -> None:
    """Refuse to quantize files of a suffix by a recipe without the extras for it.

    Raises:
        MaskConverError: a package is not installed.
    """
    if suffix.lower() in (".onnx", ".ort"):
        require("onnx", f"quantizing {suffix} files")
        require("convert", "quantizing")
    else:
        require("convert" if recipe == "float16" else "quantize", "quantizing")


def require(extra: str, what: str) -> None:
    """Refuse to go on without an extra.

    Raises:
        MaskConverError: a package of it is not installed; `what` says who needs it.
    """
    missing = missing_modules(extra)
    if missing:
        raise MaskConverError(f"{what} needs {' and '.join(missing)}; run `{install_line(extra)}`")
