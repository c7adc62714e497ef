"""What goes wrong between a phone's app and the benchmark that asked it."""

from pathlib import Path
from typing import Any

import click
import pytest
import scripted_app
from from_outside import Attach, Phone, clean, measured, run

from maskconver_mobile.benchmarks.android.adb_client import Adb
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.segmenter import DEFAULT_MODEL


@pytest.mark.parametrize(
    ("android", "printed", "message"),
    [
        (8, "Error type 3\nError: Activity class {org.maskconver.mobile/x} does not exist.", "of another version"),
        (8, "java.lang.SecurityException: Permission Denial: starting Intent { cmp=x } from null (pid=4242, uid=2000) "
            "requires android.permission.DUMP", "does not let adb start the app"),
        (10, "Exception occurred while executing:\njava.lang.SecurityException: x", "does not let adb start the app"),
        (13, "Exception occurred while executing 'start':\njava.lang.IllegalArgumentException: Bad", "(Exception"),
        (15, "Error: Activity not started, unable to resolve Intent { act=x }", "of another version"),
        (15, "", "it printed nothing of use"),
    ],
)  # fmt: skip
def test_a_phone_that_does_not_start_the_app(
    phone: Phone, tiny: Path, tmp_path: Path, android: int, printed: str, message: str
) -> None:
    daemon = phone(android, start=printed)
    shown = str(run(tiny, tmp_path / "out").exception)
    assert shown.startswith(f"device {daemon.serial}: tiny.tflite: ")
    assert message in shown
    assert clean(daemon)


@pytest.mark.parametrize(
    ("android", "state", "message"),
    [
        (8, {"logcat": "I lowmemorykiller: Kill 'org.maskconver.mobile' (4242), adj 0"}, "which needed its memory"),
        (8, {"logcat": "F libc    : Fatal signal 11 (SIGSEGV), code 1"}, "crashed in native code"),
        (10, {"logcat": "E AndroidRuntime: FATAL EXCEPTION: main"}, "it crashed"),
        (
            10,
            {"logcat": "I ActivityManager: Killing 4242:org.maskconver.mobile/u0a1 (adj 0): x"},
            "killed by the system",
        ),
        (10, {}, "the phone does not say why"),
        (13, {"app": {"die": "3 (LOW_MEMORY)"}}, "which needed its memory"),
        (13, {"app": {"die": "5 (APP CRASH(NATIVE))"}}, "crashed in native code"),
        (15, {"app": {"die": "4 (APP CRASH(EXCEPTION))"}}, "it crashed"),
        (15, {"app": {"die": "10 (USER REQUESTED)"}}, "closed on the phone"),
        (15, {"app": {"die": "2 (SIGNALED)"}}, "killed by the system"),
    ],
)
def test_an_app_that_ends_without_a_result(
    phone: Phone, tiny: Path, tmp_path: Path, android: int, state: dict[str, Any], message: str
) -> None:
    daemon = phone(android, **{"app": {"crash": True}, **state})
    shown = str(run(tiny, tmp_path / "out").exception)
    assert shown.startswith(f"device {daemon.serial}: tiny.tflite: the app ended: ")
    assert message in shown
    assert clean(daemon)


def test_a_run_that_hangs(phone: Phone, tiny: Path, tmp_path: Path) -> None:
    daemon = phone(app={"hang": [4]})
    message = str(run(tiny, tmp_path / "out", "--timeout", "1").exception)
    assert "took more than 1 s; ask for fewer runs or a longer --timeout" in message
    assert clean(daemon)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ({"values": {"error": "no TFLite\nfile \x1b[31m[/b]"}}, "the app says: no TFLite file [31m[/b]"),
        ({"text": "<html>"}, "the app's result is garbled (Expecting value"),
        ({"text": "[" * 100_000}, "the app's result is garbled"),
        ({"text": "[]"}, "the whole is []; expected an object"),
        ({"values": {"schema": 2}}, "schema 2, contract 1; this version reads 1, 1"),
        ({"values": {"run": "other"}}, "run is 'other'; expected"),
        ({"values": {"samples_ms": [1.0, -1.0]}}, "samples_ms holds no timing above 0"),
        ({"values": {"samples_ms": ["1"]}}, "samples_ms[0] is '1'; expected a number"),
        ({"values": {"samples_ms": [float("inf")]}}, "samples_ms[0] is inf; expected a number"),
        ({"values": {"stages_ms": {"decode": [1.0]}}}, "stages_ms holds ['decode']; expected timings of decode, "),
        ({"values": {"before": {"thermal_status": "hot"}}}, "before.thermal_status is 'hot'; expected a whole number"),
        ({"values": {"model": {"sha256": "0"}}}, "model.sha256 is not that of the model that was pushed"),
        ({"values": {"runtime": None}}, "runtime is None; expected an object"),
    ],
)  # fmt: skip
def test_results_that_are_none(
    phone: Phone, tiny: Path, tmp_path: Path, behaviour: dict[str, Any], message: str
) -> None:
    daemon = phone(app=behaviour)
    shown = str(run(tiny, tmp_path / "out").exception)
    assert shown.startswith(f"device {daemon.serial}: tiny.tflite: ")
    assert message in shown
    assert shown.isprintable()
    assert clean(daemon)


