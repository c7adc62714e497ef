import pytest
from tool_output import LITERT, OF_2019, PROFILE, SUMMARY

from maskconver_mobile.benchmarks.android import benchmark_model as tool
from maskconver_mobile.benchmarks.report.stats import Statistics, summarize


def test_reads_the_timed_runs_and_not_the_warm_up() -> None:
    found = tool.parse(SUMMARY)
    assert found.invoke == Statistics(count=13, mean=28.4735, std=0.187, min=28.12, max=29.012, p50=28.45, p95=29.012)
    assert (found.init_ms, found.first_invoke_ms, found.peak_memory_kib) == (41.234, 31.0, 46592)
    assert found.operators == ()
    assert found.delegated == ""


def test_reads_output_without_prefix_percentiles_or_memory() -> None:
    text = "count=1 curr=2000\nInference timings in us: Init: 1, First inference: 2, Inference (avg): 2000\n"
    found = tool.parse(text)
    assert found.invoke == Statistics(count=1, mean=2.0, std=0.0, min=2.0, max=2.0)
    assert found.peak_memory_kib is None


@pytest.mark.parametrize(
    ("text", "init", "first", "peak"),
    [
        (LITERT, 4.12, 3.1, 15872),
        (LITERT.replace("\n", "\r\n"), 4.12, 3.1, 15872),
        (OF_2019, 4.123, None, None),
        (
            "".join(f"11-26 08:11:02.123  42  42 I tflite  : {line}\n" for line in OF_2019.splitlines()),
            4.123,
            None,
            None,
        ),
    ],
)
def test_reads_what_other_versions_print(text: str, init: float, first: float | None, peak: int | None) -> None:
    found = tool.parse(text)
    assert (found.invoke.count, found.invoke.mean, found.invoke.min) == (13, pytest.approx(2.8474), 2.812)
    assert (found.init_ms, found.first_invoke_ms, found.peak_memory_kib) == (init, first, peak)


def test_reads_results_without_lines_of_runs() -> None:
    text = "".join(line for line in LITERT.splitlines(keepends=True) if "count=" not in line)
    assert tool.parse(text).invoke == Statistics(count=13, mean=2.85, std=0.02, min=2.81, max=2.9)


def test_a_log_of_one_endless_line_takes_no_time() -> None:
    long = "Run Order\n" + "a 1 " * 500_000 + "\ncount=1 " + "x" * 1_000_000 + "\n"
    with pytest.raises(ValueError, match="no timings"):
        tool.parse(long)
    assert tool.parse(long + SUMMARY).invoke.count == 13


@pytest.mark.parametrize("part", ["completely", "partially"])
def test_reads_how_much_a_delegate_runs(part: str) -> None:
    line = f"INFO: Explicitly applied GPU delegate, and the model graph will be {part} executed by the delegate.\n"
    assert tool.parse(line + SUMMARY).delegated == part


@pytest.mark.parametrize("columns", [1, 2])
def test_reads_operators_of_the_last_table(columns: int) -> None:
    text = SUMMARY + (PROFILE if columns == 1 else PROFILE.replace("Delegate     20", "Delegate  0.0     20"))
    found = tool.parse(text.replace("TOPK_V2 ", "TOPK_V2  1.5 ") if columns == 2 else text)
    assert [(op.type, op.ms, op.name) for op in found.operators] == [
        ("TfLiteXNNPackDelegate", 21.5, "[features]:98"),
        ("TOPK_V2", 7.0, "[scores, indices]:64"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello\x00\xff",
        SUMMARY.split("Inference timings")[0],
        "count=3 avg=x\n",
        "count=0 avg=1\nInference timings in us: Init: 1\n",
    ],
)
def test_garbled_output_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no timings"):
        tool.parse(text)


def test_pool_is_what_all_samples_give() -> None:
    samples = [[1.0, 2.0, 3.0], [4.0, 9.0]]
    whole, pooled = summarize(samples[0] + samples[1]), tool.pool([summarize(part) for part in samples])
    for name in ("count", "mean", "std", "min", "max"):
        assert getattr(pooled, name) == pytest.approx(getattr(whole, name))
    assert pooled.p50 is None


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (b"PK\x03\x04rest", "an APK or another zip file"),
        (b"\n<!DOCTYPE html><h", "a web page"),
        (b"<html>Access denied", "a web page"),
        (b"#!/bin/sh\n", ""),
        (b"\x7fELF\x02\x01", ""),
    ],
)
def test_files_that_are_no_program_are_known(header: bytes, kind: str) -> None:
    assert tool.other_kind(header) == kind


def test_programs_for_another_processor_are_known() -> None:
    arm = b"\x7fELF\x02\x01" + bytes(12) + (183).to_bytes(2, "little")
    assert tool.binary_abi(arm) == "arm64-v8a"
    assert tool.binary_abi(b"#!/bin/sh\n") == ""
    assert tool.runs_on("arm64-v8a", "aarch64")
    assert tool.runs_on("armeabi-v7a", "aarch64")
    assert not tool.runs_on("arm64-v8a", "x86_64")
    assert not tool.runs_on("arm64-v8a", "armv7l")
