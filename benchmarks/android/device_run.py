"""One benchmark on one device: push, run, pull, clean up."""

import contextlib
import json
import shlex
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from maskconver_mobile.benchmarks.android import benchmark_model
from maskconver_mobile.benchmarks.android.adb_client import (
    Adb,
    ConnectionLostError,
    DeviceError,
)
from maskconver_mobile.benchmarks.android.device import Device
from maskconver_mobile.benchmarks.android.device_rules import core_mask, throttling
from maskconver_mobile.benchmarks.android.pack_worker import pack_worker
from maskconver_mobile.benchmarks.host.operator_times import Profile
from maskconver_mobile.benchmarks.models import ModelFile
from maskconver_mobile.benchmarks.photos import ON_NOISE, PreparedPhotos, find_photos
from maskconver_mobile.benchmarks.report.results import Machine, Result
from maskconver_mobile.benchmarks.report.spread import PhotoTiming, by_photo, drift_in_turn
from maskconver_mobile.benchmarks.report.stats import summarize
from maskconver_mobile.formats import TFLITE, format_of
from maskconver_mobile.text import printable
from maskconver_mobile.typed_json import decode

QUARTERS = 4
PASSES = 2
INPUT = "image"
CLEANUP_TIMEOUT_S = 20.0
PYTHONS = ("python3", "/data/data/com.termux/files/usr/bin/python3")


@dataclass(frozen=True)
class DeviceOptions:
    """How to benchmark on a device.

    Attributes:
        threads: each number of CPU threads to measure.
        runs: timed runs of each model.
        warmup: runs before them.
        min_seconds: at least this long in all.
        app: APK of the Android app, installed before it measures.
        binary: Google's `benchmark_model` for the device, instead of the app.
        gpu: through the GPU delegate; not with the Python runner, which measures where neither is there.
        half_precision: whether the app may compute in float16.
        profile: the app times the stages as well, and `binary` the operators, in a run of their own.
        verify: the app's answers against this machine's.
        cores: `big`, `little`, a hexadecimal mask such as `0xf0`, or empty for all.
        cool_down: wait at most this many seconds before each model for the device to cool.
        timeout: seconds after which one run on the device is killed.
        photos: photographs to run on; the bundled ones where empty.
    """

    threads: tuple[int, ...] = (4,)
    runs: int = 50
    warmup: int = 5
    min_seconds: float = 0.0
    app: Path | None = None
    binary: Path | None = None
    gpu: bool = False
    half_precision: bool = True
    profile: bool = False
    verify: bool = False
    cores: str = ""
    cool_down: float = 0.0
    timeout: float = 600.0
    photos: tuple[Path, ...] = ()


