"""The JSON file that the app's benchmark writes, with every type and bound checked: it comes from outside."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from maskconver_mobile.benchmarks.android.app import CONTRACT
from maskconver_mobile.benchmarks.host.stages import STAGES
from maskconver_mobile.typed_json import decode

SCHEMA = 1
MAX_BYTES = 64 << 20


class AppRefusalError(Exception):
    """The app says, in its own words, why it did not measure."""


@dataclass(frozen=True)
class Header:
    """What stands in every result; `error` is a line for people, or None."""

    schema: int
    contract: int
    run: str
    error: str | None


@dataclass(frozen=True)
class AppEcho:
    """What the app understood of what it was asked for."""

    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class AppDevice:
    """What the app sees of the phone."""

    emulated: bool


@dataclass(frozen=True)
class AppRuntime:
    """The inference library inside the app."""

    name: str
    version: str


@dataclass(frozen=True)
class AppModel:
    """The file that the app opened."""

    sha256: str


@dataclass(frozen=True)
class AppAccelerator:
    """What was asked for, what ran, and why it is another one."""

    asked: str
    used: str
    reason: str


@dataclass(frozen=True)
class AppHalfPrecision:
    """Whether float16 arithmetic was allowed, and whether it was in use."""

    allowed: bool
    in_use: bool


@dataclass(frozen=True)
class AppOutput:
    """One output tensor of one input, as raw values in a file of its own."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    input: int


@dataclass(frozen=True)
class AppState:
    """What changes while a benchmark runs; None where the phone does not tell."""

    thermal_status: int | None = None
    thermal_headroom: float | None = None
    battery_percent: float | None = None
    battery_celsius: float | None = None
    charging: bool | None = None
    power_save: bool | None = None

    def known(self) -> dict[str, Any]:
        """What the phone told."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class AppResult:
    """One run of the app's benchmark; times in milliseconds, memory in KiB.

    Attributes:
        options: what was asked for.
        device: the phone.
        runtime: what ran the model.
        model: the model.
        accelerator: CPU or GPU.
        half_precision: of the arithmetic.
        load_cold_ms: first load in the process.
        load_warm_ms: second one.
        first_invoke_ms: first run after the first load.
        samples_ms: all timed runs in the order taken; with inputs, run i took input i modulo their number.
        stages_ms: the way from a photograph to segments, all passes; empty if not asked for.
        peak_rss_kib: largest resident memory of the process.
        rss_before_load_kib: part of it that was there before the model.
        before: the phone before the first run.
        after: the phone after the last.
        outputs: the tensors that were written.
    """

    options: AppEcho
    device: AppDevice
    runtime: AppRuntime
    model: AppModel
    accelerator: AppAccelerator
    half_precision: AppHalfPrecision
    load_cold_ms: float
    load_warm_ms: float
    first_invoke_ms: float
    samples_ms: tuple[float, ...]
    peak_rss_kib: int | None = None
    rss_before_load_kib: int | None = None
    stages_ms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    before: AppState = AppState()
    after: AppState = AppState()
    outputs: tuple[AppOutput, ...] = ()


def parse(text: str, run: str, sha256: str, inputs: Sequence[str]) -> AppResult:
    """Read a result.

    Args:
        text: content of the file.
        run: the name that it was asked for.
        sha256: of the model that was pushed.
        inputs: paths of the input tensors; empty for noise.

    Raises:
        AppRefusalError: the app measured nothing and says why.
        ValueError: it is no such result; the message names the value.
    """
    raw = json.loads(text)
    header: Header = decode(Header, raw)
    if header.error is not None:
        raise AppRefusalError(header.error)
    if (header.schema, header.contract) != (SCHEMA, CONTRACT):
        raise ValueError(f"schema {header.schema}, contract {header.contract}; this version reads {SCHEMA}, {CONTRACT}")
    if header.run != run:
        raise ValueError(f"run is {header.run[:80]!r}; expected {run!r}")
    result: AppResult = decode(AppResult, raw)
    _check(result, sha256, inputs)
    return result


def _check(result: AppResult, sha256: str, inputs: Sequence[str]) -> None:
    if result.options.inputs != tuple(inputs):
        raise ValueError(
            f"options.inputs holds {len(result.options.inputs)} of {len(inputs)} inputs that were asked for"
        )
    if result.model.sha256 != sha256:
        raise ValueError("model.sha256 is not that of the model that was pushed")
    if min(result.samples_ms, default=0.0) <= 0:
        raise ValueError("samples_ms holds no timing above 0")
    if inputs and len(result.samples_ms) % len(inputs):
        raise ValueError(
            f"samples_ms holds {len(result.samples_ms)} timings; expected a multiple of {len(inputs)} inputs"
        )
    if result.stages_ms and (set(result.stages_ms) != set(STAGES) or not all(result.stages_ms.values())):
        raise ValueError(f"stages_ms holds {sorted(result.stages_ms)}; expected timings of {', '.join(STAGES)}")
