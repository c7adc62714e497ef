"""One benchmark by the app on one phone: push, start, wait, pull, clean up."""

import contextlib
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.benchmarks.android import app, app_result
from maskconver_mobile.benchmarks.android.adb_client import ConnectionLostError, DeviceError
from maskconver_mobile.benchmarks.android.app_install import require_app
from maskconver_mobile.benchmarks.android.app_result import AppRefusalError, AppResult
from maskconver_mobile.benchmarks.android.device import Device
from maskconver_mobile.benchmarks.android.device_rules import throttling
from maskconver_mobile.benchmarks.android.device_run import CLEANUP_TIMEOUT_S, DeviceOptions
from maskconver_mobile.benchmarks.android.verification import Verification, Verifier
from maskconver_mobile.benchmarks.models import ModelFile
from maskconver_mobile.benchmarks.photos import ON_NOISE, PreparedPhotos, find_photos
from maskconver_mobile.benchmarks.report.results import Result
from maskconver_mobile.benchmarks.report.spread import by_photo, drift_in_turn
from maskconver_mobile.benchmarks.report.stats import summarize
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats import TFLITE, format_of
from maskconver_mobile.text import printable

START_TIMEOUT_S = 60.0


class AppRun:
    """Runs of the app on one phone; a context manager that leaves it stopped and no file but the cached models there.

    Attributes:
        version: of the app on the phone.
        emulated: the app says that the phone is an emulator.
    """

    def __init__(self, device: Device, options: DeviceOptions) -> None:
        self._device, self._options = device, options
        self._photos = PreparedPhotos(options.photos or find_photos())
        self._inputs: set[str] = set()
        self._verifiers: dict[str, Verifier] = {}
        self._run = ""
        self.version = ""
        self.emulated = False

    def __enter__(self) -> "AppRun":
        try:
            if self._options.cores:
                raise DeviceError(f"device {self._device.serial}: Android chooses the app's cores; leave --cores out")
            self.version = require_app(self._device, self._options.app)
            self._device.shell(f"chmod 755 {shlex.quote(self._device.folder)}")
        except BaseException:
            self._photos.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._photos.close()
        inputs = " ".join(map(shlex.quote, sorted(self._inputs)))
        parts = f"{shlex.quote(self._device.folder)}/*.part"
        command = f"{app.STOP}; rm -f {app.RESULTS}/{self._run or 'none'}.* {inputs} {parts}"
        with contextlib.suppress(DeviceError):
            try:
                self._device.shell_once(command, CLEANUP_TIMEOUT_S, stoppable=False)
            except ConnectionLostError:
                self._device.wait_for_return(stoppable=False)
                self._device.shell_once(command, CLEANUP_TIMEOUT_S, stoppable=False)

    def measure(self, model: ModelFile, threads: int) -> Result:
        """Push a model and the photographs, and time it.

        Raises:
            DeviceError: the phone or the app failed; the message says how.
        """
        if format_of(model.path) is not TFLITE:
            raise DeviceError(f"{model.path}: the app reads .tflite files only")
        if self._options.verify and model.card is None:
            raise DeviceError(f"{model.path}: has no model card, so that --verify knows no input for it")
        remote = self._device.push(model.path)
        inputs = [self._push_input(path) for path in self._photos.inputs(model.card)]
        self._device.cool_down(self._options.cool_down)
        self._run = secrets.token_hex(8)
        answer = self._answer(model, remote, inputs, threads)
        self._device.shell(app.STOP)
        verification = self._verify(model, answer, threads) if self._options.verify else None
        self._device.shell(f"rm -f {app.RESULTS}/{self._run}.*")
        self.emulated |= answer.device.emulated
        return self._result(model, threads, answer, verification)

    def _push_input(self, path: Path) -> str:
        remote = self._device.push(path)
        self._inputs.add(remote)
        return remote

    def _answer(self, model: ModelFile, remote: str, inputs: Sequence[str], threads: int) -> AppResult:
        options = self._options
        asked = app.AppOptions(
            threads=threads,
            runs=options.runs,
            warmup=options.warmup,
            min_seconds=options.min_seconds,
            gpu=options.gpu,
            half_precision=options.half_precision,
            profile=options.profile,
        )
        started = self._device.shell(f"{app.start(self._run, remote, inputs, asked)} 2>&1", START_TIMEOUT_S)
        why = app.start_failure(started.stdout)
        if why:
            raise self._failure(model, why)
        self._wait(model)
        text = self._device.read_text(f"{app.RESULTS}/{self._run}.json", app_result.MAX_BYTES)
        try:
            return app_result.parse(text, self._run, model.sha256, inputs)
        except AppRefusalError as error:
            raise self._failure(model, f"the app says: {str(error)[:300]}") from error
        except (ValueError, RecursionError) as error:
            raise self._failure(model, f"the app's result is garbled ({error})") from error

    def _wait(self, model: ModelFile) -> None:
        seconds = self._options.timeout
        # A lost connection is tried again by `shell`: the app goes on meanwhile.
        code = self._device.shell(app.wait(self._run, seconds), seconds + START_TIMEOUT_S).code
        if code == app.TOO_LONG:
            raise self._failure(model, f"took more than {seconds:.0f} s; ask for fewer runs or a longer --timeout")
        if code == app.GONE:
            raise self._failure(model, f"the app ended: {app.why_gone(self._device.shell(app.REASON).stdout)}")
        if code != 0:
            raise self._failure(model, f"waiting for the app ended with exit code {code}")

    def _verify(self, model: ModelFile, answer: AppResult, threads: int) -> Verification:
        written = {(output.input, output.name): (output.dtype, output.shape) for output in answer.outputs}

        def fetch(index: int, name: str, like: NDArray[Any]) -> NDArray[Any]:
            found = written.get((index, name))
            if found != (like.dtype.name, like.shape):
                raise self._failure(model, f"output {name} of the app is {found}; here {like.dtype.name} {like.shape}")
            content = self._device.read(f"{app.RESULTS}/{self._run}.{index}.{name}.bin", like.nbytes)
            if len(content) != like.nbytes:
                raise self._failure(model, f"output {name} of the app has {len(content)} bytes, not {like.nbytes}")
            return np.frombuffer(content, like.dtype.newbyteorder("<")).reshape(like.shape)

        try:
            if model.sha256 not in self._verifiers:
                self._verifiers[model.sha256] = Verifier(model.path, self._photos.photos, threads)
            return self._verifiers[model.sha256].compare(fetch)
        except DeviceError:
            raise
        except MaskConverError as error:
            raise self._failure(model, str(error)) from error

    def _result(self, model: ModelFile, threads: int, answer: AppResult, verification: Verification | None) -> Result:
        samples = answer.samples_ms
        inputs = self._photos.photos if model.card else ()
        photos = by_photo([photo.name for photo in inputs], samples) if inputs else ()
        slower = drift_in_turn(samples, photos)
        before, after = answer.before.known(), answer.after.known()
        hot = () if answer.device.emulated else throttling(slower, before, after)
        return Result(
            machine=self._device.serial,
            **model.facts,
            runtime=answer.runtime.name,
            runtime_version=answer.runtime.version,
            runner="app",
            accelerator=answer.accelerator.used,
            half_precision=answer.half_precision.in_use,
            threads=threads,
            invoke=summarize(samples),
            samples_ms=samples,
            photos=photos,
            load_cold_ms=answer.load_cold_ms,
            load_warm_ms=answer.load_warm_ms,
            first_invoke_ms=answer.first_invoke_ms,
            peak_rss_kib=answer.peak_rss_kib,
            rss_before_load_kib=answer.rss_before_load_kib,
            drift=slower,
            stages={stage: summarize(times) for stage, times in answer.stages_ms.items()},
            verification=verification,
            conditions={"before": before, "after": after},
            warnings=(*_warnings(answer), *hot, *(() if inputs else ON_NOISE)),
        )

    def _failure(self, model: ModelFile, what: str) -> DeviceError:
        return DeviceError(f"device {self._device.serial}: {model.path.name}: {printable(what)}")


def _warnings(answer: AppResult) -> list[str]:
    found = []
    if answer.accelerator.used != answer.accelerator.asked:
        found.append(f"ran on the {answer.accelerator.used.upper()}: {printable(answer.accelerator.reason)[:200]}")
    if answer.before.power_save:
        found.append("battery saver was on: turn it off, it slows the processor down")
    return found
