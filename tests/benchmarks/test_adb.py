import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from from_outside import Attach, eventually, left_behind, processes_of, run, write_tool
from tool_output import SUMMARY

from maskconver_mobile.benchmarks.android import adb_client
from maskconver_mobile.benchmarks.android.adb_client import Adb
from maskconver_mobile.benchmarks.android.device import Device
from maskconver_mobile.benchmarks.report.results import Report
from maskconver_mobile.benchmarks.report.stats import drift
from maskconver_mobile.errors import MaskConverError

ARM_PROGRAM = b"\x7fELF\x02\x01" + bytes(12) + (183).to_bytes(2, "little") + bytes(44)


# The real client against the daemon.


def test_shell_tells_exit_code_output_and_error(adb: Adb, attach: Attach) -> None:
    found = Device(adb, attach().serial).shell("echo out; echo err >&2; exit 7")
    assert (found.stdout, found.stderr.strip(), found.code) == ("out\n", "err", 7)


def test_twenty_megabytes_there_and_back(adb: Adb, attach: Attach, tmp_path: Path) -> None:
    daemon = attach()
    phone = Device(adb, daemon.serial)
    big = tmp_path / "big.bin"
    big.write_bytes(os.urandom(20 << 20))
    remote = phone.push(big)
    phone.pull(remote, tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == big.read_bytes()
    phone.push(big)
    assert len(daemon.pushed) == 1


def test_a_command_that_hangs_is_killed_on_the_device(adb: Adb, attach: Attach) -> None:
    daemon = attach()
    with pytest.raises(MaskConverError, match="took more than 1 s"):
        Device(adb, daemon.serial).shell("sleep 77", timeout=1)
    assert eventually(lambda: not processes_of(daemon))


def test_a_folder_of_somebody_else_is_not_used(adb: Adb, attach: Attach, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies there might be run."""
    phone = Device(adb, attach().serial)
    asked: list[str] = []
    original = Device.shell

    def shell(self: Device, command: str, timeout: float = 30.0) -> Any:
        asked.append(command)
        return original(self, command.replace("[ -O ", "[ ! -O "), timeout)

    monkeypatch.setattr(Device, "shell", shell)
    with pytest.raises(MaskConverError, match="no writable folder"):
        _ = phone.folder


def test_a_file_that_cannot_be_checked_is_pushed_again(adb: Adb, attach: Attach, tmp_path: Path) -> None:
    """Its size alone says nothing of what it does."""
    daemon = attach(programs={"sha256sum": "exit 127"})
    (tmp_path / "a.bin").write_bytes(b"1234")
    for _ in range(2):
        Device(adb, daemon.serial).push(tmp_path / "a.bin")
    assert len(daemon.pushed) == 2


# A benchmark as the user calls it.


def test_with_googles_tool(attach: Attach, tiny: Path, tool: Path, tmp_path: Path) -> None:
    daemon = attach()
    done = run(tiny, tmp_path / "out", "--benchmark-binary", str(tool), "--profile", "--threads", "1,2")
    assert done.exception is None
    report = Report.load(tmp_path / "out" / "benchmark.json")
    machine = report.machines[0]
    assert (report.complete, machine.emulated, machine.error) == (True, True, "")
    assert machine.environment["soc"] == "EX1000"
    assert [result.threads for result in report.results] == [1, 2]
    result = report.results[0]
    assert (result.runner, result.invoke.count, result.invoke.mean) == ("benchmark_model", 52, pytest.approx(28.4735))
    assert result.profile is not None
    assert [op.type for op in result.profile.operators] == ["TfLiteXNNPackDelegate", "TOPK_V2"]
    assert not left_behind(daemon)
    assert not processes_of(daemon)


def test_a_gpu_that_took_nothing_is_told(attach: Attach, tiny: Path, tool: Path, tmp_path: Path) -> None:
    attach()
    run(tiny, tmp_path / "out", "--benchmark-binary", str(tool), "--gpu")
    result = Report.load(tmp_path / "out" / "benchmark.json").results[0]
    assert result.accelerator == "gpu"
    assert result.warnings[0] == "the GPU delegate took nothing of the graph: these are times of the CPU"


def test_with_python_on_the_device(attach: Attach, tiny: Path, tmp_path: Path) -> None:
    daemon = attach()
    assert run(tiny, tmp_path / "out", "--runs", "8").exception is None
    result = Report.load(tmp_path / "out" / "benchmark.json").results[0]
    assert (result.runner, result.runtime, len(result.samples_ms)) == ("worker", "litert", 8)
    assert result.drift == drift(result.samples_ms)
    assert result.peak_rss_kib is not None
    assert not left_behind(daemon)


def test_emulated_times_are_never_shown(attach: Attach, tiny: Path, tool: Path, tmp_path: Path) -> None:
    attach()
    done = run(tiny, tmp_path / "out", "--benchmark-binary", str(tool), "--profile")
    page = (tmp_path / "out" / "benchmark.html").read_text()
    for text in (page, done.output):
        assert "emulated" in text
        assert "28.4" not in text
        assert "21.5" not in text


def test_models_and_runner_are_pushed_once(attach: Attach, tiny: Path, tool: Path, tmp_path: Path) -> None:
    daemon = attach()
    for _ in range(2):
        assert run(tiny, tmp_path / "out", "--benchmark-binary", str(tool)).exception is None
    assert len(daemon.pushed) == 2


def test_sixteen_devices_at_once(attach: Attach, tiny: Path, tool: Path, tmp_path: Path) -> None:
    daemons = [attach() for _ in range(16)]
    assert run(tiny, tmp_path / "out", "--benchmark-binary", str(tool), "--all-devices").exception is None
    report = Report.load(tmp_path / "out" / "benchmark.json")
    assert sorted(r.machine for r in report.results) == sorted(daemon.serial for daemon in daemons)
    assert not any(left_behind(daemon) for daemon in daemons)


def test_the_state_of_the_phone_becomes_advice(attach: Attach, tiny: Path, tool: Path, tmp_path: Path) -> None:
    services = {
        "dumpsys": 'case "$1" in\nbattery) echo "  level: 12"; echo "  temperature: 305";;\n'
        'thermalservice) echo "Thermal Status: 2";;\npower) echo "  mWakefulness=Awake";;\nesac',
        "settings": "echo 0",
    }
    attach(programs=services)
    run(tiny, tmp_path / "out", "--benchmark-binary", str(tool))
    machine = Report.load(tmp_path / "out" / "benchmark.json").machines[0]
    assert machine.environment["battery_celsius"] == pytest.approx(30.5)
    words = " ".join(machine.warnings)
    assert all(
        part in words for part in ("airplane mode is off", "screen is on", "battery is at 12%", "thermal status 2")
    )


def test_a_hot_phone_gets_time_to_cool(attach: Attach, tiny: Path, tool: Path, tmp_path: Path) -> None:
    counted = 'echo x >> asked; [ $(wc -l < asked) -gt 2 ] && echo "Thermal Status: 0" || echo "Thermal Status: 1"'
    daemon = attach(programs={"dumpsys": f'[ "$1" = thermalservice ] || exit 0\n{counted}'})
    done = run(tiny, tmp_path / "out", "--benchmark-binary", str(tool), "--cool-down", "30")
    assert done.exception is None
    assert len((daemon.root / "asked").read_text().split()) == 4


def test_a_mask_of_cores_reaches_the_program(attach: Attach, tiny: Path, tool: Path, tmp_path: Path) -> None:
    daemon = attach()
    assert run(tiny, tmp_path / "out", "--benchmark-binary", str(tool), "--cores", "0x1").exception is None
    assert any("taskset 1 " in text for text in daemon.commands)
    assert Report.load(tmp_path / "out" / "benchmark.json").results[0].cores == "0x1"


# What can go wrong. Each is one clear line, and leaves nothing behind.


def test_no_adb(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ANDROID_HOME", raising=False)
    monkeypatch.setattr(adb_client.importlib.util, "find_spec", lambda name: None)
    assert "no adb found" in str(run(tiny, tmp_path / "out").exception)


def test_adb_in_the_sdk_folder(tmp_path: Path) -> None:
    bundled = tmp_path / "platform-tools" / "adb"
    bundled.parent.mkdir()
    bundled.touch()
    assert adb_client.find_adb({"PATH": "", "ANDROID_HOME": str(tmp_path)}) == bundled


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("Android Debug Bridge version 1.0.32", "is adb 1.0.32 and 1.0.36 is the oldest"),
        ("hello", "does not answer as adb does"),
    ],
)
def test_adb_too_old_or_something_else(tmp_path: Path, answer: str, message: str) -> None:
    old = tmp_path / "adb"
    old.write_text(f"#!/bin/sh\necho '{answer}'\n")
    old.chmod(0o755)
    with pytest.raises(MaskConverError, match=message):
        Adb(old).check_version()


def test_no_device(adb: Adb, tiny: Path, tmp_path: Path) -> None:
    assert "no device is attached" in str(run(tiny, tmp_path / "out").exception)


def test_two_devices_and_no_choice(attach: Attach, tiny: Path, tmp_path: Path) -> None:
    first, second = attach(), attach()
    message = str(run(tiny, tmp_path / "out").exception)
    assert "2 devices are attached" in message
    assert first.serial in message
    assert second.serial in message


def test_a_serial_that_is_not_there(attach: Attach, tiny: Path, tmp_path: Path) -> None:
    attach()
    assert "device X: not attached" in str(run(tiny, tmp_path / "out", "--serial", "X").exception)


def test_unauthorized(attach: Attach, tiny: Path, tmp_path: Path) -> None:
    attach(state="unauthorized")
    message = str(run(tiny, tmp_path / "out").exception)
    assert "accept the question about USB debugging" in message


@pytest.mark.slow
def test_offline(attach: Attach, tiny: Path, tmp_path: Path) -> None:
    attach(state="offline")
    assert "is offline: it does not answer" in str(run(tiny, tmp_path / "out").exception)


@pytest.mark.parametrize("moment", ["push", "run", "pull"])
def test_a_connection_that_drops_once_is_tried_again(
    attach: Attach, tiny: Path, tool: Path, tmp_path: Path, moment: str
) -> None:
    daemon = attach(drop_at=moment)
    assert run(tiny, tmp_path / "out", "--benchmark-binary", str(tool)).exception is None
    assert Report.load(tmp_path / "out" / "benchmark.json").complete
    assert not left_behind(daemon)


@pytest.mark.parametrize("moment", ["push", "run", "pull"])
def test_a_connection_that_drops_again_and_again(
    attach: Attach, tiny: Path, tool: Path, tmp_path: Path, moment: str
) -> None:
    daemon = attach(drop_at=moment, drops=99)
    message = str(run(tiny, tmp_path / "out", "--benchmark-binary", str(tool)).exception)
    assert f"device {daemon.serial}: connection lost at" in message
    daemon.script.drops = 0
    assert not left_behind(daemon)
    assert eventually(lambda: not processes_of(daemon))


@pytest.mark.parametrize("moment", ["push", "run", "pull"])
def test_a_device_that_vanishes(attach: Attach, tiny: Path, tool: Path, tmp_path: Path, moment: str) -> None:
    daemon = attach(drop_at=moment, gone=True)
    message = str(run(tiny, tmp_path / "out", "--benchmark-binary", str(tool)).exception)
    assert f"device {daemon.serial}: connection lost at" in message
    assert "\n" not in message
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    assert eventually(lambda: not processes_of(daemon))


def test_a_vanished_device_does_not_stop_the_others(attach: Attach, tiny: Path, tool: Path, tmp_path: Path) -> None:
    lost, kept = attach(drop_at="run", gone=True), attach()
    done = run(tiny, tmp_path / "out", "--benchmark-binary", str(tool), "--all-devices")
    assert "connection lost" in str(done.exception)
    report = Report.load(tmp_path / "out" / "benchmark.json")
    assert not report.complete
    assert [result.machine for result in report.results] == [kept.serial]
    assert "connection lost" in next(m.error for m in report.machines if m.id == lost.serial)


def test_disk_full(attach: Attach, tiny: Path, tool: Path, tmp_path: Path) -> None:
    daemon = attach(disk_full=True)
    message = str(run(tiny, tmp_path / "out", "--benchmark-binary", str(tool)).exception)
    assert message.endswith("its disk is full; free some space on it")
    assert not left_behind(daemon)


def test_a_binary_of_the_wrong_processor(attach: Attach, tiny: Path, tmp_path: Path) -> None:
    attach()
    binary = tmp_path / "benchmark_model"
    binary.write_bytes(ARM_PROGRAM)
    message = str(run(tiny, tmp_path / "out", "--benchmark-binary", str(binary)).exception)
    assert "benchmark_model is built for arm64-v8a and the device is x86_64" in message


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -SEGV $$", "the runner was killed by signal 11"),
        ("echo 'no such flag'; exit 4", "the runner ended with exit code 4: no such flag"),
        ("head -c 3000 /dev/urandom", "its output holds no timings"),
    ],
)
def test_a_binary_that_fails(attach: Attach, tiny: Path, tmp_path: Path, script: str, message: str) -> None:
    daemon = attach()
    shown = str(run(tiny, tmp_path / "out", "--benchmark-binary", str(write_tool(tmp_path, script))).exception)
    assert message in shown
    assert "\n" not in shown
    assert not left_behind(daemon)


def test_a_device_without_python(attach: Attach, tiny: Path, tmp_path: Path) -> None:
    daemon = attach()
    daemon.root.joinpath("bin", "python3").unlink()
    daemon.search_path = str(daemon.root / "bin")
    for name in ("mkdir", "wc", "cut", "sha256sum", "chmod", "mv", "rm", "cat", "ls", "uname", "grep"):
        daemon.root.joinpath("bin", name).symlink_to(f"/bin/{name}")
    assert "has neither the app nor a python3 that adb may run" in str(run(tiny, tmp_path / "out").exception)


def test_a_model_that_python_refuses(attach: Attach, tmp_path: Path) -> None:
    attach()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    message = str(run(broken, tmp_path / "out").exception)
    assert "broken.onnx: the runner ended with exit code 1: onnxruntime cannot load it" in message


def test_a_run_that_takes_too_long(attach: Attach, tiny: Path, tmp_path: Path) -> None:
    daemon = attach()
    tool = write_tool(tmp_path, "sleep 77")
    message = str(run(tiny, tmp_path / "out", "--benchmark-binary", str(tool), "--timeout", "1").exception)
    assert "the runner took more than 1 s" in message
    assert eventually(lambda: not processes_of(daemon))
    assert not left_behind(daemon)


def test_interrupt_keeps_what_is_there_and_stops_the_device(
    adb: Adb, attach: Attach, tiny: Path, tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from maskconver_mobile.benchmarks.android import adb as adb_module

    daemon = attach()
    slow = write_tool(tmp_path, f'case "$*" in *threads=2*) sleep 77;; esac; cat <<"END"\n{SUMMARY}END')
    original = adb_module.wait

    def wait_and_interrupt(*arguments: Any, **options: Any) -> Any:
        if any("threads=2" in text for text in daemon.commands):
            monkeypatch.setattr(adb_module, "wait", original)
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(adb_module, "wait", wait_and_interrupt)
    done = run(tiny, tmp_path / "out", "--benchmark-binary", str(slow), "--threads", "1,2")
    assert isinstance(done.exception, click.Abort)
    report = Report.load(tmp_path / "out" / "benchmark.json")
    assert not report.complete
    assert [result.threads for result in report.results] == [1]
    assert report.machines[0].error == "interrupted"
    assert eventually(lambda: not processes_of(daemon))
    assert not left_behind(daemon)


def test_no_half_file_when_a_pull_fails(adb: Adb, attach: Attach, tmp_path: Path) -> None:
    phone = Device(adb, attach().serial)
    with pytest.raises(MaskConverError, match="pull nothing failed"):
        phone.pull("tmp/nothing", tmp_path / "here")
    assert not list(tmp_path.glob("*here*"))


def test_the_json_says_emulated(attach: Attach, tiny: Path, tool: Path, tmp_path: Path) -> None:
    attach()
    run(tiny, tmp_path / "out", "--benchmark-binary", str(tool))
    raw = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert [machine["emulated"] for machine in raw["machines"]] == [True]
