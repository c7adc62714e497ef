"""Several reports as one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_report import make_report

from maskconver_mobile.benchmarks.report.combine import combine
from maskconver_mobile.benchmarks.report.results import Report
from maskconver_mobile.cli.benchmark import command
from maskconver_mobile.errors import MaskConverError


def test_machines_of_one_name_stay_apart() -> None:
    one, other = make_report(10.0), replace(make_report(20.0), complete=False)
    both = combine([one, other], ["a.json", "b.json"])
    assert [machine.id for machine in both.machines] == ["host", "host (b.json)"]
    assert [both.machine_of(result).id for result in both.results] == ["host"] * 2 + ["host (b.json)"] * 2
    assert [result.invoke for result in both.results] == [result.invoke for result in one.results + other.results]
    assert not both.complete
    assert both.settings == {"a.json": {"runs": 20}, "b.json": {"runs": 20}}
    with pytest.raises(MaskConverError, match=r"a\.json: is there twice"):
        combine([one, one, one], ["a.json", "a.json", "a.json"])


def browser_report() -> str:
    """A report as the page of `web_demo` writes it."""
    report = json.loads(make_report().to_json())
    report["machines"][0]["id"] = "Pixel 8, Chrome 141"
    for result in report["results"]:
        result |= {"machine": "Pixel 8, Chrome 141", "runtime": "litert.js", "runner": "browser", "accelerator": "gpu"}
        result["stages"]["draw"] = result["stages"]["merge"]
    return json.dumps(report)


def test_a_browser_beside_this_machine(tmp_path: Path) -> None:
    host, web, page = tmp_path / "host.json", tmp_path / "web.json", tmp_path / "both.html"
    make_report().save(host)
    web.write_text(browser_report())
    assert Report.load(web).machines[0].id == "Pixel 8, Chrome 141"
    arguments = ["report", str(host), str(web), "--output", str(page)]
    CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    content = page.read_text()
    for part in ("Pixel 8, Chrome 141", "a.tflite, litert.js, 2 threads, gpu", "Machine host"):
        assert part in content