def test_timings_that_do_not_fit_the_photographs(phone: Phone, tmp_path: Path) -> None:
    phone(app={"values": {"samples_ms": [1.0] * 8}})
    message = str(run(DEFAULT_MODEL, tmp_path / "out").exception)
    assert "samples_ms holds 8 timings; expected a multiple of 9 inputs" in message


def test_an_app_that_passes_the_photographs_over(phone: Phone, tmp_path: Path) -> None:
    phone(app={"values": {"options": {}}})
    message = str(run(DEFAULT_MODEL, tmp_path / "out").exception)
    assert "options.inputs holds 0 of 9 inputs that were asked for" in message


@pytest.mark.parametrize("moment", ["push", "run", "pull"])
def test_a_connection_that_drops_once(phone: Phone, tiny: Path, tmp_path: Path, moment: str) -> None:
    daemon = phone(app={"seconds": 1}, daemon={"drop_at": moment})
    assert run(tiny, tmp_path / "out").exception is None
    assert measured(tmp_path).complete
    assert clean(daemon)


@pytest.mark.parametrize("moment", ["push", "run", "pull"])
def test_a_phone_that_vanishes(phone: Phone, tiny: Path, tmp_path: Path, moment: str) -> None:
    daemon = phone(daemon={"drop_at": moment, "gone": True})
    message = str(run(tiny, tmp_path / "out").exception)
    assert f"device {daemon.serial}: connection lost at" in message
    assert not (tmp_path / "out" / "benchmark.json").exists()
    if daemon.root.joinpath("app.pid").exists():
        scripted_app.kill(daemon.root)


def test_disk_full(phone: Phone, tiny: Path, tmp_path: Path) -> None:
    daemon = phone(daemon={"disk_full": True})
    assert "its disk is full" in str(run(tiny, tmp_path / "out").exception)
    assert clean(daemon)


def test_one_of_several_phones_fails(phone: Phone, tiny: Path, tmp_path: Path) -> None:
    lost, kept = phone(8, app={"crash": True}), phone(15)
    done = run(tiny, tmp_path / "out", "--all-devices")
    assert "the app ended" in str(done.exception)
    report = measured(tmp_path)
    assert [result.machine for result in report.results] == [kept.serial]
    assert next(machine.error for machine in report.machines if machine.id == lost.serial)


def test_interrupt_stops_the_app_and_keeps_what_is_there(
    adb: Adb, phone: Phone, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskconver_mobile.benchmarks.android import adb as adb_module

    daemon = phone(app={"hang": [2]})
    original = adb_module.wait

    def wait_and_interrupt(*arguments: Any, **options: Any) -> Any:
        if any("threads 2" in text for text in daemon.commands):
            monkeypatch.setattr(adb_module, "wait", original)
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(adb_module, "wait", wait_and_interrupt)
    done = run(tiny, tmp_path / "out", "--threads", "1,2")
    assert isinstance(done.exception, click.Abort)
    report = measured(tmp_path)
    assert [result.threads for result in report.results] == [1]
    assert report.machines[0].error == "interrupted"
    assert clean(daemon)


def test_a_board_without_app_and_python(attach: Attach, tiny: Path, tmp_path: Path) -> None:
    attach(programs={"python3": "exit 1"})
    with pytest.raises(MaskConverError, match="--verify needs the app there; add --app"):
        raise run(tiny, tmp_path / "out", "--verify").exception
