import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from from_outside import Attach, run, write_tool
from test_report import make_report

from maskconver_mobile.benchmarks.android import adb_client
from maskconver_mobile.benchmarks.android.adb_client import Adb
from maskconver_mobile.benchmarks.android.device import Device
from maskconver_mobile.benchmarks.host import process
from maskconver_mobile.benchmarks.host.process import WorkerProcess
from maskconver_mobile.benchmarks.report.results import Report
from maskconver_mobile.cli.benchmark import command
from maskconver_mobile.errors import MaskConverError

HEADER = "List of devices attached"
MDNS = "adb-R5CT-Ab (2)._adb-tls-connect._tcp"
PHONE = "device product:x model:Pixel_7"


def write_adb(folder: Path, script: str) -> Path:
    client = folder / "adb"
    client.write_text(f"#!/bin/sh\n{script}\n")
    client.chmod(0o755)
    return client


@pytest.mark.parametrize("verb", ["version", "devices"])
def test_a_hung_adb_is_one_line(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    script = f'[ "$1" = {verb} ] && exec sleep 77\necho "Android Debug Bridge version 1.0.41"'
    client = write_adb(tmp_path, script)
    monkeypatch.setattr(adb_client, "find_adb", lambda: client)
    monkeypatch.setattr(adb_client, "COMMAND_TIMEOUT_S", 0.3)
    with pytest.raises(MaskConverError, match=f"`adb {verb}` took more than 0 s; run `adb kill-server`"):
        raise run(tiny, tmp_path / "out").exception


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([HEADER, f"{MDNS} {PHONE}"], [(MDNS, "device")]),
        (
            [HEADER, "adb server version (40) doesn't match this client (36); killing...", f"0816f {PHONE}"],
            [("0816f", "device")],
        ),
        (["* daemon not running; starting now at tcp:5037", HEADER, f"0816f  {PHONE}\r"], [("0816f", "device")]),
        ([HEADER, "????????????  no permissions (missing udev rules?); usb:1-1"], [("????????????", "no permissions")]),
        ([HEADER, "[2001:db8::7]:5555     device product:x"], [("[2001:db8::7]:5555", "device")]),
        ([HEADER, "0816f  rescue usb:1-1", "X  offline"], [("0816f", "rescue"), ("X", "offline")]),
        ([HEADER, ""], []),
    ],
)
def test_lists_of_devices(tmp_path: Path, lines: list[str], found: list[tuple[str, str]]) -> None:
    (tmp_path / "list").write_text("\n".join(lines) + "\n", newline="")
    client = Adb(write_adb(tmp_path, f"cat {tmp_path}/list"))
    assert [(device.serial, device.state) for device in client.devices()] == found


def test_the_environment_may_name_the_device(tmp_path: Path) -> None:
    client = Adb(write_adb(tmp_path, f"echo '{HEADER}'; echo 'A device'; echo 'B device'"))
    assert [device.serial for device in client.choose(None, False, {"ANDROID_SERIAL": "B"})] == ["B"]
    assert [device.serial for device in client.choose("A", False, {"ANDROID_SERIAL": "B"})] == ["A"]
    assert len(client.choose(None, True, {"ANDROID_SERIAL": "B"})) == 2
    with pytest.raises(MaskConverError, match="device C: not attached"):
        client.choose(None, False, {"ANDROID_SERIAL": "C"})


def test_nonsense_from_a_device_is_left_out(attach: Attach, adb: Adb) -> None:
    odd = attach(programs={"wc": "echo many", "dumpsys": "echo 'Thermal Status: 99999999999999999999 level: ²'"})
    found = Device(adb, odd.serial).identify()
    assert found["soc"] == "EX1000"
    assert not found.keys() & {"cores", "thermal_status", "battery_percent"}


def test_an_unnamed_chip_is_named_by_its_board(attach: Attach, adb: Adb) -> None:
    assert Device(adb, attach(properties={"ro.board.platform": "lahaina"}).serial).identify()["soc"] == "lahaina"


