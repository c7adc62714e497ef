"""Photographs reach the programs that measure on a device."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from adb_daemon import Daemon
from click.testing import CliRunner
from tool_output import PROFILE, SUMMARY

from maskconver_mobile.benchmarks.android import adb_client
from maskconver_mobile.benchmarks.android.adb_client import Adb
from maskconver_mobile.benchmarks.photos import PreparedPhotos, find_photos
from maskconver_mobile.benchmarks.report.results import Report, Result
from maskconver_mobile.cli.benchmark import command
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

Measure = Callable[..., Result]


@pytest.fixture
def daemon(attach: Callable[..., Daemon]) -> Daemon:
    return attach()


@pytest.fixture
def measure(adb: Adb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Measure the bundled model on two photographs on the attached device."""
    monkeypatch.setattr(adb_client, "find_adb", lambda: adb.path)
    folder = tmp_path / "photos"
    folder.mkdir()
    for photo in find_photos()[:2]:
        shutil.copy(photo, folder)

    def run(*options: str) -> Result:
        arguments = [str(DEFAULT_MODEL), "--adb", "--images", str(folder), "--output", str(tmp_path / "out"), *options]
        CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
        report = Report.load(tmp_path / "out" / "benchmark.json")
        assert report.settings["images"] == str(folder)
        return report.results[0]

    return run


def test_python_on_the_device_runs_them_in_turn(daemon: Daemon, measure: Measure) -> None:
    result = measure("--runs", "3", "--threads", "1")
    assert [photo.photo for photo in result.photos] == ["apollo11_crew.jpg", "astronaut.jpg"]
    assert [photo.samples_ms for photo in result.photos] == [result.samples_ms[::2], result.samples_ms[1::2]]
    assert len(result.samples_ms) == 4
    assert result.warnings == ()
    assert len(daemon.pushed) == 4


def test_googles_tool_is_launched_for_each(daemon: Daemon, measure: Measure, tmp_path: Path) -> None:
    """The second photograph takes twice as long; the run that times operators is of the ordinary one."""
    tool, calls = tmp_path / "benchmark_model", tmp_path / "calls"
    slow = SUMMARY.replace("28473.5", "56947").replace("median=28450", "median=56900")
    tool.write_text(
        f'#!/bin/sh\necho "$*" >> {calls}\ncase "$(($(wc -l < {calls}) % 2)) $*" in\n'
        f"*profiling=true*) cat <<'END'\n{SUMMARY}{PROFILE}END\n;;\n"
        f"1*) cat <<'END'\n{SUMMARY}END\n;;\n*) cat <<'END'\n{slow}END\n;;\nesac\n"
    )
    result = measure("--benchmark-binary", str(tool), "--runs", "8", "--profile")
    launches = [dict(flag.split("=", 1) for flag in line.split()) for line in calls.read_text().splitlines()]
    assert [launch["--num_runs"] for launch in launches] == ["2", "2", "2", "2", "2"]
    files = [launch["--input_layer_value_files"].removeprefix("image:") for launch in launches]
    assert files[0] != files[1]
    assert files == [files[0], files[1], files[0], files[1], files[1]]
    assert {launch["--input_layer"] for launch in launches} == {"image"}
    assert {launch["--input_layer_shape"] for launch in launches} == {"1,256,256,3"}
    with PreparedPhotos([find_photos()[1]]) as prepared:
        (expected,) = prepared.inputs(Segmenter(DEFAULT_MODEL).card)
        assert Path(files[0]).read_bytes() == expected.read_bytes()
    assert [photo.invoke.mean for photo in result.photos] == [pytest.approx(28.4735), pytest.approx(56.947)]
    assert [photo.invoke.count for photo in result.photos] == [26, 26]
    assert result.spread is not None
    assert (result.spread.worst_photo, result.spread.noise, result.drift) == ("astronaut.jpg", None, 1.0)
