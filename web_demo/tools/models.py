"""The model files of the page, made from the bundled checkpoint, and what each says of the built-in photograph.

Run it as `python web_demo/tools/models.py web_demo/out/models`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import maskconver_mobile
from maskconver_mobile import Segmenter

DEMO = Path(maskconver_mobile.__file__).parent / "demo"
PHOTO = DEMO / "astronaut.jpg"
PHOTOS = Path(__file__).parents[1] / "photos"
CHECKPOINT = ("--config", str(DEMO / "maskconver_256_demo.yaml"), "--checkpoint", str(DEMO / "maskconver_256_demo"))
MODELS = {
    "int8.tflite": "int8, for the CPU",
    "float32.tflite": "float32, exact, and for GPUs",
    "float16.onnx": "float16 weights, for ONNX Runtime",
}


def run(verb: str, *arguments: object) -> None:
    """One call of the command line."""
    command = [sys.executable, "-m", "maskconver_mobile", verb, *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def make(folder: Path) -> None:
    """Write the model files."""
    run("convert", *CHECKPOINT, "--output", folder / "float32.tflite")
    run("convert", *CHECKPOINT, "--precision", "float16", "--output", folder / "float16.onnx")
    with tempfile.TemporaryDirectory() as images:
        for photo in (PHOTO, *PHOTOS.glob("*.jpg")):
            shutil.copy(photo, images)
        recipe = ("--recipe", "int8", "--calibration", images)
        run("quantize", folder / "float32.tflite", *recipe, "--output", folder / "int8.tflite")


def expected(model: Path) -> dict[str, Any]:
    """The category map of the built-in photograph as runs of category and length, row after row."""
    result = Segmenter(model).segment(PHOTO)
    flat = result.category_map.ravel()
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    lengths = np.diff(starts, append=flat.size)
    return {"size": result.category_map.shape, "runs": np.stack([flat[starts], lengths], 1).ravel().tolist()}


def main() -> None:
    """Make the files and `models.json`, which describes them."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
    listed = [
        {"name": Path(name).stem, "file": name, "label": label, "expected": expected(folder / name)}
        for name, label in MODELS.items()
    ]
    (folder / "models.json").write_text(json.dumps(listed, separators=(",", ":")))


if __name__ == "__main__":
    main()