def test_one_device_of_nonsense_does_not_cost_the_others(
    attach: Attach, tiny: Path, tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd, good = attach(), attach()
    original = Device.identify

    def identify(self: Device) -> dict[str, Any]:
        return original(self) if self.serial == good.serial else {}["nonsense"]

    monkeypatch.setattr(Device, "identify", identify)
    done = run(tiny, tmp_path / "out", "--benchmark-binary", str(tool), "--all-devices")
    assert f"device {odd.serial}: answered what is not understood" in str(done.exception)
    assert [result.machine for result in Report.load(tmp_path / "out" / "benchmark.json").results] == [good.serial]


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ({"samples_ms": "abc"}, "samples_ms is 'abc'; expected a list"),
        ({"samples_ms": [1.0, "2"]}, r"samples_ms\[1\] is '2'; expected a number"),
        ({"samples_ms": []}, "holds no timing above 0"),
        ({"samples_ms": [0.0]}, "holds no timing above 0"),
        ({"peak_rss_kib": "much"}, "peak_rss_kib is 'much'; expected a whole number"),
        ({"runtime": None}, "runtime is None; expected text"),
    ],
)
def test_types_in_a_pulled_result_are_checked(
    attach: Attach, tiny: Path, tmp_path: Path, answer: dict[str, Any], where: str
) -> None:
    right = {
        "runtime": "litert", "runtime_version": "2", "python_version": "3", "machine": "x", "samples_ms": [1.0],
        "load_cold_ms": 1.0, "load_warm_ms": 1.0, "first_invoke_ms": 1.0, "peak_rss_kib": 1, "rss_before_load_kib": 1,
    }  # fmt: skip
    text = json.dumps({**right, **answer})
    daemon = attach(programs={"python3": f"cat > result.json <<'END'\n{text}\nEND"})
    with pytest.raises(MaskConverError, match=f"^device {daemon.serial}: tiny.tflite: its result .*{where}"):
        raise run(tiny, tmp_path / "out").exception


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        (lambda raw: raw["results"][0].update(machine="other"), r"results\[0\].machine is 'other'; expected one of"),
        (lambda raw: raw["results"][1].update(samples_ms=3), r"results\[1\].samples_ms is 3; expected a list"),
        (lambda raw: raw["results"][0]["invoke"].update(p50=0), r"results\[0\] has a time that is not above 0"),
        (
            lambda raw: raw["results"][0].update(
                photos=[{"photo": "x", "invoke": raw["results"][0]["invoke"] | {"p50": 0}}]
            ),
            r"results\[0\] has a time that is not above 0",
        ),
        (lambda raw: raw["results"][0]["invoke"].update(p25="1"), r"results\[0\].invoke.p25 is '1'; expected a number"),
        (lambda raw: raw["results"][0]["invoke"].update(p25=float("nan")), "p25 is nan; expected a number"),
        (lambda raw: raw["results"][0]["invoke"].update(count=True), "count is True; expected a whole number"),
        (lambda raw: raw["results"][0].update(model=None), r"results\[0\].model is None; expected text"),
        (lambda raw: raw["results"][0].update(input_size=[1]), r"input_size is \[1\]; expected a list of 2"),
        (lambda raw: raw["results"][0].pop("runtime"), r"results\[0\].runtime is missing"),
        (lambda raw: raw["machines"][0].update(id=1), r"machines\[0\].id is 1; expected text"),
        (lambda raw: raw.update(results={}), "results is {}; expected a list"),
        (lambda raw: raw.update(machines=[]), r"results\[0\].machine is 'host'"),
    ],
)
def test_an_edited_report_is_one_line(tmp_path: Path, edit: Any, where: str) -> None:
    path = tmp_path / "benchmark.json"
    make_report().save(path)
    raw = json.loads(path.read_text())
    edit(raw)
    path.write_text(json.dumps(raw))
    done = CliRunner().invoke(command, ["compare", str(path), str(path)], standalone_mode=False)
    with pytest.raises(MaskConverError, match=f"benchmark.json: its content is malformed .*{where}"):
        raise done.exception


def test_a_stopped_worker_does_not_hang_the_benchmark(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with WorkerProcess(tiny, 1) as worker:
        monkeypatch.setattr(process, "ANSWER_TIMEOUT_S", 0.5)
        worker.facts["first_invoke_ms"] = 0.0
        os.kill(worker._process.pid, signal.SIGSTOP)
        with pytest.raises(MaskConverError, match="its process did not answer within 0 s"):
            worker.turn(1)


def test_markup_of_a_dying_tool_is_shown_as_it_is(attach: Attach, tiny: Path, tmp_path: Path) -> None:
    attach()
    tool = write_tool(tmp_path, "echo 'INFO: Graph: [/data/x.tflite]'; kill -SEGV $$")
    message = str(run(tiny, tmp_path / "out", "--benchmark-binary", str(tool)).exception)
    assert "was killed by signal 11: INFO: Graph: [/data/x.tflite]" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 and so on", "is an APK or another zip file, not the program benchmark_model"),
        (b"<html>Access denied</html>", "is a web page, not the program benchmark_model"),
        (b"#!/bin/sh\necho 'ERROR: no such op' >&2; echo 'Benchmarking failed.'; exit 1", "code 1: ERROR: no such op"),
    ],
)
def test_what_was_given_as_the_tool_is_told(
    attach: Attach, tiny: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    attach()
    binary = tmp_path / "benchmark_model"
    binary.write_bytes(content)
    assert message in str(run(tiny, tmp_path / "out", "--benchmark-binary", str(binary)).exception)


def test_a_file_of_a_device_may_not_be_endless(attach: Attach, adb: Adb) -> None:
    daemon = attach()
    (daemon.root / "answer").write_bytes(bytes(100))
    assert len(Device(adb, daemon.serial).read("answer", 100)) == 100
    with pytest.raises(MaskConverError, match="answer has 100 bytes; expected up to 99"):
        Device(adb, daemon.serial).read("answer", 99)
