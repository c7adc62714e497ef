"""What the app itself wrote: recorded by the app's own test, which fails where the app writes other keys or types."""

import json
from pathlib import Path
from typing import Any

import pytest
import scripted_app

from maskconver_mobile.benchmarks.android.app_result import AppState, parse

RECORDED = Path(__file__).parents[1] / "data" / "app_result.json"


@pytest.fixture
def raw() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORDED.read_text())
    return found


def test_it_is_read(raw: dict[str, Any]) -> None:
    (photo,) = raw["options"]["inputs"]
    result = parse(RECORDED.read_text(), "recorded", raw["model"]["sha256"], [photo])
    assert result.options.inputs == (photo,)
    assert (result.runtime.name, result.runtime.version) == ("tflite", "2.16.1")
    assert (result.accelerator.asked, result.accelerator.used, result.accelerator.reason) == ("cpu", "cpu", "")
    assert (result.half_precision.allowed, result.half_precision.in_use) == (True, False)
    assert result.samples_ms == pytest.approx(raw["samples_ms"])
    assert len(result.samples_ms) >= 4
    assert {stage: len(times) for stage, times in result.stages_ms.items()} == dict.fromkeys(raw["stages_ms"], 4)
    assert min(result.load_cold_ms, result.load_warm_ms, result.first_invoke_ms) > 0
    assert (result.peak_rss_kib, result.rss_before_load_kib) == (raw["peak_rss_kib"], raw["rss_before_load_kib"])
    assert {(o.name, o.dtype, o.shape, o.input) for o in result.outputs} == {
        ("classes", "int32", (1, 12), 0),
        ("scores", "float32", (1, 12), 0),
        ("mask_logits", "float32", (1, 12, 12, 12), 0),
    }


def test_battery_and_heat_are_read(raw: dict[str, Any]) -> None:
    (photo,) = raw["options"]["inputs"]
    result = parse(RECORDED.read_text(), "recorded", raw["model"]["sha256"], [photo])
    for state in (result.before, result.after):
        assert state == AppState(0, state.thermal_headroom, 87, 29.5, charging=True, power_save=False)


def test_the_scripted_phone_writes_nothing_else(raw: dict[str, Any]) -> None:
    """What other tests let the scripted app say, the app says too."""
    asked = {**raw["options"], "run": "x", "model": __file__}
    scripted = scripted_app._values(asked, {"android": 13, "app": {}})
    assert scripted.keys() == raw.keys()
    for key in ("app", "device", "runtime", "model", "accelerator", "half_precision", "before", "stages_ms"):
        assert scripted[key].keys() <= raw[key].keys(), key
