"""Google's `benchmark_model` for TFLite: its command line, and its output read back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from maskconver_mobile.benchmarks.host.operator_times import Operator
from maskconver_mobile.benchmarks.report.stats import Statistics

MACHINES = {3: "x86", 40: "armeabi-v7a", 62: "x86_64", 183: "arm64-v8a"}
FAMILIES = {"aarch64": "arm64-v8a", "armv8l": "armeabi-v7a", "armv7l": "armeabi-v7a", "i686": "x86"}


@dataclass(frozen=True)
class ToolOutput:
    """What one run of the tool says; times in milliseconds, memory in KiB, None where it does not say.

    `delegated` is how much of the graph a delegate that was asked for runs: `completely`, `partially` or nothing.
    """

    invoke: Statistics
    init_ms: float | None = None
    first_invoke_ms: float | None = None
    peak_memory_kib: int | None = None
    operators: tuple[Operator, ...] = ()
    delegated: str = ""


def arguments(
    model: str, *, threads: int, runs: int, warmup: int, min_seconds: float, gpu: bool, profile: bool
) -> list[str]:
    """The tool's flags for one model."""
    flags = {
        "graph": model,
        "num_threads": threads,
        "num_runs": runs,
        "warmup_runs": warmup,
        "warmup_min_secs": 0,
        "min_secs": min_seconds,
        "use_xnnpack": str(not gpu).lower(),
        "use_gpu": str(gpu).lower(),
        "report_peak_memory_footprint": "true",
        "enable_op_profiling": str(profile).lower(),
    }
    return [f"--{name}={value}" for name, value in flags.items()]


def input_arguments(name: str, shape: Sequence[int], file: str) -> list[str]:
    """Further flags: a file of raw values on the device for the model's only input."""
    flags = {"input_layer": name, "input_layer_shape": ",".join(map(str, shape))}
    return [*(f"--{key}={value}" for key, value in flags.items()), f"--input_layer_value_files={name}:{file}"]


def parse(text: str) -> ToolOutput:
    """Read the tool's log, of any version since 2019: with or without prefixes, in the words of TFLite or LiteRT 2.

    Raises:
        ValueError: it holds no timings; the message says what it ends with.
    """
    lines = [line[:MAX_LINE] for line in text.splitlines()]
    rows = [dict(re.findall(r"\b(\w+)=(-?[\d.]+(?:e[+-]?\d+)?)", line)) for line in lines if "count=" in line]
    rows = [row for row in rows if row.get("count", "0").strip("0") and ("avg" in row or "curr" in row)]
    summary = _litert_summary(lines) or _tflite_summary(lines)
    rows = rows or ([summary.row] if summary and summary.row else [])
    if summary is None or not rows:
        ending = (text.strip().splitlines() or ["nothing"])[-1]
        raise ValueError(f"its output holds no timings; it ends with {ending[:120]!r}")
    short = "\n".join(lines)
    peak = re.search(r"(?:Overall peak memory footprint \(MB\) via periodic monitoring|Peak memory): +([\d.]+)", short)
    applied = re.search(r"Explicitly applied .* delegate, and the model graph will be (completely|partially)", short)
    return ToolOutput(
        invoke=_statistics(_timed_row(rows, summary.average_us)),
        init_ms=_milliseconds(summary.init_us),
        first_invoke_ms=_milliseconds(summary.first_us),
        peak_memory_kib=round(float(peak[1]) * 1024) if peak else None,
        operators=tuple(_operators(lines)),
        delegated=applied[1] if applied else "",
    )


@dataclass(frozen=True)
class _Summary:
    """What the tool says at its end, in microseconds; `row` stands in where it printed no line of its timed runs."""

    average_us: float | None
    init_us: float | None
    first_us: float | None
    row: dict[str, str] = field(default_factory=dict)


def _tflite_summary(lines: Sequence[str]) -> _Summary | None:
    """One line; that of 2019 begins with `Average` and calls the timed runs `no stats`."""
    found = re.search(r"[Ii]nference timings in us: (.*)", "\n".join(lines))
    if found is None:
        return None
    times = {
        name.strip(): float(value) for name, value in re.findall(r"([\w ()]{1,40}): ([\d.]+(?:e[+-]?\d+)?)", found[1])
    }
    average = times.get("Inference (avg)", times.get("Inference", times.get("no stats")))
    return _Summary(average, times.get("Init"), times.get("First inference"))


