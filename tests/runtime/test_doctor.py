"""`doctor` and `completion`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskconver_mobile import extras, health

COMMAND = str(Path(sys.executable).with_name("maskconver-mobile"))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False, env=os.environ | environment
    )


def test_what_works_here() -> None:
    done = run("doctor", "--json", "-")
    assert (done.returncode, done.stderr) == (0, "")
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert found["LiteRT"]["works"]
    assert "runs the bundled model" in found["LiteRT"]["found"]
    assert "CPUExecutionProvider" in found["ONNX Runtime"]["found"]
    assert found["extra convert"]["works"]
    assert {"adb", "Java", "Node.js", "browser", "Android build tools"} <= found.keys()


def test_what_is_missing_comes_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    monkeypatch.setattr(health.shutil, "which", lambda name: None)
    monkeypatch.setattr(health, "_runtime", lambda *words: health.Finding(words[0], False, "", words[3], words[4]))
    monkeypatch.setattr(health, "_phones", lambda: iter(()))
    found = {one.name: one for one in health.examine()}
    cures = {name: one.cure for name, one in found.items() if not one.works}
    assert cures["extra convert"] == "pip install 'maskconver-mobile[convert]'"
    assert cures["ONNX Runtime"] == "pip install 'maskconver-mobile[onnx]'"
    assert cures["Java"] == "apt-get install openjdk-17-jdk-headless"
    assert cures["Android build tools"] == "apt-get install maven aapt zipalign apksigner"
    assert cures["browser"] == "apt-get install chromium"
    assert found["LiteRT"].needed
    assert set(extras.EXTRAS) == {name.removeprefix("extra ") for name in found if name.startswith("extra ")}


def test_a_runtime_that_is_broken_is_no_traceback() -> None:
    def broken() -> str:
        raise ImportError("libfoo.so: cannot open\nshared object file")

    found = health._runtime("LiteRT", "pytest", broken, "cure", True)
    assert found == health.Finding(
        "LiteRT", False, "does not work (libfoo.so: cannot open shared object file)", "cure", True
    )
    assert health._runtime("X", "no-such-package-here", broken, "cure", False).found == "not installed"


def test_phones_are_named_with_their_state(tmp_path: Path) -> None:
    """By an adb that has two, one of which waits for its owner."""
    adb = tmp_path / "adb"
    adb.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = version ]; then echo "Android Debug Bridge version 1.0.41"; echo "Version 35.0.2"; exit; fi\n'
        'echo "List of devices attached"; echo "A1 device model:Pixel_9"; echo "B2 unauthorized"\n'
    )
    adb.chmod(0o755)
    done = run("doctor", "--json", "-", PATH=f"{tmp_path}:{os.environ['PATH']}")
    found = {one["name"]: one for one in json.loads(done.stdout)}
    assert found["adb"]["found"] == f"35.0.2, {adb}"
    assert (found["phone A1"]["works"], found["phone A1"]["found"]) == (True, "model:Pixel_9")
    assert not found["phone B2"]["works"]
    assert "accept the question about USB debugging" in found["phone B2"]["found"]


def test_every_extra_of_the_package_is_known() -> None:
    from importlib.metadata import metadata

    declared = set(metadata("maskconver-mobile").get_all("Provides-Extra") or ()) - {"test", "dev", "docs"}
    assert declared == set(extras.EXTRAS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    done = run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_MASKCONVER_MOBILE_COMPLETE" in done.stdout
    words = {"COMP_WORDS": "maskconver-mobile seg", "COMP_CWORD": "seg" if shell == "fish" else "1"}
    completed = run(_MASKCONVER_MOBILE_COMPLETE=f"{shell}_complete", **words)
    assert "segment" in completed.stdout
    assert "quantize" not in completed.stdout
