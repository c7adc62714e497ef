"""Packaging. `converters` and `benchmarks` are top-level folders but install under `maskconver_mobile.`."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

RUNTIME = [
    "ai-edge-litert>=2.1,<3; platform_system != 'Windows'",
    "click>=8.1",
    "flatbuffers>=24.3",
    "numpy>=1.26",
    "opencv-python-headless>=4.9",
    "Pillow>=10.3",
    "rich>=13.7",
]
ONNX = ["onnx>=1.16", "onnxruntime>=1.18"]
ADB = ["adbutils>=2.8"]
WEB = ["cryptography>=42", "segno>=1.6"]
HEIF = ["pillow-heif>=0.18"]
CONVERT = ["PyYAML>=6.0", "tensorflow>=2.21,<2.22"]
QUANTIZE = [*CONVERT, "litert-quantizer>=0.11,<0.12"]
TEST = [*ADB, *WEB, *HEIF, *QUANTIZE, *ONNX, "pycocotools>=2.0.8", "pytest>=8.0", "supervision>=0.31"]
DEV = [*TEST, "mypy>=1.15", "ruff>=0.12", "tf2onnx>=1.17", "types-PyYAML"]


class CleanBuild(build_py):
    """Builds from nothing: what an earlier build left behind would go into the wheel."""

    def run(self) -> None:
        """Build."""
        shutil.rmtree(Path(self.build_lib) / "maskconver_mobile", ignore_errors=True)
        super().run()


setup(
    name="maskconver-mobile",
    version="0.1.0",
    description="MaskConver panoptic segmentation on phones: convert, run, measure.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["maskconver_mobile", "maskconver_mobile.*"]),
        "maskconver_mobile.converters",
        "maskconver_mobile.converters.graph",
        "maskconver_mobile.converters.network",
        "maskconver_mobile.converters.passes",
        "maskconver_mobile.benchmarks",
    ],
    package_dir={
        "maskconver_mobile.converters": "converters",
        "maskconver_mobile.benchmarks": "benchmarks",
    },
    package_data={
        "maskconver_mobile": ["py.typed", "*.json", "demo/*.jpg", "demo/*.tflite", "demo/photos/*"],
    },
    cmdclass={"build_py": CleanBuild},
    install_requires=RUNTIME,
    extras_require={"adb": ADB, "onnx": ONNX, "convert": CONVERT, "quantize": QUANTIZE, "test": TEST, "dev": DEV}
    | {"heif": HEIF, "web": WEB},
    entry_points={"console_scripts": ["maskconver-mobile=maskconver_mobile.cli:main"]},
)
