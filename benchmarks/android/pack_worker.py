"""The worker as one file that Python runs on a device: a zip of itself and of what it needs of this package."""

import zipfile
from pathlib import Path

import maskconver_mobile
from maskconver_mobile.benchmarks.host import worker

PARTS = (
    "__init__",
    "errors",
    "files",
    "formats/__init__",
    "formats/engines",
    "formats/onnx/__init__",
    "formats/onnx/wire",
)
"""Modules of the package; they need nothing but NumPy and the standard library."""


def pack_worker(folder: Path) -> Path:
    """Write the file into a folder; its bytes are the same every time, so that a device knows it again."""
    package = Path(maskconver_mobile.__file__).parent
    files = {f"maskconver_mobile/{part}.py": package / f"{part}.py" for part in PARTS}
    path = folder / "worker.pyz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in {"__main__.py": Path(worker.__file__), **files}.items():
            archive.writestr(zipfile.ZipInfo(name), source.read_bytes())
    return path
