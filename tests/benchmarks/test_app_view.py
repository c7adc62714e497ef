"""`demo --adb`: from a cabled phone to the live view."""

import json
from pathlib import Path
from typing import Any

import pytest
import scripted_app
from adb_daemon import Daemon
from click.testing import CliRunner
from from_outside import Attach, Phone

from maskconver_mobile.benchmarks.android import app_view
from maskconver_mobile.benchmarks.android.app_install import BUILT
from maskconver_mobile.cli.demo import command
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.segmenter import DEFAULT_MODEL


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(app_view, "SETTLE_S", 0.2)
    monkeypatch.chdir(tmp_path)


def demo(*options: str) -> Any:
    done = CliRunner().invoke(command, ["--adb", *options], standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, MaskConverError):
        raise done.exception
    return done


def started(daemon: Daemon) -> Any:
    found = json.loads((daemon.root / "started.json").read_text())
    scripted_app.kill(daemon.root)
    return found


@pytest.mark.parametrize("android", [8, 10, 13, 15])
def test_one_command_to_the_live_view(phone: Phone, apk: Path, android: int) -> None:
    daemon = phone(android, installed=None)
    done = demo("--app", str(apk), "--model", str(DEFAULT_MODEL))
    assert done.exception is None
    assert "The live view is on Example Scripted." in done.output
    found = started(daemon)
    assert found["component"] == "org.maskconver.mobile/.ShellActivity"
    assert found["extras"]["view"] == "live"
    assert (daemon.root / found["extras"]["model"]).read_bytes() == DEFAULT_MODEL.read_bytes()
    assert (daemon.root / "granted").read_text() == "android.permission.CAMERA"


def test_the_built_app_is_taken_by_itself(phone: Phone, apk: Path) -> None:
    daemon = phone(installed=None)
    BUILT.parent.mkdir(parents=True)
    apk.rename(BUILT)
    assert demo().exception is None
    assert "model" not in started(daemon)["extras"]


def test_an_app_that_is_there_needs_no_apk(phone: Phone) -> None:
    daemon = phone()
    assert demo().exception is None
    started(daemon)


def test_no_app_anywhere(phone: Phone) -> None:
    phone(installed=None)
    assert "no such APK; run `make android`" in str(demo().exception)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"locked": True}, "is locked; unlock it and try again"),
        ({"installed": 7}, "is too old"),
        ({"start": "Error: Activity not started, unable to resolve Intent { x }"}, "of another version"),
        ({"app": {"die": "5 (APP CRASH(NATIVE))"}}, "the app ended: it crashed in native code"),
        ({"logcat": "01-01 12:00:00.000  42  42 E MaskConver: error no model card in it"}, "says: no model card in it"),
    ],
)
def test_a_phone_that_refuses(phone: Phone, state: dict[str, Any], message: str) -> None:
    daemon = phone(15, **state)
    shown = str(demo().exception)
    assert shown.startswith(f"device {daemon.serial}: ")
    assert message in shown
    if (daemon.root / "app.pid").exists():
        scripted_app.kill(daemon.root)


def test_a_phone_that_refuses_the_app(phone: Phone, apk: Path) -> None:
    phone(installed=None, refusal="Failure [INSTALL_FAILED_USER_RESTRICTED: Install canceled by user]")
    assert "turn on 'Install via USB'" in str(demo("--app", str(apk)).exception)


def test_two_phones_and_no_choice(phone: Phone) -> None:
    first, second = phone(), phone()
    assert "2 devices are attached" in str(demo().exception)
    assert demo("--serial", second.serial).exception is None
    assert not (first.root / "started.json").exists()
    started(second)


def test_no_phone(attach: Attach) -> None:
    assert "no device is attached; turn on USB debugging" in str(demo().exception)


def test_a_model_that_is_none(phone: Phone, tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"hello, world")
    assert "x.tflite: is no TFLite model" in str(demo("--model", "x.tflite").exception)


def test_options_for_phones_alone() -> None:
    done = CliRunner().invoke(command, ["--model", "x"], standalone_mode=False)
    assert "--model is for phones; add --adb" in str(done.exception)
