"""Times one model in a process of its own: on the host, driven turn by turn, or on a device, in one go.

This file stands alone (standard library, numpy and one inference runtime), because it is also what is pushed to
devices. It speaks JSON: one object a line on standard output, or one object in a file. A failure is the object
`{"error": "..."}` and exit code 1.

    python worker.py model.tflite --threads 4 --inputs a b     serve requests on standard input, one a line:
                                                               `turn I S N`: on input file I (0 is the first) S ms of
                                                               untimed runs, then N timed ones
                                                               `reload`: load the model once more
    python worker.py model.onnx --json out.json --runs 50      in one go; input files take turns, run by run

An input file is an .npz of arrays by tensor name, or anything else: the raw values of the model's only input. Without
one the input is noise.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]
Specs = dict[str, tuple[tuple[int, ...], "np.dtype[Any]"]]

RUNTIMES = {".tflite": "litert", ".onnx": "onnxruntime", ".ort": "onnxruntime"}
PACKAGES = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime"}
SEED = 0


class Runner(Protocol):
    """A loaded model that is fed and then invoked again and again; `inputs` is what it takes, by tensor name."""

    inputs: Specs

    def feed(self, values: Arrays) -> None:
        """Set all inputs."""

    def invoke(self) -> None:
        """Run the model once on its inputs."""

    def outputs(self) -> Arrays:
        """What the last `invoke` computed, by tensor name."""


class LiteRtRunner:
    """LiteRT's interpreter on the CPU, with the XNNPACK delegate it applies by itself."""

    def __init__(self, model: str, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=model, num_threads=threads)
        self._interpreter.allocate_tensors()
        details = self._interpreter.get_input_details()
        self._indices = {detail["name"]: detail["index"] for detail in details}
        self.inputs: Specs = {d["name"]: (tuple(int(v) for v in d["shape"]), np.dtype(d["dtype"])) for d in details}

    def feed(self, values: Arrays) -> None:
        """Set all inputs."""
        for name, value in checked(values, self.inputs).items():
            self._interpreter.set_tensor(self._indices[name], value)

    def invoke(self) -> None:
        """Run the model once on its inputs."""
        self._interpreter.invoke()

    def outputs(self) -> Arrays:
        """What the last `invoke` computed, by tensor name."""
        details = self._interpreter.get_output_details()
        return {detail["name"]: self._interpreter.get_tensor(detail["index"]) for detail in details}


class OnnxRunner:
    """ONNX Runtime's CPU execution provider; with `profile_prefix` it writes its event trace under that path."""

    def __init__(self, model: str, threads: int, profile_prefix: str = "") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if profile_prefix:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.inputs: Specs = {
            node.name: (tuple(v if isinstance(v, int) else 1 for v in node.shape), onnx_dtype(node.type))
            for node in self.session.get_inputs()
        }
        self._feed: Arrays = {}
        self._names = [node.name for node in self.session.get_outputs()]
        self._values: list[npt.NDArray[Any]] = []

    def feed(self, values: Arrays) -> None:
        """Set all inputs."""
        self._feed = checked(values, self.inputs)

    def invoke(self) -> None:
        """Run the model once on its inputs."""
        self._values = self.session.run(None, self._feed)

    def outputs(self) -> Arrays:
        """What the last `invoke` computed, by tensor name."""
        return dict(zip(self._names, self._values, strict=True))


def onnx_dtype(name: str) -> np.dtype[Any]:
    """NumPy's dtype for ONNX Runtime's type string, such as `tensor(float)`."""
    inner = name.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(inner, inner))


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
    """Feeds a runner from input files, or with noise where there are none."""

    def __init__(self, runner: Runner, files: Sequence[str]) -> None:
        self.runner, self._files, self._fed = runner, files, -1

    def feed(self, turn: int) -> None:
        """Set the inputs to those of a file; turns beyond the last begin again with the first."""
        index = turn % len(self._files) if self._files else 0
        if index != self._fed:
            inputs = self.runner.inputs
            self.runner.feed(read_input(self._files[index], inputs) if self._files else noise(inputs))
            self._fed = index


