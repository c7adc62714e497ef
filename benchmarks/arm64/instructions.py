"""Counts what an arm64 processor would execute for one run of a model: exact, the same on every machine, no latency.

    python benchmarks/arm64/instructions.py ROOT MODEL.tflite... [--photo FILE]

ROOT is what tests/benchmarks/arm64_root.sh makes. Needs gcc and qemu-user (Debian). A processor waits for memory and
starts several instructions at once, so the count says which of two graphs makes the same kernels do less, not how long
they take.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from maskconver_mobile.formats.tflite.file import read_tflite
from maskconver_mobile.inference.image import load_image, preprocess
from maskconver_mobile.segmenter import DEFAULT_MODEL

HERE = Path(__file__).parent
CLASSES = ("vector arithmetic", "vector load/store", "scalar load/store", "branch", "other")
EMULATOR = "qemu-aarch64"


def build_plugin(folder: Path) -> Path:
    """Compile the counting plugin."""
    plugin = folder / "count.so"
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", plugin, HERE / "count.c"], check=True)  # noqa: S603, S607
    return plugin


def count(model: Path, root: Path, plugin: Path, photo: Path) -> list[int]:
    """Instructions of one run on a photograph, by class."""
    tensor, _ = preprocess(load_image(photo), read_tflite(model).card)
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder) / "image.bin", Path(folder) / "counts.txt"
        tensor.tofile(raw)
        settings = [f"PYTHONPATH={root}/opt/packages", f"COUNT_OUT={out}"]
        command: list[str | Path] = [EMULATOR, "-cpu", "cortex-a76", "-plugin", plugin, "-L", root]
        command += [part for setting in settings for part in ("-E", setting)]
        command += [f"{root}/usr/bin/python3.11", HERE / "marked_run.py", model, raw]
        subprocess.run(command, check=True, env={**os.environ, "COUNT_OUT": str(out)}, stderr=subprocess.DEVNULL)  # noqa: S603
        first, second = ([int(v) for v in line.split()[1:]] for line in out.read_text().splitlines()[:2])
    return [b - a for a, b in zip(first, second, strict=True)]


def main() -> int:
    """Print a table in millions of instructions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--photo", type=Path, default=DEFAULT_MODEL.with_name("astronaut.jpg"))
    given = parser.parse_args()
    if not (given.root / "complete").is_file():
        parser.error(f"{given.root}: no arm64 user land; make one with tests/benchmarks/arm64_root.sh {given.root}")
    print(" | ".join(("millions of instructions (no latency)", "all", *CLASSES)))
    with tempfile.TemporaryDirectory() as folder:
        plugin = build_plugin(Path(folder))
        for model in given.models:
            found = count(model, given.root.resolve(), plugin, given.photo)
            print(" | ".join((model.name, *(f"{n / 1e6:.1f}" for n in (sum(found), *found)))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