def _litert_summary(lines: Sequence[str]) -> _Summary | None:
    """A block of milliseconds with two decimals, one a line."""
    _, found, block = "\n".join(lines).partition("BENCHMARK RESULTS")
    if not found:
        return None
    times = dict(re.findall(r"\b(\w+ ?\(\w+\)|Model initialization): +([\d.]+)", block))
    runs = re.search(r"Inference \(avg\): .*\((\d+) runs\)", block)
    values = {name: float(value) * 1e3 for name, value in times.items()}
    row = {
        key: str(values[f"Inference ({key})"]) for key in ("avg", "min", "max", "std") if f"Inference ({key})" in values
    }
    row = {"count": runs[1], **row} if runs and "avg" in row else {}
    return _Summary(
        values.get("Inference (avg)"), values.get("Model initialization"), values.get("Warmup (first)"), row
    )


def _timed_row(rows: Sequence[dict[str, str]], average: float | None) -> dict[str, str]:
    """The line of the timed runs: the one whose average is that of the summary, as warm-up has such a line too."""
    if average is None:
        return rows[-1]
    return min(rows, key=lambda row: abs(float(row.get("avg", row.get("curr", "0"))) - average))


def _statistics(row: dict[str, str]) -> Statistics:
    alone = row.get("curr", row.get("avg", "0"))
    value = {name: float(row.get(name, alone)) / 1e3 for name in ("avg", "min", "max")}
    return Statistics(
        count=int(row["count"]),
        mean=value["avg"],
        std=float(row.get("std", 0)) / 1e3,
        min=value["min"],
        max=value["max"],
        p50=_milliseconds(float(row["median"])) if "median" in row else None,
        p95=_milliseconds(float(row["p95"])) if "p95" in row else None,
    )


def _milliseconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1e3


MAX_LINE = 2000
"""Longer lines are no words of the tool, and cost the patterns their square."""

OPERATOR_ROW = re.compile(
    r"^\s*(?P<type>\S.*?)(?:\s+-?[\d.]+){1,2}\s+(?P<avg>[\d.]+)\s+[\d.]+%\s+[\d.]+%\s+[\d.]+\s+\d+\s+(?P<name>\S.*)$"
)


def _operators(lines: Sequence[str]) -> list[Operator]:
    """Rows of the last `Run Order` table; inside a delegate the node type is prefixed."""
    _, found, table = "\n".join(lines).rpartition("Run Order")
    if not found:
        return []
    operators = []
    for line in table.split("Top by Computation Time")[0].splitlines():
        match = OPERATOR_ROW.match(" ".join(line.split()))  # runs of spaces would cost the pattern their square
        if match:
            inside = match["type"].startswith("Delegate/") or "[Delegate]" in match["name"]
            kind = match["type"].removeprefix("Delegate/")
            operators.append(Operator(kind, match["name"], float(match["avg"]), 1.0, 0 if inside else None))
    return operators


def pool(parts: Sequence[Statistics]) -> Statistics:
    """Statistics of several separate runs as one; percentiles only where they can be known."""
    count = sum(part.count for part in parts)
    mean = sum(part.count * part.mean for part in parts) / count
    square = sum(part.count * (part.std**2 + part.mean**2) for part in parts) / count
    return Statistics(
        count=count,
        mean=mean,
        std=max(square - mean**2, 0.0) ** 0.5,
        min=min(part.min for part in parts),
        max=max(part.max for part in parts),
    )


def binary_abi(header: bytes) -> str:
    """Android's name of the processor that a program is built for, from its first 20 bytes; empty if it is no ELF."""
    if header[:4] != b"\x7fELF":
        return ""
    order = "little" if header[5] == 1 else "big"
    machine = int.from_bytes(header[18:20], order)  # type: ignore[arg-type]
    return MACHINES.get(machine, f"ELF machine {machine}")


def other_kind(header: bytes) -> str:
    """What a file is instead of a program, from its first bytes; empty if it may be one."""
    if header.startswith(b"PK"):
        return "an APK or another zip file"
    return "a web page" if header.lstrip().lower().startswith((b"<html", b"<!doctype")) else ""


def runs_on(abi: str, machine: str) -> bool:
    """Whether a program of `abi` runs on a processor that calls itself `machine` (as `uname -m` does)."""
    own = FAMILIES.get(machine, machine)
    return abi in ("", own) or (own, abi) in {("arm64-v8a", "armeabi-v7a"), ("x86_64", "x86")}
