"""Everything there is to measure on the host: each runtime and number of threads, stages and operator times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from maskconver_mobile.benchmarks.host import environment
from maskconver_mobile.benchmarks.host.latency import ModelTiming, measure
from maskconver_mobile.benchmarks.host.operator_times import profile
from maskconver_mobile.benchmarks.host.stages import measure_stages
from maskconver_mobile.benchmarks.models import ModelFile
from maskconver_mobile.benchmarks.photos import ON_NOISE, find_photos
from maskconver_mobile.benchmarks.report.results import Machine, Result
from maskconver_mobile.benchmarks.report.spread import drift_in_turn
from maskconver_mobile.benchmarks.report.stats import THROTTLED


@dataclass(frozen=True)
class HostOptions:
    """How to benchmark on the host.

    Attributes:
        threads: each number of CPU threads to measure.
        runs: timed rounds, at least.
        warmup: runs of each model before them.
        min_seconds: go on until the timed rounds have lasted this long.
        profile: operator times as well.
        photos: photographs to run on; the bundled ones where empty.
    """

    threads: tuple[int, ...] = (2,)
    runs: int = 50
    warmup: int = 5
    min_seconds: float = 0.0
    profile: bool = False
    photos: tuple[Path, ...] = ()


def benchmark_host(
    models: Sequence[ModelFile],
    options: HostOptions,
    progress: Callable[[str, int, int], None],
    keep: Callable[[Result], None],
) -> Machine:
    """Measure all models on this machine, interleaved for every number of threads.

    Args:
        models: what to measure; the first is the baseline of the ratios.
        options: how.
        progress: called with a few words, steps done and steps expected.
        keep: called with every result as soon as it is there.

    Raises:
        MaskConverError: a model cannot be loaded, or dies.
    """
    found = environment.record()
    photos = options.photos or find_photos()
    for threads in options.threads:
        words = f"{len(models)} models, {threads} threads" if len(models) > 1 else f"{threads} threads"
        timings = measure(
            [model.path for model in models],
            threads=threads,
            runs=options.runs,
            warmup=options.warmup,
            min_seconds=options.min_seconds,
            photos=photos,
            progress=partial(progress, words),
        ).models
        for model, timing in zip(models, timings, strict=True):
            progress(f"{model.path.name}: stages and operators", 0, 1)
            keep(_result(model, timing, threads, options, photos))
    return Machine("host", environment=found, warnings=environment.busy_warning(found))


def _result(
    model: ModelFile, timing: ModelTiming, threads: int, options: HostOptions, photos: Sequence[Path]
) -> Result:
    slower = drift_in_turn(timing.samples_ms, timing.photos)
    warnings = (f"slowed down by {slower - 1:.0%} from its first quarter to its last",)
    by_photo, stages = timing.photos, {}
    if model.card:
        found = measure_stages(model.path, threads, options.runs, photos)
        stages = found.stages
        by_photo = tuple(replace(photo, stages=own) for photo, own in zip(by_photo, found.photos, strict=True))
    return Result(
        machine="host",
        **model.facts,
        runtime=timing.runtime,
        runtime_version=timing.runtime_version,
        runner="worker",
        threads=threads,
        invoke=timing.invoke,
        samples_ms=timing.samples_ms,
        photos=by_photo,
        load_cold_ms=timing.load_cold_ms,
        load_warm_ms=timing.load_warm_ms,
        first_invoke_ms=timing.first_invoke_ms,
        peak_rss_kib=timing.peak_rss_kib,
        rss_before_load_kib=timing.rss_before_load_kib,
        drift=slower,
        ratio_to_first=timing.ratio_to_first,
        stages=stages,
        profile=profile(model.path, threads, photos=photos) if options.profile else None,
        warnings=(*(warnings if slower > THROTTLED else ()), *(() if timing.photos else ON_NOISE)),
    )
