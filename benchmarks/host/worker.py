"""Times one model in a process of its own: on the host, driven turn by turn, or on a device, in one go.

The model is loaded as `Segmenter` loads it. What this needs of the package (see `pack_worker.PARTS`) is NumPy and the
standard library, because it is also what is pushed to devices. It speaks JSON: one object a line on standard output, or
one object in a file. A failure is the object `{"error": "..."}` and exit code 1.

    worker model.tflite --threads 4 --inputs a b     serve requests on standard input, one a line:
                                                     `turn I S N`: on input file I (0 is the first) S ms of untimed
                                                     runs, then N timed ones
                                                     `reload`: load the model once more
    worker model.onnx --json out.json --runs 50      in one go; input files take turns, run by run

An input file is an .npz of arrays by tensor name, or anything else: the raw values of the model's only input. Without
one the input is noise.
"""

import argparse
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import read_model_bytes
from maskconver_mobile.formats import format_of, missing
from maskconver_mobile.formats.engines import Arrays, Engine, Specs, open_engine

SEED = 0


def random_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The same pseudo-random tensor on every call: full range for integers, standard normal for floats."""
    generator = np.random.default_rng(SEED)
    kind = np.dtype(dtype)
    if kind == np.bool_:
        return generator.integers(0, 2, shape).astype(kind)
    if np.issubdtype(kind, np.integer):
        limits = np.iinfo(kind)
        return generator.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    return generator.standard_normal(shape).astype(kind)


def noise(inputs: Specs) -> Arrays:
    """A `random_array` for every input."""
    return {name: random_array(shape, dtype) for name, (shape, dtype) in inputs.items()}


def read_input(path: str, inputs: Specs) -> Arrays:
    """The content of an input file; see the top of this file.

    Raises:
        ValueError: raw values are not as many as the model's only input takes.
    """
    if path.endswith(".npz"):
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays}
    if len(inputs) != 1:
        raise ValueError(f"{path}: holds raw values, which a model of one input takes; this one has {sorted(inputs)}")
    ((name, (shape, dtype)),) = inputs.items()
    values = np.fromfile(path, dtype)
    if values.size != int(np.prod(shape)):
        raise ValueError(f"{path}: holds {values.size} values and input {name!r} takes {dtype} {list(shape)}")
    return {name: values.reshape(shape)}


def checked(values: Arrays, inputs: Specs) -> Arrays:
    """The values of every input.

    Raises:
        ValueError: one is missing, or of another shape or type than the model takes.
    """
    for name, (shape, dtype) in inputs.items():
        if name not in values:
            raise ValueError(f"input {name!r} is missing; given are {sorted(values)}")
        value = values[name]
        if value.shape != shape or value.dtype != dtype:
            raise ValueError(
                f"input {name!r} is {value.dtype} {list(value.shape)} and the model takes {dtype} {list(shape)}"
            )
    return {name: values[name] for name in inputs}


class Feeder:
    """Feeds a model from input files, or with noise where there are none."""

    def __init__(self, engine: Engine, files: Sequence[str]) -> None:
        self.engine, self._files, self._fed = engine, files, -1

    def feed(self, turn: int) -> None:
        """Set the inputs to those of a file; turns beyond the last begin again with the first."""
        index = turn % len(self._files) if self._files else 0
        if index != self._fed:
            inputs = self.engine.inputs
            self.engine.feed(checked(read_input(self._files[index], inputs), inputs) if self._files else noise(inputs))
            self._fed = index


def open_model(model: str, threads: int) -> Engine:
    """Load a model with the runtime of its format.

    Raises:
        MaskConverError: the format is unknown, its runtime is not installed, or refuses the file.
    """
    path = Path(model)
    format = format_of(path)
    try:
        return open_engine(format, read_model_bytes(path), threads)
    except ImportError as error:
        raise missing(path, format) from error
    except ValueError as error:
        raise MaskConverError(f"{path}: {format.package} cannot load it: {error}") from error


def peak_rss_kib() -> int | None:
    """Largest resident memory of this process so far, in KiB; None where the system does not tell.

    `VmHWM` starts anew with the program; `ru_maxrss` may still hold what the parent used before it.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        try:
            import resource
        except ImportError:  # Windows
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak


