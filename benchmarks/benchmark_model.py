"""Google's `benchmark_model` for TFLite: its command line, and its output read back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from maskconver_mobile.benchmarks.profile import Operator
from maskconver_mobile.benchmarks.stats import Statistics

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
    """Read the tool's log.

    Raises:
        ValueError: it holds no timings; the message says what it ends with.
    """
    summary = re.search(r"Inference timings in us: (.*)", text)
    rows = [dict(re.findall(r"(\w+)=(-?[\d.]+(?:e[+-]?\d+)?)", line)) for line in text.splitlines() if "count=" in line]
    rows = [row for row in rows if row.get("count", "0").strip("0") and ("avg" in row or "curr" in row)]
    if summary is None or not rows:
        ending = (text.strip().splitlines() or ["nothing"])[-1]
        raise ValueError(f"its output holds no timings; it ends with {ending[:120]!r}")
    times = {name.strip(): float(value) for name, value in re.findall(r"([\w ()]+): ([\d.e+]+)", summary[1])}
    peak = re.search(r"Overall peak memory footprint \(MB\) via periodic monitoring: ([\d.]+)", text)
    applied = re.search(r"Explicitly applied .* delegate, and the model graph will be (completely|partially)", text)
    return ToolOutput(
        invoke=_statistics(_timed_row(rows, times.get("Inference (avg)"))),
        init_ms=_milliseconds(times.get("Init")),
        first_invoke_ms=_milliseconds(times.get("First inference")),
        peak_memory_kib=round(float(peak[1]) * 1024) if peak else None,
        operators=tuple(_operators(text)),
        delegated=applied[1] if applied else "",
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


OPERATOR_ROW = re.compile(
    r"^\s*(?P<type>\S.*?)(?:\s+-?[\d.]+){1,2}\s+(?P<avg>[\d.]+)\s+[\d.]+%\s+[\d.]+%\s+[\d.]+\s+\d+\s+(?P<name>\S.*)$"
)


def _operators(text: str) -> list[Operator]:
    """Rows of the last `Run Order` table; inside a delegate the node type is prefixed."""
    _, found, table = text.rpartition("Run Order")
    if not found:
        return []
    operators = []
    for line in table.split("Top by Computation Time")[0].splitlines():
        match = OPERATOR_ROW.match(line)
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


def runs_on(abi: str, machine: str) -> bool:
    """Whether a program of `abi` runs on a processor that calls itself `machine` (as `uname -m` does)."""
    own = FAMILIES.get(machine, machine)
    return abi in ("", own) or (own, abi) in {("arm64-v8a", "armeabi-v7a"), ("x86_64", "x86")}
