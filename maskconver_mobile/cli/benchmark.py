"""`maskconver-mobile benchmark` and `maskconver-mobile benchmark compare`."""

import datetime
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskconver_mobile.cli.parameters import (
    STDOUT,
    check_json_target,
    json_option,
    parse_numbers,
    refuse,
    write_json,
)
from maskconver_mobile.errors import MaskConverError

if TYPE_CHECKING:
    from maskconver_mobile.benchmarks.android.device_run import DeviceOptions
    from maskconver_mobile.benchmarks.host.session import HostOptions
    from maskconver_mobile.benchmarks.models import ModelFile
    from maskconver_mobile.benchmarks.report.results import Report, Result


class _RunByDefault(click.Group):
    """`benchmark MODEL...` means `benchmark run MODEL...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = args[0] if args else "--help"
        if first not in self.commands and first not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args or ["--help"])


@click.group(cls=_RunByDefault)
def command() -> None:
    """Measure models on this machine, or on phones with --adb.

    `benchmark MODEL...` is short for `benchmark run MODEL...`.

    \b
    maskconver-mobile benchmark maskconver_256.tflite maskconver_640.tflite --profile --output results
    maskconver-mobile benchmark maskconver_256.tflite --adb --verify --app
    maskconver-mobile benchmark compare before/benchmark.json after/benchmark.json
    maskconver-mobile benchmark report benchmark/benchmark.json phone/benchmark.json browser.json
    """


@command.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL...")
@click.option("--sizes", type=parse_numbers, metavar="N,N", help="Only models of these image sizes.")
@click.option("--threads", type=parse_numbers, metavar="N,N", help="Numbers of CPU threads, such as 1,2,4.")
@click.option("--runs", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Timed runs.")
@click.option("--warmup", type=click.IntRange(0, 10_000), default=5, show_default=True, help="Runs before them.")
@click.option("--min-seconds", type=click.FloatRange(0, 3600), default=0.0, help="Go on at least this long.")
@click.option("--profile", is_flag=True, help="Operator times as well; stages with the app.")
@click.option(
    "--images", type=click.Path(path_type=Path), help="Folder of photographs to run on, not the bundled ones."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("benchmark"),
    show_default=True,
    help="Folder for benchmark.json and benchmark.html.",
)
@click.option("--adb", is_flag=True, help="On a device instead of this machine.")
@click.option("--serial", help="Which device.")
@click.option("--all-devices", is_flag=True, help="All devices that are ready, at once.")
@click.option(
    "--app",
    type=click.Path(path_type=Path),
    is_flag=False,
    flag_value="android_demo/target/maskconver-mobile.apk",
    help="Install the app first: this APK, or the one that `make android` made.",
)
@click.option("--benchmark-binary", type=click.Path(path_type=Path), help="Google's benchmark_model, not the app.")
@click.option("--gpu", is_flag=True, help="Through the GPU delegate (device).")
@click.option("--half-precision/--no-half-precision", default=True, help="May the app compute in float16?")
@click.option("--verify", is_flag=True, help="The app's answers against this machine's, on the same input.")
@click.option(
    "--min-stable-agreement",
    type=click.FloatRange(0, 1),
    default=0.99,
    show_default=True,
    help="Exit with 1 if --verify finds fewer stable pixels of the same category.",
)
@click.option("--cores", default="", help="big, little, or a mask such as 0xf0 (device).")
@click.option("--cool-down", type=click.FloatRange(0, 3600), default=0.0, help="Wait at most so many seconds to cool.")
@click.option(
    "--timeout", type=click.FloatRange(1, 86_400), default=600.0, show_default=True, help="Of a run on the device."
)
@json_option
def run(
    models: tuple[Path, ...],
    sizes: tuple[int, ...] | None,
    output: Path,
    adb: bool,
    json_file: Path | None,
    **options: Any,
) -> int:
    """Measure models on photographs: latency, stages, memory, loading, and operators with --profile.

    Exit code 1 if --verify finds another answer on a phone.
    """
    from maskconver_mobile.benchmarks.models import find_models
    from maskconver_mobile.benchmarks.photos import find_photos
    from maskconver_mobile.files import ensure_writable

    _check(adb, options)
    found = find_models(models, sizes or ())
    ensure_writable(output / "benchmark.json")
    check_json_target(json_file)
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    settings = {"models": [str(path) for path in models], "sizes": sizes or (), "adb": adb, **options}
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
    options["photos"] = find_photos(options["images"])
    measure = _on_devices if adb else _on_host
    return measure(
        found, {**options, "json_file": json_file}, lambda **parts: _save(output, created, settings, **parts)
    )


@command.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--tolerance", type=click.FloatRange(0, 10), default=0.05, show_default=True, help="A smaller difference is none."
)
def compare(old: Path, new: Path, tolerance: float) -> int:
    """Compare two benchmark.json files; exit code 1 if something became slower beyond doubt."""
    from rich.table import Table

    from maskconver_mobile.benchmarks.report.compare import compare_reports
    from maskconver_mobile.benchmarks.report.results import Report
    from maskconver_mobile.cli.terminal import show

    table = Table("what", "old ms", "new ms", "new / old", "verdict")
    found = compare_reports(Report.load(old), Report.load(new), tolerance)
    for c in found:
        hidden = c.verdict == "emulated"
        times = ("", "", "") if hidden else (f"{c.old_ms:.2f}", f"{c.new_ms:.2f}", f"{c.ratio:.3f}")
        table.add_row(c.title, *times, c.verdict)
    show(table)
    return int(any(c.verdict == "slower" for c in found))


@command.command()
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="REPORT...")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("benchmark.html"),
    show_default=True,
    help="The page to write.",
)
def report(reports: tuple[Path, ...], output: Path) -> None:
    """Show several benchmark.json files on one page: of this machine, of phones, of browsers."""
    from maskconver_mobile.benchmarks.report.combine import combine
    from maskconver_mobile.benchmarks.report.page import save_html
    from maskconver_mobile.benchmarks.report.results import Report
    from maskconver_mobile.files import refuse_own_input

    refuse_own_input(output, *reports)
    loaded = [Report.load(path) for path in reports]
    save_html(combine(loaded, [str(path) for path in reports]), output)
    click.echo(f"{output} written", err=True)


BY_APP = ("app", "half_precision", "min_stable_agreement", "verify")
FOR_DEVICES = ("all_devices", "benchmark_binary", "cool_down", "cores", "gpu", "serial", "timeout", *BY_APP)


def _check(adb: bool, options: dict[str, Any]) -> None:
    """Options that make no sense together are a mistake, not a wish to be guessed."""
    if not adb:
        refuse(FOR_DEVICES, "is for devices; add --adb")
    if options["serial"] and options["all_devices"]:
        raise click.UsageError("--serial and --all-devices contradict each other; give one of them")
    if options["benchmark_binary"]:
        refuse(BY_APP, "is for the app; leave --benchmark-binary out")
    if not options["verify"]:
        refuse(("min_stable_agreement",), "needs --verify")


def _on_host(models: "Sequence[ModelFile]", options: dict[str, Any], save: "Callable[..., Report]") -> int:
    from maskconver_mobile.benchmarks.host import environment
    from maskconver_mobile.benchmarks.host.session import HostOptions, benchmark_host
    from maskconver_mobile.benchmarks.report.results import Machine, Result
    from maskconver_mobile.cli.progress import bar
    from maskconver_mobile.cli.terminal import shorten
    from maskconver_mobile.text import printable

    results: list[Result] = []
    partial = Machine("host", environment=environment.record(), error="interrupted or failed before its end")
    try:
        with bar() as shown:
            task = shown.add_task("Measuring", total=None)
            machine = benchmark_host(
                models,
                _options(HostOptions, options),
                lambda words, done, total: shown.update(
                    task, description=shorten(printable(words), 40), completed=done, total=total
                ),
                results.append,
            )
    except BaseException:
        if results:
            save(machines=(partial,), results=tuple(results), complete=False)
        raise
    _show(save(machines=(machine,), results=tuple(results), complete=True), options["json_file"])
    return 0


def _on_devices(models: "Sequence[ModelFile]", options: dict[str, Any], save: "Callable[..., Report]") -> int:
    from maskconver_mobile.benchmarks.android.adb import benchmark_devices
    from maskconver_mobile.benchmarks.android.adb_client import Adb, find_adb
    from maskconver_mobile.benchmarks.android.app_install import choose_apk
    from maskconver_mobile.benchmarks.android.device_run import DeviceOptions
    from maskconver_mobile.cli.terminal import say

    apk = None if options["app"] is None else choose_apk(options["app"])
    client = Adb(find_adb(), threading.Event())
    client.check_version()
    attached = client.choose(options["serial"], options["all_devices"])
    chosen: DeviceOptions = replace(_options(DeviceOptions, options), binary=options["benchmark_binary"], app=apk)
    outcomes = benchmark_devices(client, attached, models, chosen, lambda serial, words: say(f"{serial}: {words}"))
    failed = [outcome.machine for outcome in outcomes if outcome.machine.error]
    results = tuple(result for outcome in outcomes for result in outcome.results)
    if results or not failed:
        machines = tuple(outcome.machine for outcome in outcomes)
        _show(save(machines=machines, results=results, complete=not failed), options["json_file"])
    far = [line for result in results if (line := _too_far(result, options["min_stable_agreement"]))]
    for line in far:
        say(line)
    if client.stop.is_set():
        raise KeyboardInterrupt
    if len(failed) == 1:
        raise MaskConverError(failed[0].error)
    if failed:
        raise MaskConverError(f"{len(failed)} of {len(outcomes)} devices failed; the first: {failed[0].error}")
    return int(bool(far))


def _too_far(result: "Result", least: float) -> str:
    """A line where a phone's answer is another one, or nothing."""
    share = None if result.verification is None else result.verification.stable_agreement
    if share is None or share >= least:
        return ""
    return f"{result.machine}: {result.title}: {share:.4f} of the stable pixels are as here, below {least}"


def _options(kind: "type[HostOptions | DeviceOptions]", options: dict[str, Any]) -> Any:
    """The options that `kind` has a field for; those not given keep its defaults."""
    from dataclasses import fields

    names = {f.name for f in fields(kind)}
    return kind(**{name: value for name, value in options.items() if name in names and value is not None})


def _save(output: Path, created: str, settings: dict[str, Any], **parts: Any) -> "Report":
    from maskconver_mobile.benchmarks.report.page import save_html
    from maskconver_mobile.benchmarks.report.results import Report

    report = Report(created=created, settings=settings, **parts)
    report.save(output / "benchmark.json")
    save_html(report, output / "benchmark.html")
    click.echo(f"{output / 'benchmark.json'} and {output / 'benchmark.html'} written", err=True)
    return report


def _show(report: "Report", json_file: Path | None) -> None:
    from maskconver_mobile.benchmarks.report.page import notes, table
    from maskconver_mobile.cli.terminal import say, show

    if json_file is not None:
        write_json(json_file, report.to_json().rstrip())
    if json_file != STDOUT:
        show(table(report))
    for note in notes(report):
        say(note)