def timed_ms(engine: Engine) -> float:
    """Wall time of one run, in milliseconds."""
    started = time.perf_counter_ns()
    engine.invoke()
    return (time.perf_counter_ns() - started) / 1e6


def settle(engine: Engine, milliseconds: int) -> None:
    """Run untimed for that long (0: not at all)."""
    left = float(milliseconds)
    while left > 0:
        left -= timed_ms(engine)


def evict(path: str) -> None:
    """Ask the system to forget a file's cached pages, so that reading it is cold; best effort."""
    if hasattr(os, "posix_fadvise"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def load_ms(model: str, threads: int) -> float:
    """How long it takes to load the model once more, in milliseconds."""
    started = time.perf_counter()
    open_model(model, threads)
    return 1e3 * (time.perf_counter() - started)


def load(model: str, threads: int, files: Sequence[str]) -> tuple[Feeder, dict[str, Any]]:
    """Load a model, run it once on the first input, and say how long each took and on what."""
    format = format_of(Path(model))
    try:
        __import__("ai_edge_litert.interpreter" if format.runtime == "litert" else "onnxruntime")
    except ImportError as error:
        raise missing(Path(model), format) from error
    before = peak_rss_kib()
    evict(model)
    started = time.perf_counter()
    feeder = Feeder(open_model(model, threads), files)
    loaded = time.perf_counter()
    feeder.feed(0)
    return feeder, {
        "runtime": format.runtime,
        "runtime_version": importlib.metadata.version(format.package),
        "load_cold_ms": 1e3 * (loaded - started),
        "first_invoke_ms": timed_ms(feeder.engine),
        "rss_before_load_kib": before,
    }


def serve(model: str, threads: int, files: Sequence[str]) -> None:
    """Load, say so, then answer every line on standard input until it ends."""
    feeder, facts = load(model, threads, files)
    _say(facts)
    for line in sys.stdin:
        request, *numbers = line.split()
        if request == "reload":
            _say({"load_warm_ms": load_ms(model, threads)})
            continue
        turn, settle_ms, runs = (int(number) for number in numbers)
        feeder.feed(turn)
        settle(feeder.engine, settle_ms)
        _say({"samples_ms": [timed_ms(feeder.engine) for _ in range(runs)], "peak_rss_kib": peak_rss_kib()})


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Warm up and time `options.runs` runs, or what `options.min_seconds` ask for; every input equally often."""
    feeder, facts = load(options.model, options.threads, options.inputs)
    engine = feeder.engine
    for _ in range(options.warmup):
        engine.invoke()
    inputs = max(len(options.inputs), 1)
    samples: list[float] = []
    started = time.perf_counter()
    while len(samples) < options.runs or time.perf_counter() - started < options.min_seconds or len(samples) % inputs:
        feeder.feed(len(samples))
        samples.append(timed_ms(engine))
    if options.outputs:
        np.savez(options.outputs, **engine.results())  # type: ignore[arg-type]
    peak = peak_rss_kib()
    return {
        **facts,
        "load_warm_ms": load_ms(options.model, options.threads),
        "samples_ms": samples,
        "peak_rss_kib": peak,
    }


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def main() -> int:
    """Read the command line; see the top of this file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--inputs", nargs="+", default=[], help="input files")
    parser.add_argument("--json", help="run in one go and write the result here")
    parser.add_argument("--outputs", help="write the last outputs to this .npz file")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--min-seconds", type=float, default=0.0)
    options = parser.parse_args()
    try:
        if not options.json:
            serve(options.model, options.threads, options.inputs)
            return 0
        result = run(options)
    except (MaskConverError, ValueError, OSError) as error:
        _say({"error": str(error).removeprefix(f"{options.model}: ")})
        return 1
    with open(options.json + ".part", "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(options.json + ".part", options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
