"""What adb and benchmark_model of many versions print."""

from pathlib import Path

import pytest

from maskconver_mobile.benchmarks.android.adb_client import Adb
from maskconver_mobile.benchmarks.android.benchmark_model import parse

CLASSIC = "0816f3699208ee6d"
MDNS = "adb-R5CT1234567-AbCdEf"
LISTS = {
    "crlf": [(CLASSIC, "device")],
    "ipv6": [("[2001:db8::7]:5555", "device")],
    "mdns": [(f"{MDNS}._adb-tls-connect._tcp", "device")],
    "mdns_conflict": [(f"{MDNS} (2)._adb-tls-connect._tcp", "device")],
    "no_perm": [("????????????", "no permissions")],
    "none": [],
    "one_offline": [("192.168.1.7:5555", "offline"), (CLASSIC, "device")],
    "rescue": [(CLASSIC, "rescue")],
    "server_version": [(CLASSIC, "device")],
    "two": [(CLASSIC, "device"), ("192.168.1.7:5555", "device")],
}


def test_every_list_has_its_devices_here(data: Path) -> None:
    assert {path.stem for path in (data / "inputs" / "adb" / "lists").iterdir()} == set(LISTS)


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_devices(name: str, data: Path, tmp_path: Path) -> None:
    client = tmp_path / "adb"
    client.write_text(f"#!/bin/sh\ncat '{data / 'inputs' / 'adb' / 'lists' / name}.txt'\n")
    client.chmod(0o755)
    assert [(device.serial, device.state) for device in Adb(client).devices()] == LISTS[name]


@pytest.mark.parametrize("name", ["classic", "crlf", "litert2", "litert2_no_counts", "logcat_prefix", "old2019"])
def test_dialects_say_the_same(name: str, data: Path) -> None:
    found = parse((data / "inputs" / "adb" / "tools" / f"{name}.txt").read_bytes().decode())
    assert found.invoke.count == 13
    assert found.invoke.mean == pytest.approx(2.85, abs=0.01)
    assert found.init_ms == pytest.approx(4.12, abs=0.01)


def test_slow_runs_are_printed_with_exponents(data: Path) -> None:
    found = parse((data / "inputs" / "adb" / "tools" / "slow_exponent.txt").read_text())
    assert found.invoke.mean == pytest.approx(2847, abs=1)


@pytest.mark.parametrize("name", ["dies_after_graph", "ops_fail"])
def test_failures_hold_no_timings(name: str, data: Path) -> None:
    with pytest.raises(ValueError, match="its output holds no timings; it ends with"):
        parse((data / "inputs" / "adb" / "tools" / f"{name}.txt").read_text())
