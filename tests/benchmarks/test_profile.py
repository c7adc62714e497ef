from pathlib import Path

import pytest

from maskconver_mobile.benchmarks.host import litert_profile
from maskconver_mobile.benchmarks.host import operator_times as profile
from maskconver_mobile.benchmarks.host.litert_profile import BUILTIN_EVENT, WALL_EVENT, Event, summarize_events
from maskconver_mobile.errors import MaskConverError

INSIDE = 8


def event(tag: str, kind: int, microseconds: int, index: int) -> Event:
    return Event(tag=tag.encode(), type=kind, elapsed=microseconds, index=index)


def test_litert_tells_its_operators(tiny: Path) -> None:
    found = profile.profile(tiny, threads=1, runs=5)
    assert found.missing == ""
    assert [(op.name, op.count) for op in found.operators] in ([("#0", 1)], [("y", 1)])
    assert "sigmoid" in found.operators[0].type.lower() or "logistic" in found.operators[0].type.lower()
    assert found.wall_ms >= found.sum_ms >= 0


def test_an_unknown_library_version_gives_a_reason(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile.importlib.metadata, "version", lambda package: "9.9.0")
    assert profile.profile(tiny).missing == "operator times need ai-edge-litert 2.2, 2.3; this is 9.9.0"


def test_a_crash_of_the_profiler_gives_a_reason(tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(litert_profile, "__name__", "no.such.module")
    assert "profiler ended with exit code 1" in profile.profile(tiny).missing


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match="no such model file"):
        profile.profile(tmp_path / "missing.tflite")


def test_events_are_averaged_and_partitions_counted() -> None:
    one_run = [
        event("Invoke", WALL_EVENT, 100, 0),
        event("Conv", INSIDE, 10, 0),
        event("Add", INSIDE, 20, 1),
        event("TOPK_V2", BUILTIN_EVENT, 30, 7),
        event("Add", INSIDE, 5, 1),
        event("Conv", INSIDE, 5, 0),
    ]
    raw = summarize_events(one_run * 2, 2, ["n"] * 7 + ["top"])
    found = profile.Profile("m", 1, 2, raw["wall_ms"], tuple(profile.Operator(**op) for op in raw["operators"]))
    assert found.wall_ms == pytest.approx(0.1)
    assert found.sum_ms == pytest.approx(0.07)
    assert [(op.type, op.name, op.partition) for op in found.operators] == [
        ("Conv", "#0", 0),
        ("Add", "#1", 0),
        ("TOPK_V2", "top", None),
        ("Add", "#1", 1),
        ("Conv", "#0", 2),
    ]
    assert found.partitions == 3
    groups = found.by_type()
    assert [(g.type, g.count) for g in groups] == [("TOPK_V2", 1), ("Add", 2), ("Conv", 2)]
    assert sum(g.share for g in groups) == pytest.approx(1)


def test_onnxruntime_trace_leaves_warm_up_out() -> None:
    def step(at: int, node: int, run: int) -> list[dict[str, object]]:
        return [
            {"name": "a_kernel_time", "ts": at, "dur": node, "args": {"op_name": "Conv"}},
            {"name": "a_fence_before", "ts": at, "dur": 999},
            {"name": "model_run", "ts": at + 1, "dur": run},
        ]

    found = profile.summarize_trace([*step(0, 900, 900), *step(10, 20, 50), *step(20, 40, 70)], 1, 2)
    assert found["wall_ms"] == pytest.approx(0.06)
    assert found["operators"] == [{"type": "Conv", "name": "a", "ms": pytest.approx(0.03), "count": 1}]
