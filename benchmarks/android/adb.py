"""Benchmarks on devices behind adb, on several at once."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from maskconver_mobile.benchmarks.android.adb_client import Adb, Attached, Interrupted
from maskconver_mobile.benchmarks.android.app_install import installed_version
from maskconver_mobile.benchmarks.android.app_run import AppRun
from maskconver_mobile.benchmarks.android.device import Device
from maskconver_mobile.benchmarks.android.device_rules import advice
from maskconver_mobile.benchmarks.android.device_run import DeviceOptions, DeviceRun
from maskconver_mobile.benchmarks.models import ModelFile
from maskconver_mobile.benchmarks.report.results import Machine, Result
from maskconver_mobile.errors import MaskConverError


@dataclass
class DeviceOutcome:
    """What came of one device; `results` holds what was measured before anything went wrong."""

    machine: Machine
    results: list[Result] = field(default_factory=list)


Progress = Callable[[str, str], None]


def benchmark_devices(
    adb: Adb, attached: Sequence[Attached], models: Sequence[ModelFile], options: DeviceOptions, progress: Progress
) -> list[DeviceOutcome]:
    """Benchmark all devices at once, each from a thread of its own.

    A device that fails, or an interrupt, ends with what it had; `machine.error` says why. An interrupt (Ctrl-C) is
    handed to every device, which stops what runs there, before this returns.

    Args:
        adb: the client.
        attached: the devices.
        models: what to measure.
        options: how.
        progress: called with serial and a few words, from any thread.
    """
    outcomes = [DeviceOutcome(Machine(device.serial)) for device in attached]
    with ThreadPoolExecutor(max_workers=len(attached)) as threads:
        futures = [threads.submit(_benchmark, adb, outcome, models, options, progress) for outcome in outcomes]
        _wait(futures, adb.stop)
    for future in futures:
        future.result()
    return outcomes


def _wait(futures: Sequence[Future[None]], stop: threading.Event) -> None:
    while not all(future.done() for future in futures):
        with _setting_on_interrupt(stop):
            wait(futures, timeout=0.5)


@contextlib.contextmanager
def _setting_on_interrupt(stop: threading.Event) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        stop.set()


def _by_app(
    device: Device, outcome: DeviceOutcome, models: Sequence[ModelFile], options: DeviceOptions, progress: Progress
) -> None:
    machine = outcome.machine
    # The app turns the screen on itself: what is on top of it runs on the fast cores.
    own_advice = advice({**machine.environment, "screen_on": None})
    progress(device.serial, "starting the app")
    with AppRun(device, options) as run:
        environment = {**machine.environment, "app": run.version}
        outcome.machine = replace(machine, environment=environment, warnings=own_advice)
        try:
            _measure_all(run, outcome, models, options, progress)
        finally:
            outcome.machine = replace(outcome.machine, emulated=machine.emulated or run.emulated)


def _measure_all(
    run: AppRun | DeviceRun,
    outcome: DeviceOutcome,
    models: Sequence[ModelFile],
    options: DeviceOptions,
    progress: Progress,
) -> None:
    for model in models:
        for threads in options.threads:
            progress(outcome.machine.id, f"{model.path.name}, {threads} threads")
            outcome.results.append(run.measure(model, threads))


def _benchmark(
    adb: Adb, outcome: DeviceOutcome, models: Sequence[ModelFile], options: DeviceOptions, progress: Progress
) -> None:
    serial = outcome.machine.id
    try:
        device = Device(adb, serial)
        progress(serial, "identifying")
        environment = device.identify()
        emulated = bool(environment.pop("emulated"))
        outcome.machine = Machine(serial, emulated, environment, warnings=advice(environment))
        if options.binary is None and (options.app is not None or installed_version(device) is not None):
            _by_app(device, outcome, models, options, progress)
        else:
            with DeviceRun(adb, device, outcome.machine, options) as run:
                _measure_all(run, outcome, models, options, progress)
        progress(serial, "done")
    except Interrupted:
        outcome.machine = replace(outcome.machine, error="interrupted")
    except MaskConverError as error:
        outcome.machine = replace(outcome.machine, error=str(error))
        progress(serial, f"failed: {error}")
    except Exception as error:  # nothing that one device answers may cost the results of the others
        what = " ".join(repr(error).split())[:200]
        message = f"device {serial}: answered what is not understood ({what}); please report this"
        outcome.machine = replace(outcome.machine, error=message)
        progress(serial, f"failed: {message}")
