"""Times one model in a process of its own: on the host, driven turn by turn, or on a device, in one go.

This file stands alone (standard library, numpy and one inference runtime), because it is also what is pushed to
devices. It speaks JSON: one object a line on standard output, or one object in a file. A failure is the object
`{"error": "..."}` and exit code 1.

    python worker.py model.tflite --threads 4                  serve requests on standard input, one a line:
                                                               `turn S N`: S ms of untimed runs, then N timed ones
                                                               `reload`: load the model once more
    python worker.py model.onnx --json out.json --runs 50      in one go
"""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]

RUNTIMES = {".tflite": "litert", ".onnx": "onnxruntime", ".ort": "onnxruntime"}
PACKAGES = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime"}
SEED = 0


class Runner(Protocol):
    """A loaded model whose inputs are set once and which is then invoked again and again."""

    def invoke(self) -> None:
        """Run the model once on its inputs."""

    def outputs(self) -> Arrays:
        """What the last `invoke` computed, by tensor name."""


class LiteRtRunner:
    """LiteRT's interpreter on the CPU, with the XNNPACK delegate it applies by itself."""

    def __init__(self, model: str, threads: int, inputs: Arrays | None) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=model, num_threads=threads)
        self._interpreter.allocate_tensors()
        self.input_names = [detail["name"] for detail in self._interpreter.get_input_details()]
        for detail in self._interpreter.get_input_details():
            shape = tuple(int(v) for v in detail["shape"])
            self._interpreter.set_tensor(detail["index"], input_array(inputs, detail["name"], shape, detail["dtype"]))

    def invoke(self) -> None:
        """Run the model once on its inputs."""
        self._interpreter.invoke()

    def outputs(self) -> Arrays:
        """What the last `invoke` computed, by tensor name."""
        details = self._interpreter.get_output_details()
        return {detail["name"]: self._interpreter.get_tensor(detail["index"]) for detail in details}


class OnnxRunner:
    """ONNX Runtime's CPU execution provider; with `profile_prefix` it writes its event trace under that path."""

    def __init__(self, model: str, threads: int, inputs: Arrays | None, profile_prefix: str = "") -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if profile_prefix:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._feed = {}
        for node in self.session.get_inputs():
            shape = tuple(v if isinstance(v, int) else 1 for v in node.shape)
            self._feed[node.name] = input_array(inputs, node.name, shape, onnx_dtype(node.type))
        self._names = [node.name for node in self.session.get_outputs()]
        self._values: list[npt.NDArray[Any]] = []

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


def input_array(inputs: Arrays | None, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The given input `name`, checked against the model, or a deterministic random one if none were given.

    Raises:
        ValueError: it is missing, or of another shape or type than the model takes.
    """
    if inputs is None:
        return random_array(shape, dtype)
    if name not in inputs:
        raise ValueError(f"input {name!r} is missing; given are {sorted(inputs)}")
    value = inputs[name]
    if value.shape != shape or value.dtype != np.dtype(dtype):
        raise ValueError(
            f"input {name!r} is {value.dtype} {list(value.shape)} and the model takes {np.dtype(dtype)} {list(shape)}"
        )
    return value


def open_runner(model: str, threads: int, inputs: Arrays | None = None) -> Runner:
    """Load a model with the runtime that its suffix names.

    Raises:
        ValueError: the suffix is unknown, the runtime is missing, or the runtime refuses the file or the inputs.
    """
    runtime = runtime_of(model)
    opener = LiteRtRunner if runtime == "litert" else OnnxRunner
    try:
        return opener(model, threads, inputs)
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


def load_ms(model: str, threads: int, inputs: Arrays | None) -> float:
    """How long it takes to load the model once more, in milliseconds."""
    started = time.perf_counter()
    open_runner(model, threads, inputs)
    return 1e3 * (time.perf_counter() - started)


def load(model: str, threads: int, inputs: Arrays | None) -> tuple[Runner, dict[str, Any]]:
    """Load a model, run it once, and say how long each took and on what."""
    runtime = runtime_of(model)
    __import__("ai_edge_litert.interpreter" if runtime == "litert" else "onnxruntime")
    before = peak_rss_kib()
    evict(model)
    started = time.perf_counter()
    runner = open_runner(model, threads, inputs)
    loaded = time.perf_counter()
    first = timed_ms(runner)
    return runner, {
        "runtime": runtime,
        "runtime_version": importlib.metadata.version(PACKAGES[runtime]),
        "python_version": platform.python_version(),
        "machine": platform.machine(),
        "load_cold_ms": 1e3 * (loaded - started),
        "first_invoke_ms": first,
        "rss_before_load_kib": before,
    }


def serve(model: str, threads: int, inputs: Arrays | None) -> None:
    """Load, say so, then answer every line on standard input until it ends."""
    runner, facts = load(model, threads, inputs)
    _say(facts)
    for line in sys.stdin:
        request, *numbers = line.split()
        if request == "reload":
            _say({"load_warm_ms": load_ms(model, threads, inputs)})
            continue
        settle_ms, runs = (int(number) for number in numbers)
        settle(runner, settle_ms)
        _say({"samples_ms": [timed_ms(runner) for _ in range(runs)], "peak_rss_kib": peak_rss_kib()})


def run(options: argparse.Namespace, inputs: Arrays | None) -> dict[str, Any]:
    """Warm up and time `options.runs` runs, or as many as `options.min_seconds` ask for, in one go."""
    runner, facts = load(options.model, options.threads, inputs)
    for _ in range(options.warmup):
        runner.invoke()
    samples: list[float] = []
    started = time.perf_counter()
    while len(samples) < options.runs or time.perf_counter() - started < options.min_seconds:
        samples.append(timed_ms(runner))
    if options.outputs:
        np.savez(options.outputs, **runner.outputs())  # type: ignore[arg-type]
    peak = peak_rss_kib()
    warm = load_ms(options.model, options.threads, inputs)
    return {**facts, "load_warm_ms": warm, "samples_ms": samples, "peak_rss_kib": peak}


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def main() -> int:
    """Read the command line; see the top of this file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--inputs", help="an .npz file of arrays by tensor name")
    parser.add_argument("--json", help="run in one go and write the result here")
    parser.add_argument("--outputs", help="write the last outputs to this .npz file")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--min-seconds", type=float, default=0.0)
    options = parser.parse_args()
    try:
        inputs = dict(np.load(options.inputs)) if options.inputs else None
        if not options.json:
            serve(options.model, options.threads, inputs)
            return 0
        result = run(options, inputs)
    except (ValueError, OSError, ImportError) as error:
        _say({"error": str(error)})
        return 1
    with open(options.json + ".part", "w", encoding="utf-8") as file:
        json.dump(result, file)
    os.replace(options.json + ".part", options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
