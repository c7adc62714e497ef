"""Latency of models on this machine, interleaved so that they share whatever the machine does meanwhile.

    python -m maskconver_mobile.benchmarks.host a.tflite b.tflite --threads 2

Every model runs in a process of its own. Within one process, models that are loaded later were seen to run up to
40% slower than the very same file loaded first.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskconver_mobile.benchmarks.process import WorkerProcess
from maskconver_mobile.benchmarks.stats import Ratio, Statistics, ratio, summarize
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
        load_cold_ms: time to load it and set its inputs, in a fresh process with the file out of the page cache
            (as far as the system grants that).
        load_warm_ms: the same again in that process.
        first_invoke_ms: the first run, before any warm-up.
        peak_rss_kib: largest resident memory of its process.
        rss_before_load_kib: the part that Python and the runtime's library take before the model.
        samples_ms: one timing a round, in the order taken.
        invoke: the samples, described.
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
    peak_rss_kib: int
    rss_before_load_kib: int
    samples_ms: tuple[float, ...]
    invoke: Statistics
    ratio_to_first: Ratio | None


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
    inputs: Mapping[Path, Mapping[str, Any]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Measurement:
    """Time several models, round after round (A B, B A, A B, ...), each in its own process.

    With more than one model every timed run follows untimed ones of the same model: they fill the caches again and
    outlast the threads that the previous model leaves spinning.

    Args:
        models: .tflite, .onnx or .ort files; the first is the baseline of the ratios.
        threads: threads of the CPU kernels.
        runs: timed rounds, at least.
        warmup: untimed runs of each model before them.
        min_seconds: go on until the timed rounds have lasted this long.
        inputs: arrays by tensor name for each model; deterministic random ones where left out.
        progress: called after every timed round with the rounds done and the rounds expected.

    Raises:
        MaskConverError: a model cannot be loaded or dies, or a number is out of range.
    """
    if not models or threads < 1 or not 1 <= runs <= MAX_ROUNDS or warmup < 0 or min_seconds < 0:
        raise MaskConverError(
            f"expected at least one model, threads >= 1, 1 <= runs <= {MAX_ROUNDS}, warmup and min_seconds >= 0; "
            f"got {len(models)} models, threads={threads}, runs={runs}, warmup={warmup}, min_seconds={min_seconds}"
        )
    with contextlib.ExitStack() as stack:
        workers = []
        for model in models:
            workers.append(stack.enter_context(WorkerProcess(model, threads, (inputs or {}).get(model))))
            workers[-1].turn(warmup)
        samples, seconds = _rounds(workers, runs, min_seconds, progress or (lambda done, expected: None))
        warm = [worker.reload() for worker in workers]
    timings = tuple(
        _timing(models[i], workers[i], warm[i], samples[i], ratio(samples[i], samples[0]) if i else None)
        for i in range(len(models))
    )
    return Measurement(threads, warmup, len(samples[0]), seconds, timings)


def _rounds(
    workers: Sequence[WorkerProcess], runs: int, min_seconds: float, progress: Callable[[int, int], None]
) -> tuple[list[list[float]], float]:
    samples: list[list[float]] = [[] for _ in workers]
    order = list(range(len(workers)))
    settle_ms = SETTLE_MS if len(workers) > 1 else 0
    started = time.perf_counter()
    for done in _until(runs, min_seconds, started):
        for i in order:
            samples[i].append(workers[i].turn(1, settle_ms)[0])
        order.reverse()
        progress(done, max(runs, round(done * min_seconds / (time.perf_counter() - started))))
    return samples, time.perf_counter() - started


def _until(runs: int, min_seconds: float, started: float) -> Iterator[int]:
    done = 0
    while done < runs or (time.perf_counter() - started < min_seconds and done < MAX_ROUNDS):
        done += 1
        yield done


def _timing(
    model: Path, worker: WorkerProcess, warm_ms: float, samples: list[float], against: Ratio | None
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
        ratio_to_first=against,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line for each model: a quick look without a report."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m maskconver_mobile.benchmarks.host", description=main.__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--min-seconds", type=float, default=0.0)
    options = parser.parse_args(argv)
    try:
        result = measure(**vars(options))
    except MaskConverError as error:
        parser.error(str(error))
    print(f"{'p50':>9} {'p90':>9} {'p95':>9} {'min':>9} {'std':>8}  {'ratio to first':<22} model")
    for timing in result.models:
        s, r = timing.invoke, timing.ratio_to_first
        times = f"{s.p50:9.3f} {s.p90:9.3f} {s.p95:9.3f} {s.min:9.3f} {s.std:8.3f}"
        against = f"{r.median:.3f} [{r.p25:.3f}, {r.p75:.3f}]" if r else "1"
        print(f"{times}  {against:<22} {timing.model}")


if __name__ == "__main__":
    main()
