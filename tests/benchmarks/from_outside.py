"""The benchmark as its user calls it, and what it leaves on a scripted device."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import scripted_app
from adb_daemon import Daemon
from click.testing import CliRunner

from maskconver_mobile.benchmarks.android import device
from maskconver_mobile.benchmarks.report.results import Report
from maskconver_mobile.cli.benchmark import command
from maskconver_mobile.errors import MaskConverError

Attach = Callable[..., Daemon]
Phone = Callable[..., Daemon]


def write_tool(folder: Path, script: str) -> Path:
    path = folder / "benchmark_model"
    path.write_text(f"#!/bin/sh\n{script}\n")
    return path


def run(model: Path, output: Path, *options: str) -> Any:
    arguments = [str(model), "--adb", "--output", str(output), *options]
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, MaskConverError | click.Abort):
        raise result.exception
    return result


def left_behind(daemon: Daemon) -> list[str]:
    """Files on the device that are no cached model or runner."""
    folder = daemon.root / "tmp" / device.FOLDER
    return [path.name for path in folder.glob("*") if path.is_dir() or path.suffix == ".part"]


def processes_of(daemon: Daemon) -> list[str]:
    """Command lines of processes that the device still runs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(entry / "cwd")).is_relative_to(daemon.root):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def measured(folder: Path) -> Report:
    return Report.load(folder / "out" / "benchmark.json")


def clean(daemon: Daemon) -> bool:
    """No process, no result, no input, no half file is left on the phone."""
    results = list((daemon.root / scripted_app.RESULTS).glob("*"))
    inputs = list((daemon.root / "tmp" / device.FOLDER).glob("*.raw"))
    apks = list((daemon.root / "tmp" / device.FOLDER).glob("*.apk"))
    return eventually(lambda: not processes_of(daemon)) and not (results + inputs + apks + left_behind(daemon))
