"""Latency of models on this machine, interleaved so that they share whatever the machine does meanwhile.

    python -m maskconver_mobile.benchmarks.host.latency a.tflite b.tflite --threads 2

Every model runs in a process of its own. Within one process, models that are loaded later were seen to run up to
40% slower than the very same file loaded first.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskconver_mobile.benchmarks.host.process import WorkerProcess
from maskconver_mobile.benchmarks.models import card_of
from maskconver_mobile.benchmarks.photos import PreparedPhotos, find_photos
from maskconver_mobile.benchmarks.report.spread import PhotoTiming, Spread, by_photo, spread
from maskconver_mobile.benchmarks.report.stats import Ratio, Statistics, ratio, summarize
from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError

MAX_ROUNDS = 100_000
SETTLE_MS = 150


@dataclass(frozen=True)
class ModelTiming:
    """What was measured of one model.

    Attributes:
        model: path as given.
        sha256: of the file.
        size_bytes: of the file.
        runtime: `litert` or `onnxruntime`.
        runtime_version: version of that package.
        load_cold_ms: time to load it in a fresh process, with the file out of the page cache (as far as the system
            grants that).
        load_warm_ms: the same again in that process.
        first_invoke_ms: the first run, before any warm-up.
        peak_rss_kib: largest resident memory of its process; None where the system does not tell.
        rss_before_load_kib: the part that Python and the runtime's library take before the model.
        samples_ms: one timing a round, in the order taken.
        invoke: the samples, described.
        photos: the same by photograph; empty for a model that ran on noise, as it has no card.
        ratio_to_first: per-round ratio to the first model of the call; None for the first itself.
    """

    model: str
    sha256: str
    size_bytes: int
    runtime: str
    runtime_version: str
    load_cold_ms: float
    load_warm_ms: float
    first_invoke_ms: float
    peak_rss_kib: int | None
    rss_before_load_kib: int | None
    samples_ms: tuple[float, ...]
    invoke: Statistics
    photos: tuple[PhotoTiming, ...]
    ratio_to_first: Ratio | None

    @property
    def spread(self) -> Spread | None:
        """The time over photographs; None if it ran on none."""
        return spread(self.photos)


@dataclass(frozen=True)
class Measurement:
    """One call of `measure`.

    Attributes:
        threads: threads of the CPU kernels.
        warmup: untimed rounds before the first timed one.
        rounds: timed rounds; each times every model once.
        seconds: from the first timed round to the last.
        models: in the order given.
    """

    threads: int
    warmup: int
    rounds: int
    seconds: float
    models: tuple[ModelTiming, ...]


def measure(
    models: Sequence[Path],
    *,
    threads: int = 2,
    runs: int = 50,
    warmup: int = 5,
    min_seconds: float = 0.0,
    photos: Sequence[Path] | None = None,
    cards: Mapping[Path, ModelCard] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Measurement:
    """Time several models, round after round (A B, B A, A B, ...), each in its own process.

    Each round runs one photograph through all models, the next round the next one. Every photograph has the same number
    of rounds. A model without a card runs on noise, for nobody knows what it takes.

    With more than one model every timed run follows untimed ones of the same model: they fill the caches again and
    outlast the threads that the previous model leaves spinning.

    Args:
        models: .tflite, .onnx or .ort files; the first is the baseline of the ratios.
        threads: threads of the CPU kernels.
        runs: timed rounds, at least.
        warmup: untimed runs of each model before them.
        min_seconds: go on until the timed rounds have lasted this long.
        photos: image files; the bundled ones if not given.
        cards: stand for those of models that carry none.
        progress: called after every timed round with the rounds done and the rounds expected.

    Raises:
        MaskConverError: a model cannot be loaded or dies, or a number is out of range.
    """
    if not models or threads < 1 or not 1 <= runs <= MAX_ROUNDS or warmup < 0 or min_seconds < 0:
        raise MaskConverError(
            f"expected at least one model, threads >= 1, 1 <= runs <= {MAX_ROUNDS}, warmup and min_seconds >= 0; "
            f"got {len(models)} models, threads={threads}, runs={runs}, warmup={warmup}, min_seconds={min_seconds}"
        )
    photos = find_photos() if photos is None else photos
    with contextlib.ExitStack() as stack:
        prepared = stack.enter_context(PreparedPhotos(photos))
        workers, files = [], []
        for model in models:
            files.append(prepared.inputs(card_of(model) or (cards or {}).get(model)))
            workers.append(stack.enter_context(WorkerProcess(model, threads, files[-1])))
            workers[-1].turn(warmup)
        step = max(map(len, files)) or 1
        samples, seconds = _rounds(workers, runs, min_seconds, step, progress or (lambda done, expected: None))
        warm = [worker.reload() for worker in workers]
    names = [photo.name for photo in photos]
    timings = tuple(
        _timing(
            model,
            workers[i],
            warm[i],
            samples[i],
            by_photo(names, samples[i]) if files[i] else (),
            ratio(samples[i], samples[0]) if i else None,
        )
        for i, model in enumerate(models)
    )
    return Measurement(threads, warmup, len(samples[0]), seconds, timings)


def _rounds(
    workers: Sequence[WorkerProcess],
    runs: int,
    min_seconds: float,
    step: int,
    progress: Callable[[int, int], None],
) -> tuple[list[list[float]], float]:
    samples: list[list[float]] = [[] for _ in workers]
    settle_ms = SETTLE_MS if len(workers) > 1 else 0
    started = time.perf_counter()
    for done in _until(runs, min_seconds, step, started):
        photo_pass, photo = divmod(done - 1, step)
        order = range(len(workers))
        for i in order if (photo_pass + photo) % 2 == 0 else reversed(order):
            samples[i].append(workers[i].turn(1, settle_ms, inputs=done - 1)[0])
        progress(done, max(-(-runs // step) * step, round(done * min_seconds / (time.perf_counter() - started))))
    return samples, time.perf_counter() - started


def _until(runs: int, min_seconds: float, step: int, started: float) -> Iterator[int]:
    """Count from 1 to at least `runs`, to a multiple of `step`, and until the time is over."""
    done = 0
    while done < runs or done % step or (time.perf_counter() - started < min_seconds and done < MAX_ROUNDS):
        done += 1
        yield done


def _timing(
    model: Path,
    worker: WorkerProcess,
    warm_ms: float,
    samples: list[float],
    photos: tuple[PhotoTiming, ...],
    against: Ratio | None,
) -> ModelTiming:
    return ModelTiming(
        model=str(model),
        sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        size_bytes=model.stat().st_size,
        runtime=worker.facts["runtime"],
        runtime_version=worker.facts["runtime_version"],
        load_cold_ms=worker.facts["load_cold_ms"],
        load_warm_ms=warm_ms,
        first_invoke_ms=worker.facts["first_invoke_ms"],
        peak_rss_kib=worker.peak_rss_kib,
        rss_before_load_kib=worker.facts["rss_before_load_kib"],
        samples_ms=tuple(samples),
        invoke=summarize(samples),
        photos=photos,
        ratio_to_first=against,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line for each model: a quick look without a report."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m maskconver_mobile.benchmarks.host.latency", description=main.__doc__
    )
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--min-seconds", type=float, default=0.0)
    parser.add_argument("--images", type=Path, help="folder of photographs; the bundled ones if not given")
    options = vars(parser.parse_args(argv))
    try:
        photos = find_photos(options.pop("images"))
        result = measure(photos=photos, **options)
    except MaskConverError as error:
        parser.error(str(error))
    print(f"{'median':>9} {'p90':>9} {'worst':>9} {'noise':>9}  {'ratio to first':<22} model (slowest photograph)")
    for timing in result.models:
        r = timing.ratio_to_first
        against = f"{r.median:.3f} [{r.p25:.3f}, {r.p75:.3f}]" if r else "1"
        print(f"{_figures(timing)}  {against:<22} {timing.model} ({_slowest(timing)})")


def _figures(timing: ModelTiming) -> str:
    found, half = timing.spread, timing.invoke.middle_half
    figures: tuple[float | None, ...] = (timing.invoke.p50, timing.invoke.p90, None, half and half[1] - half[0])
    if found is not None:
        figures = (found.median, found.p90, found.worst, found.noise)
    return " ".join(" " * 9 if figure is None else f"{figure:9.3f}" for figure in figures)


def _slowest(timing: ModelTiming) -> str:
    return "on noise: it has no model card" if timing.spread is None else timing.spread.worst_photo


if __name__ == "__main__":
    main()
