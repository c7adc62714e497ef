"""Half precision by ARM's own kernels: the answer on photographs, in the user land of test_arm64.py."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from maskconver_mobile.evaluation.stability import agreement, noisy_images, stable_pixels
from maskconver_mobile.inference.image import load_image, preprocess, restore
from maskconver_mobile.segmenter import Segmenter

pytestmark = pytest.mark.slow

QEMU = "qemu-aarch64-static"
IMAGES = 20
RUN = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
model, tensors, out = sys.argv[1:]
runner = Interpreter(model_path=model, num_threads=1).get_signature_runner()
np.save(out, np.stack([runner(image=image[None])["category_map"][0] for image in np.load(tensors)]))
"""


@pytest.fixture
def root() -> Path:
    """The user land."""
    folder = Path(os.environ.get("ARM64_ROOT", ""))
    if shutil.which(QEMU) is None:
        pytest.skip(f"needs {QEMU} (Debian's qemu-user-static)")
    if not (folder / "complete").is_file():
        pytest.skip("needs ARM64_ROOT, the folder that tests/benchmarks/arm64_root.sh made")
    return folder


def on_arm(root: Path, folder: Path, model: Path, tensors: NDArray[np.float32]) -> NDArray[np.int32]:
    """Category maps of a level `panoptic` model, computed by two emulated processors side by side."""
    (folder / "run.py").write_text(RUN)

    def run(part: int) -> NDArray[np.int32]:
        source, result = folder / f"tensors_{part}.npy", folder / f"maps_{part}.npy"
        np.save(source, tensors[part::2])
        command = [QEMU, "-cpu", "cortex-a76", "-L", root, "-E", f"PYTHONPATH={root}/opt/packages"]
        program = [f"{root}/usr/bin/python3.11", folder / "run.py", model, source, result]
        subprocess.run([*command, *program], check=True, capture_output=True)
        maps: NDArray[np.int32] = np.load(result)
        return maps

    with ThreadPoolExecutor(2) as executor:
        even, odd = executor.map(run, range(2))
    maps = np.empty((len(tensors), *even.shape[1:]), np.int32)
    maps[::2], maps[1::2] = even, odd
    return maps


def test_the_answer_on_photographs(root: Path, tmp_path: Path, shared: Path) -> None:
    """What float32 is sure of, half precision keeps; the rest are ties, in which it may decide otherwise."""
    from maskconver_mobile.converters.convert import convert
    from maskconver_mobile.converters.spec import GraphSpec

    checkpoint, model = shared / "checkpoints" / "maskconver_256_demo", tmp_path / "panoptic.tflite"
    card = convert(checkpoint / "config.yaml", checkpoint, model, spec=GraphSpec("panoptic"))
    assert card.half_precision
    images = [load_image(path) for path in sorted((shared / "coco" / "val" / "images").iterdir())[:IMAGES]]
    prepared = [preprocess(image, card) for image in images]
    halves = on_arm(root, tmp_path, model, np.concatenate([tensor for tensor, _ in prepared]))
    exact = Segmenter(model, half_precision=False)
    everywhere, stable = [], []
    for image, half, (_, letterbox) in zip(images, halves, prepared, strict=True):
        expected, found = exact.segment(image).category_map, restore(half, letterbox)
        sure = stable_pixels([expected, *(exact.segment(drawn).category_map for drawn in noisy_images(image))])
        everywhere.append(agreement(expected, found))
        stable.append(agreement(expected, found, sure))
    assert len(stable) == IMAGES
    assert not np.array_equal([1.0] * IMAGES, everywhere)  # or it computed in float32
    assert np.mean(everywhere) >= 0.98
    assert np.mean(stable) >= 0.995
