"""What the page needs of Python: model files made from the bundled checkpoint, their answers, and small photographs.

Run it as `python web_demo/tools/data.py web_demo/out/data`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import maskconver_mobile
from maskconver_mobile import Segmenter

DEMO = Path(maskconver_mobile.__file__).parent / "demo"
PHOTO = DEMO / "astronaut.jpg"
PHOTOS = (PHOTO, *sorted((DEMO / "photos").glob("*.jpg")))
SMALL = 128
# The checkpoint is in the repository, and not in the installed package.
STEM = Path(__file__).parents[2] / "maskconver_mobile" / "demo" / "maskconver_256_demo"
CHECKPOINT = ("--config", f"{STEM}.yaml", "--checkpoint", str(STEM))
# By name: the file, and what the page calls it. The first one that suits is the page's own choice.
MODELS = {
    "int8": ("int8.tflite", "int8, for the CPU"),
    "float16": ("float16.tflite", "float16 weights, for GPUs too"),
    "float32": ("float32.tflite", "float32, exact"),
    "onnx": ("float16.onnx", "float16 weights, for ONNX Runtime"),
}


def run(verb: str, *arguments: object) -> None:
    """One call of the command line."""
    # With `-m` Python would import the source tree that it is called in, where some packages have other names.
    command = [str(Path(sys.executable).with_name("maskconver-mobile")), verb, *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def make_models(folder: Path) -> None:
    """Write the model files. The int8 one is calibrated on the sample photographs."""
    run("convert", *CHECKPOINT, "--output", folder / "float32.tflite")
    # LiteRT's WebGPU kernels hand tensors over in the middle of a graph only where nothing else has to run there.
    for suffix, target in (("tflite", "gpu"), ("onnx", "cpu")):
        output = folder / f"float16.{suffix}"
        run("convert", *CHECKPOINT, "--precision", "float16", "--target", target, "--output", output)
    with tempfile.TemporaryDirectory() as images:
        for photo in PHOTOS:
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


def make_small_photos(folder: Path) -> None:
    """Write the sample photographs as squares for buttons."""
    folder.mkdir(exist_ok=True)
    for photo in PHOTOS:
        with Image.open(photo) as image:
            side = min(image.size)
            left, top = ((length - side) // 2 for length in image.size)
            square = image.resize((SMALL, SMALL), Image.Resampling.LANCZOS, (left, top, left + side, top + side))
            square.save(folder / photo.name, quality=75)


def main() -> None:
    """Make the files, and `models.json`, which lists the models."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    make_models(folder)
    for file, _ in MODELS.values():
        (folder / f"{file}.json").write_text(json.dumps(expected(folder / file), separators=(",", ":")))
    listed = [{"name": name, "file": file, "label": label} for name, (file, label) in MODELS.items()]
    (folder / "models.json").write_text(json.dumps(listed))
    make_small_photos(folder / "small")


if __name__ == "__main__":
    main()