class DeviceRun:
    """Runs on one device; a context manager that leaves nothing running and no file but the cached models there."""

    def __init__(self, adb: Adb, device: Device, machine: Machine, options: DeviceOptions) -> None:
        self._adb, self._device, self._machine, self._options = adb, device, machine, options
        self._mask = core_mask(options.cores, machine.environment.get("core_max_khz", {})) if options.cores else ""
        self._folder = ""
        self._photos = PreparedPhotos(options.photos or find_photos())

    def __enter__(self) -> "DeviceRun":
        try:
            self._prepare()
        except BaseException:
            self._clean_up()
            raise
        return self

    def _prepare(self) -> None:
        binary = self._options.binary
        if binary is None:
            self._refuse_what_python_cannot()
        else:
            self._check_binary(binary)
        self._folder = f"{self._device.folder}/run.{time.time_ns():x}"
        self._device.shell(f"mkdir -p {shlex.quote(self._folder)}")
        with tempfile.TemporaryDirectory() as folder:
            self._runner = self._device.push(pack_worker(Path(folder)) if binary is None else binary)
        self._python = self._find_python() if binary is None else ""
        self._tools = self._device.shell("command -v timeout; command -v setsid").stdout

    def __exit__(self, *_: object) -> None:
        self._clean_up()

    def _clean_up(self) -> None:
        self._photos.close()
        if not self._folder:
            return
        command = f"{self._killing()}; rm -rf {shlex.quote(self._folder)} {shlex.quote(self._device.folder)}/*.part"
        with contextlib.suppress(DeviceError):
            try:
                self._device.shell_once(command, CLEANUP_TIMEOUT_S, stoppable=False)
            except ConnectionLostError:
                self._device.wait_for_return(stoppable=False)
                self._device.shell_once(command, CLEANUP_TIMEOUT_S, stoppable=False)

    def _killing(self) -> str:
        """Shell command that ends the program of an unfinished run, and what it started where that has a group."""
        pid = shlex.quote(f"{self._folder}/pid")
        return f"for p in $(cat {pid} 2>/dev/null); do kill -9 -$p || kill -9 $p; done 2>/dev/null; rm -f {pid}"

    def _check_binary(self, binary: Path) -> None:
        if not binary.is_file():
            raise DeviceError(f"{binary}: no such file; give the path of benchmark_model with --benchmark-binary")
        with binary.open("rb") as file:
            header = file.read(20)
        other = benchmark_model.other_kind(header)
        if other:
            raise DeviceError(f"{binary}: is {other}, not the program benchmark_model; see docs/phone.md")
        abi = benchmark_model.binary_abi(header)
        machine = str(self._machine.environment.get("machine", ""))
        if machine and not benchmark_model.runs_on(abi, machine):
            own = self._machine.environment.get("abi", machine)
            raise DeviceError(
                f"device {self._device.serial}: {binary.name} is built for {abi} and the device is {own}; "
                f"get the benchmark_model for {own}"
            )

    def _refuse_what_python_cannot(self) -> None:
        asked = [name for name in ("gpu", "profile", "verify") if getattr(self._options, name)]
        if asked:
            raise DeviceError(
                f"device {self._device.serial}: --{asked[0]} needs the app there; add --app to install it"
            )

    def _find_python(self) -> str:
        names = " ".join(PYTHONS)
        found = self._device.shell(f"for p in {names}; do command -v $p && break; done").stdout.split()
        if not found:
            raise DeviceError(
                f"device {self._device.serial}: has neither the app nor a python3 that adb may run; "
                "run `make android` and add --app"
            )
        return found[0]

    def measure(self, model: ModelFile, threads: int) -> Result:
        """Push a model and time it.

        Raises:
            DeviceError: the device or the runner failed; the message says how.
        """
        remote = self._device.push(model.path)
        inputs = [self._device.push(path) for path in self._photos.inputs(model.card)]
        self._device.cool_down(self._options.cool_down)
        before = self._device.state()
        measure = self._with_python if self._options.binary is None else self._with_tool
        try:
            result = measure(model, remote, inputs, threads)
        except ConnectionLostError:
            self._device.wait_for_return()
            self._device.shell(self._killing())
            result = measure(model, remote, inputs, threads)
        hot = () if self._machine.emulated else throttling(result.drift, before, self._device.state())
        warnings = (*result.warnings, *hot, *(() if inputs else ON_NOISE))
        return replace(result, cores=f"0x{self._mask}" if self._mask else "", warnings=warnings)

    def _with_python(self, model: ModelFile, remote: str, inputs: Sequence[str], threads: int) -> Result:
        options = self._options
        output = f"{self._folder}/result.json"
        command = [self._python, self._runner, remote, "--json", output, "--threads", str(threads)]
        command += ["--runs", str(options.runs), "--warmup", str(options.warmup)]
        command += ["--inputs", *inputs] if inputs else []
        log, code = self._execute([*command, "--min-seconds", str(options.min_seconds)])
        if code != 0:
            raise self._broken(model, log, code)
        try:
            answer = _worker_answer(self._device.read_text(output))
        except ValueError as error:
            raise DeviceError(self._message(model, f"its result is garbled ({error})")) from error
        photos = by_photo(self._names(inputs), answer.samples_ms) if inputs else ()
        return Result(
            machine=self._device.serial,
            **model.facts,
            runner="worker",
            threads=threads,
            invoke=summarize(answer.samples_ms),
            photos=photos,
            drift=drift_in_turn(answer.samples_ms, photos),
            **asdict(answer),
        )

    def _names(self, inputs: Sequence[str]) -> list[str]:
        """File names of the photographs behind input files."""
        return [photo.name for photo in self._photos.photos[: len(inputs)]]

    def _with_tool(self, model: ModelFile, remote: str, inputs: Sequence[str], threads: int) -> Result:
        """The tool takes one input at a launch, so every photograph has launches of its own, in turn."""
        if format_of(model.path) is not TFLITE:
            raise DeviceError(f"{model.path}: benchmark_model reads .tflite files only")
        launches = [*inputs] * PASSES if inputs else [""] * QUARTERS
        launch = partial(self._run_tool, model, remote, threads)
        parts = [launch(one, len(launches)) for one in launches]
        invokes = [part.invoke for part in parts]
        photos = tuple(
            PhotoTiming(name, benchmark_model.pool(invokes[i :: len(inputs)]))
            for i, name in enumerate(self._names(inputs))
        )
        each = len(inputs) or 1
        first, last = (benchmark_model.pool(some).mean for some in (invokes[:each], invokes[-each:]))
        ordinary = sorted(range(each), key=lambda i: invokes[i].mean)[each // 2]
        profiled = launch(launches[ordinary], QUARTERS, profile=True) if self._options.profile else None
        runs = profiled.invoke.count if profiled else 0
        return Result(
            machine=self._device.serial,
            **model.facts,
            runtime="tflite",
            runner="benchmark_model",
            accelerator="gpu" if self._options.gpu else "cpu",
            threads=threads,
            invoke=benchmark_model.pool(invokes),
            photos=photos,
            drift=last / first,
            load_cold_ms=parts[0].init_ms,
            load_warm_ms=parts[-1].init_ms,
            first_invoke_ms=parts[0].first_invoke_ms,
            warnings=GPU_WARNINGS[parts[0].delegated] if self._options.gpu else (),
            peak_rss_kib=max(part.peak_memory_kib or 0 for part in parts) or None,
            profile=Profile(str(model.path), threads, runs, profiled.invoke.mean, profiled.operators)
            if profiled
            else None,
        )

    def _run_tool(
        self, model: ModelFile, remote: str, threads: int, inputs: str, launches: int, *, profile: bool = False
    ) -> benchmark_model.ToolOutput:
        """One launch of so many that share the runs, on an input file if one is named."""
        options = self._options
        flags = benchmark_model.arguments(
            remote,
            threads=threads,
            runs=-(-options.runs // launches),
            warmup=options.warmup,
            min_seconds=options.min_seconds / launches,
            gpu=options.gpu,
            profile=profile,
        )
        if inputs and model.card is not None:
            flags += benchmark_model.input_arguments(INPUT, (1, *model.card.input_size, 3), inputs)
        log, code = self._execute([self._runner, *flags])
        if code != 0:
            raise self._broken(model, log, code)
        try:
            return benchmark_model.parse(log)
        except ValueError as error:
            raise DeviceError(self._message(model, str(error))) from error

    def _execute(self, command: Sequence[str]) -> tuple[str, int]:
        """Run a program in the run's folder; returns what it printed and its exit code.

        The program's id goes into a file, so that cleaning up finds it and, where the device has `setsid`, whatever it
        started. Where the device has `timeout`, that ends it even if the connection never comes back.
        """
        bound = [*(["taskset", self._mask] if self._mask else []), *command]
        inner = f"echo $$ > pid; exec {shlex.join(bound)} > log 2>&1"
        limit = ["timeout", "-s", "KILL", f"{self._options.timeout + 30:.0f}"] if "timeout" in self._tools else []
        group = ["setsid"] if "setsid" in self._tools else []
        program = shlex.join([*limit, *group, "sh", "-c", inner])
        script = f"cd {shlex.quote(self._folder)} && : > log && {program}; code=$?; rm -f pid; exit $code"
        done = self._device.shell_once(script, self._options.timeout, doing="the runner")
        return done.stderr + self._device.read_text(f"{self._folder}/log"), done.code

    def _message(self, model: ModelFile, what: str) -> str:
        return f"device {self._device.serial}: {model.path.name}: {what}"

    def _broken(self, model: ModelFile, log: str, code: int) -> DeviceError:
        lines = log.strip().splitlines() or ["it printed nothing"]
        last = next((line for line in lines if "ERROR" in line), lines[-1])
        with contextlib.suppress(ValueError, TypeError, KeyError):
            last = json.loads(last)["error"]
        how = f"was killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
        return DeviceError(self._message(model, f"the runner {how}: {printable(last)[:200]}"))


GPU_WARNINGS = {
    "completely": (),
    "partially": ("the GPU runs a part of the graph only; the rest runs on the CPU",),
    "": ("the GPU delegate took nothing of the graph: these are times of the CPU",),
}


@dataclass(frozen=True)
class WorkerAnswer:
    """What `worker.py` writes, as far as a report holds it; the fields are those of `Result`."""

    runtime: str
    runtime_version: str
    load_cold_ms: float
    load_warm_ms: float
    first_invoke_ms: float
    peak_rss_kib: int | None
    rss_before_load_kib: int | None
    samples_ms: tuple[float, ...]


def _worker_answer(text: str) -> WorkerAnswer:
    answer: WorkerAnswer = decode(WorkerAnswer, json.loads(text))
    if min(answer.samples_ms, default=0.0) <= 0:
        raise ValueError("it holds no timing above 0")
    return answer
