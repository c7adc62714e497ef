"""Every Python that is here, with the lowest and newest dependencies, without and with extras; run by `make matrix`.

Versions as arguments choose among the Pythons. Each cell is an environment of its own, made of one wheel and removed
afterwards. Where the lowest versions have no wheels for a Python, or exclude each other, the cell says so and counts as
passed: pip takes newer ones there.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "data" / "tiny_96"
EXTRAS = ("adb", "heif", "onnx", "quantize", "web")
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
NO_WHEELS = re.compile(r"No matching distribution found for \S+|Cannot install .* conflicting dependencies")


def pythons(wanted: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Version and program of each Python on PATH or of pyenv."""
    for version in wanted or PYTHONS:
        places = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
        for place in filter(None, places):
            asked = [str(place), "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"]
            done = subprocess.run(asked, capture_output=True, text=True, check=False)
            if done.stdout.strip() == version:
                yield version, str(place)
                break


def lowest(extras: bool) -> str:
    """The lowest versions that pyproject.toml allows, as pip's constraints.

    With extras those of the extras alone: TensorFlow asks for newer ones of what is always installed.
    """
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    plain, optional = "\ndependencies = [", "[project.optional-dependencies]"
    start, end = (text.index(word) for word in ((optional, "\ndocs = [") if extras else (plain, optional)))
    return "\n".join(f"{name}=={version}.*" for name, version in re.findall(r'"([\w-]+)>=([\d.]+)', text[start:end]))


def try_cell(python: str, wheel: Path, constraints: Path | None, extras: tuple[str, ...], folder: Path) -> str:
    """An empty text if all is well, else what is not."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    binary = folder / "bin" / "python"
    wanted = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
    install = [
        binary,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        wanted,
    ]
    done = subprocess.run(
        [*install, *(["--constraint", constraints] if constraints else [])], capture_output=True, text=True, check=False
    )
    if done.returncode:
        missing = NO_WHEELS.search(done.stderr) if constraints else None
        return f"passed: pip takes newer ones ({missing[0]})" if missing else done.stderr[-500:]
    done = subprocess.run(
        [binary, Path(__file__), "with" if extras else "without"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return "passed" if not done.returncode else (done.stdout + done.stderr)[-800:]


def attempt(extras: bool) -> None:
    """Segment; with extras convert, quantize and compare both formats; without, be told how to install each."""
    command = str(Path(sys.executable).with_name("maskconver-mobile"))

    def run(*words: object, code: int = 0, says: str = "") -> None:
        done = subprocess.run([command, *map(str, words)], capture_output=True, text=True, check=False)
        told = done.stdout + done.stderr
        if done.returncode != code or says not in told or "Traceback" in told:
            sys.exit(f"{words}: exit {done.returncode}: {told[-600:]}")

    from maskconver_mobile import segment
    from maskconver_mobile.segmenter import DEFAULT_MODEL

    photo = DEFAULT_MODEL.with_name("astronaut.jpg")
    if not segment(photo)["person"]:
        sys.exit("nobody was found")
    run("segment", photo)
    run("doctor", code=0)
    convert = ("convert", "--config", TINY / "config.yaml", "--checkpoint", TINY, "--output")
    if not extras:
        Path("model.onnx").write_bytes(b"\x08\x07")
        run(*convert, "x.tflite", code=2, says="pip install 'maskconver-mobile[convert]'")
        calibration = ("--recipe", "int8", "--calibration", DEFAULT_MODEL.with_name("photos"), "--output", "x.tflite")
        run("quantize", DEFAULT_MODEL, *calibration, code=2, says="pip install 'maskconver-mobile[quantize]'")
        run("segment", "model.onnx", photo, code=2, says="pip install 'maskconver-mobile[onnx]'")
        heic = ROOT / "tests" / "data" / "inputs" / "images" / "iphone.heic"
        run("segment", heic, code=2, says="pip install 'maskconver-mobile[heif]'")
        Path("dist").mkdir()
        (Path("dist") / "index.html").touch()
        run("web", "--site", "dist", "--https", code=2, says="pip install 'maskconver-mobile[web]'")
        return
    run(*convert, "x.tflite")
    run(*convert, "x.onnx")
    run("quantize", "x.tflite", "--recipe", "int8", "--calibration", photo.with_name("photos"), "--output", "y.tflite")
    run("compare", "x.tflite", "x.onnx", "--images", photo.parent, "--min-agreement", "0.999")
    import adbutils
    import cryptography
    import pillow_heif
    import segno

    print(adbutils, cryptography, pillow_heif, segno)


def main() -> int:
    """Print a line for each cell."""
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", work, ROOT], check=True
        )
        wheel, constraints = next(work.glob("*.whl")), work / "lowest.txt"
        for extras, (version, python), versions in product(((), EXTRAS), pythons(sys.argv[1:]), ("newest", "lowest")):
            folder, start = work / "cell", time.perf_counter()
            constraints.write_text(lowest(bool(extras)))
            said = try_cell(python, wheel, constraints if versions == "lowest" else None, extras, folder)
            shutil.rmtree(folder)
            failed += not said.startswith("passed")
            seconds = time.perf_counter() - start
            print(f"{version:5} {versions:6} {'extras' if extras else 'plain':6} {seconds:4.0f} s  {said}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["try"]:
        attempt(len(sys.argv) > 2)
    else:
        sys.exit(main())