def open_runner(model: str, threads: int) -> Runner:
    """Load a model with the runtime that its suffix names.

    Raises:
        ValueError: the suffix is unknown, the runtime is missing, or the runtime refuses the file.
    """
    runtime = runtime_of(model)
    opener = LiteRtRunner if runtime == "litert" else OnnxRunner
    try:
        return opener(model, threads)
    except ImportError as error:
        raise ValueError(f"{runtime} is not installed; pip install {PACKAGES[runtime]}") from error
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        raise ValueError(f"{runtime} cannot load it: {' '.join(str(error).split())[:300]}") from error


def runtime_of(model: str) -> str:
    """Name of the runtime that a file's suffix asks for.

    Raises:
        ValueError: no runtime reads such a file.
    """
    suffix = os.path.splitext(model)[1]
    if suffix not in RUNTIMES:
        raise ValueError(f"expected a model file ending in {', '.join(RUNTIMES)}")
    return RUNTIMES[suffix]


def peak_rss_kib() -> int:
    """Largest resident memory of this process so far, in KiB.

    `VmHWM` starts anew with the program; `ru_maxrss` may still hold what the parent used before it.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak


def timed_ms(runner: Runner) -> float:
    """Wall time of one run, in milliseconds."""
    started = time.perf_counter_ns()
    runner.invoke()
    return (time.perf_counter_ns() - started) / 1e6


def settle(runner: Runner, milliseconds: int) -> None:
    """Run untimed for that long (0: not at all)."""
    left = float(milliseconds)
    while left > 0:
        left -= timed_ms(runner)


def evict(path: str) -> None:
    """Ask the system to forget a file's cached pages, so that reading it is cold; best effort."""
    if hasattr(os, "posix_fadvise"):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def load_ms(model: str, threads: int) -> float:
    """How long it takes to load the model once more, in milliseconds."""
    started = time.perf_counter()
    open_runner(model, threads)
    return 1e3 * (time.perf_counter() - started)


def load(model: str, threads: int, files: Sequence[str]) -> tuple[Feeder, dict[str, Any]]:
    """Load a model, run it once on the first input, and say how long each took and on what."""
    runtime = runtime_of(model)
    __import__("ai_edge_litert.interpreter" if runtime == "litert" else "onnxruntime")
    before = peak_rss_kib()
    evict(model)
    started = time.perf_counter()
    feeder = Feeder(open_runner(model, threads), files)
    loaded = time.perf_counter()
    feeder.feed(0)
    return feeder, {
        "runtime": runtime,
        "runtime_version": importlib.metadata.version(PACKAGES[runtime]),
        "python_version": platform.python_version(),
        "machine": platform.machine(),
        "load_cold_ms": 1e3 * (loaded - started),
        "first_invoke_ms": timed_ms(feeder.runner),
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
        settle(feeder.runner, settle_ms)
        _say({"samples_ms": [timed_ms(feeder.runner) for _ in range(runs)], "peak_rss_kib": peak_rss_kib()})


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Warm up and time `options.runs` runs, or what `options.min_seconds` ask for; every input equally often."""
    feeder, facts = load(options.model, options.threads, options.inputs)
    runner = feeder.runner
    for _ in range(options.warmup):
        runner.invoke()
    inputs = max(len(options.inputs), 1)
    samples: list[float] = []
    started = time.perf_counter()
    while len(samples) < options.runs or time.perf_counter() - started < options.min_seconds or len(samples) % inputs:
        feeder.feed(len(samples))
        samples.append(timed_ms(runner))
    if options.outputs:
        np.savez(options.outputs, **runner.outputs())  # type: ignore[arg-type]
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
    except (ValueError, OSError, ImportError) as error:
        _say({"error": str(error)})
        return 1
    with open(options.json + ".part", "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(options.json + ".part", options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
