"""What is installed here, what works, and the line that installs what is missing."""

import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import maskconver_mobile
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.extras import EXTRAS, PURPOSES, install_line, missing_modules

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")
ANDROID_TOOLS = ("mvn", "aapt", "zipalign", "apksigner")
TIMEOUT_S = 20


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: what it is.
        works: whether it is there and does what it should.
        found: what was found: a version, a path; or for what it is needed.
        cure: the command, or the step, that mends it; empty where nothing is to be done.
        needed: whether nothing can be segmented without it.
    """

    name: str
    works: bool
    found: str
    cure: str = ""
    needed: bool = False


def examine() -> Iterator[Finding]:
    """All that this package can use, one after another."""
    about = f"{maskconver_mobile.__version__} in Python {platform.python_version()}, {platform.platform(terse=True)}"
    yield Finding("maskconver-mobile", True, about)
    yield _runtime(
        "LiteRT", "ai-edge-litert", _segment_with_litert, "pip install --force-reinstall ai-edge-litert", True
    )
    yield _runtime("ONNX Runtime", "onnxruntime", _providers, install_line("onnx"), False)
    for extra in EXTRAS:
        missing = missing_modules(extra)
        found = f"{PURPOSES[extra]} needs {', '.join(missing)}" if missing else PURPOSES[extra]
        yield Finding(f"extra {extra}", not missing, found, install_line(extra) if missing else "")
    yield from _phones()
    yield _program("Java", ("java",), "-version", "building the Android app", "apt-get install openjdk-17-jdk-headless")
    missing = [tool for tool in ANDROID_TOOLS if shutil.which(tool) is None]
    words = {"mvn": "maven"}
    yield Finding(
        "Android build tools",
        not missing,
        f"building the app needs {', '.join(missing)}" if missing else ", ".join(ANDROID_TOOLS),
        f"apt-get install {' '.join(words.get(tool, tool) for tool in missing)}" if missing else "",
    )
    yield _program("Node.js", ("node",), "--version", "building the page", "https://nodejs.org, 20.19 or later")
    yield _program("browser", BROWSERS, "--version", "testing the page", "apt-get install chromium")


def _runtime(name: str, package: str, probe: Callable[[], str], cure: str, needed: bool) -> Finding:
    try:
        return Finding(name, True, f"{version(package)}, {probe()}", needed=needed)
    except PackageNotFoundError:
        return Finding(name, False, "not installed", cure, needed)
    except Exception as error:  # whatever a broken installation raises is what is to be told
        return Finding(name, False, f"does not work ({' '.join(str(error).split())[:100]})", cure, needed)


def _segment_with_litert() -> str:
    """Run the bundled model with the CPU delegate."""
    from maskconver_mobile.formats.tflite.partitions import xnnpack_partitions
    from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

    with Segmenter(num_threads=1) as segmenter:
        segmenter.warmup()
    parts = xnnpack_partitions(DEFAULT_MODEL.read_bytes())
    return f"runs the bundled model; XNNPACK takes it in {parts.count} part{'s' * (parts.count != 1)}"


def _providers() -> str:
    import onnxruntime

    return "with " + ", ".join(onnxruntime.get_available_providers())


def _phones() -> Iterator[Finding]:
    from maskconver_mobile.benchmarks.android.adb_client import Adb, explain, find_adb

    try:
        client = Adb(find_adb())
        yield Finding("adb", True, f"{client.check_version()}, {client.path}")
        attached = client.devices()
    except MaskConverError as error:
        yield Finding("adb", False, str(error), install_line("adb"))
        return
    if not attached:
        yield Finding("phone", False, "none is attached", "turn on USB debugging on a phone and plug it in")
    for device in attached:
        ready = device.state == "device"
        found = device.description if ready else explain(device.state)
        yield Finding(f"phone {device.serial}", ready, found)


def _program(name: str, programs: Sequence[str], flag: str, purpose: str, cure: str) -> Finding:
    """The first of some programs that is there, with the first line of what it says of itself."""
    path = next((found for program in programs if (found := shutil.which(program))), None)
    if path is None:
        return Finding(name, False, f"{purpose} needs it", cure)
    said = ""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run([path, flag], capture_output=True, text=True, timeout=TIMEOUT_S, errors="replace")  # noqa: S603
        said = next(iter((done.stdout + done.stderr).strip().splitlines()), "")[:60]
    return Finding(name, True, f"{said or Path(path).name}, {path}")
