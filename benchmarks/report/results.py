"""What a benchmark writes: one JSON file, described by the classes here (field by field, in their docstrings).

Times are milliseconds, memory is KiB. A reader must check `schema` and `emulated` before it believes a number.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from maskconver_mobile.benchmarks.android.verification import Verification
from maskconver_mobile.benchmarks.host.operator_times import Profile
from maskconver_mobile.benchmarks.report.spread import PhotoTiming, Spread, spread
from maskconver_mobile.benchmarks.report.stats import Ratio, Statistics
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import distinct_names, read_json, write_atomically
from maskconver_mobile.typed_json import decode

SCHEMA = 2
READABLE = (1, SCHEMA)
"""Reports of schema 1 have no `photos`: their models ran on noise."""

MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class Result:
    """One model with one runtime and one number of threads on one machine.

    Attributes:
        machine: `id` of its machine in the same report.
        model: path as given.
        sha256: of the model file.
        size_bytes: of the model file.
        input_size: (height, width) of the model's image, None where the file has no model card.
        recipe: fusion level, target and number format from the model card, or empty.
        runtime: `litert`, `onnxruntime`, `tflite` (in the app and benchmark_model), `litert.js` or `onnxruntime-web`.
        runtime_version: version of that package, or empty.
        runner: `worker` (this package's), `app` (the Android app's), `benchmark_model` (Google's) or `browser` (of
            `web_demo`).
        accelerator: `cpu` or `gpu`.
        threads: threads of the CPU kernels.
        cores: mask of the cores it was bound to, such as `0xf0`, or empty.
        half_precision: it computed in float16.
        invoke: timings of the model's run alone.
        samples_ms: every timing in the order taken; empty where the runner tells only its averages.
        photos: the same by photograph; empty for a model that ran on noise, as nobody knows what it takes.
        load_cold_ms: first load in a fresh process.
        load_warm_ms: second load in that process.
        first_invoke_ms: first run after the first load.
        peak_rss_kib: largest resident memory of the fresh process.
        rss_before_load_kib: part of it that was there before the model.
        drift: last quarter over first quarter; above 1 the run slowed down.
        ratio_to_first: against the first model of the same call, round by round.
        stages: the way from an image file to segments: decode, preprocess, invoke, merge.
        profile: operator times.
        verification: how far its answers are from the host's, where that was asked for.
        conditions: what the app read of battery, temperature and the like, `before` and `after` the run.
        warnings: what a reader should know before believing the numbers.
    """

    machine: str
    model: str
    sha256: str
    size_bytes: int
    runtime: str
    runner: str
    threads: int
    invoke: Statistics
    input_size: tuple[int, int] | None = None
    recipe: str = ""
    runtime_version: str = ""
    accelerator: str = "cpu"
    cores: str = ""
    half_precision: bool = False
    samples_ms: tuple[float, ...] = ()
    photos: tuple[PhotoTiming, ...] = ()
    load_cold_ms: float | None = None
    load_warm_ms: float | None = None
    first_invoke_ms: float | None = None
    peak_rss_kib: int | None = None
    rss_before_load_kib: int | None = None
    drift: float | None = None
    ratio_to_first: Ratio | None = None
    stages: Mapping[str, Statistics] = field(default_factory=dict)
    profile: Profile | None = None
    verification: Verification | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The model and how it was run, in a few words."""
        count = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        parts = [self.model, self.runtime, count]
        half = "half precision" if self.half_precision else ""
        return ", ".join([*parts, *filter(None, (self.accelerator.replace("cpu", ""), self.cores, half))])

    @property
    def spread(self) -> Spread | None:
        """The time over photographs; None if it ran on none."""
        return spread(self.photos)

    @property
    def typical_ms(self) -> float:
        """The median over photographs, or over runs where there are none."""
        return self.invoke.typical if self.spread is None else self.spread.median


@dataclass(frozen=True)
class Machine:
    """Where results come from.

    Attributes:
        id: `host`, the device's serial, or the names of a device and its browser.
        emulated: its processor (or the GPU of a browser) is emulated, so that its times say nothing about latency.
        environment: what could be found out about it; every key is optional.
        error: why its results are missing or partial, or empty.
        warnings: what a reader should know about the machine's state.
    """

    id: str
    emulated: bool = False
    environment: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything one call measured.

    Attributes:
        created: UTC time in ISO 8601.
        settings: the options of the call.
        machines: where it ran.
        results: what it measured, in order.
        complete: false where something failed or was interrupted and results are missing.
    """

    created: str
    settings: Mapping[str, Any]
    machines: tuple[Machine, ...]
    results: tuple[Result, ...]
    complete: bool = True

    def machine_of(self, result: Result) -> Machine:
        """The machine that a result comes from."""
        return next(machine for machine in self.machines if machine.id == result.machine)

    def with_short_names(self) -> "Report":
        """For people, and for other reports: models by the end of their path that tells them apart from one another."""
        names = distinct_names([result.model for result in self.results])
        return replace(self, results=tuple(replace(result, model=names[result.model]) for result in self.results))

    def to_json(self) -> str:
        """The report as it stands in a file."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n"

    def save(self, path: Path) -> None:
        """Write the JSON file, whole or not at all.

        Raises:
            MaskConverError: it cannot be written.
        """
        write_atomically(path, self.to_json().encode())

    @classmethod
    def load(cls, path: Path) -> "Report":
        """Read a report back.

        Raises:
            MaskConverError: the file is missing, no report, or a report of another schema.
        """
        raw = read_json(path, MAX_BYTES, "what `benchmark` wrote")
        schema = raw.get("schema") if isinstance(raw, dict) else None
        if schema not in READABLE:
            raise MaskConverError(f"{path}: has schema {schema!r} and this version reads {READABLE}")
        try:
            report: Report = decode(cls, raw)
            report.check()
        except ValueError as error:
            raise MaskConverError(f"{path}: its content is malformed ({error})") from error
        return report

    def check(self) -> None:
        """What types alone do not say.

        Raises:
            ValueError: a result's machine is not there, or a time is not above 0; the message names the result.
        """
        known = {machine.id for machine in self.machines}
        for i, result in enumerate(self.results):
            if result.machine not in known:
                raise ValueError(f"results[{i}].machine is {result.machine!r}; expected one of {sorted(known)}")
            rows = (result.invoke, *(photo.invoke for photo in result.photos))
            if min(*result.samples_ms, *(time for row in rows for time in (row.min, row.mean, row.typical))) <= 0:
                raise ValueError(f"results[{i}] has a time that is not above 0")
