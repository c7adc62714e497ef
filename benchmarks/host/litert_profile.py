"""Operator times of a .tflite model, through the C API of the LiteRT library that `ai-edge-litert` ships.

That API's binary interface is unpublished: this runs in a process of its own (see `operator_times.py`), so that a
change in it can end nothing but this process.

    python -m maskconver_mobile.benchmarks.host.litert_profile model.tflite THREADS RUNS out.json [INPUT...]

RUNS are those of each INPUT, a file of raw values for the model's only input; without one it runs on noise.
"""

import ctypes
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from maskconver_mobile.benchmarks.host.worker import random_array

VERSIONS: Final = ("2.2", "2.3")
"""Releases of ai-edge-litert whose library answers to the calls below; that of 2.1 takes other arguments."""

CPU: Final = 1
LOCK_WRITE: Final = 1
WALL_EVENT, BUILTIN_EVENT, DELEGATE_EVENT = 1, 1 << 1, (1 << 2) | (1 << 3)
DTYPES: Final = {1: "f4", 2: "i4", 3: "u1", 4: "i8", 6: "?", 7: "i2", 9: "i1", 10: "f2"}


class Event(ctypes.Structure):
    """One event of the profiler, as its C header lays it out; times in microseconds."""

    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start", ctypes.c_uint64),
        ("elapsed", ctypes.c_uint64),
        ("memory", ctypes.c_size_t * 6),
        ("index", ctypes.c_uint64),
        ("unused", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


class Library:
    """The C API: every call is checked, and `make` returns what a call writes through its last argument."""

    def __init__(self) -> None:
        import ai_edge_litert

        self._library = ctypes.CDLL(str(Path(ai_edge_litert.__file__).with_name("libLiteRt.so")))
        self.libc = ctypes.CDLL(None)
        self.libc.strdup.restype = ctypes.c_void_p

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a status.

        Raises:
            RuntimeError: the status is not 0.
        """
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name} answered {status}")

    def make(self, name: str, *arguments: Any, kind: Any = ctypes.c_void_p) -> Any:
        """Call a function whose last argument receives a value of type `kind`."""
        value = kind()
        self.call(name, *arguments, ctypes.byref(value))
        return value


class ProfiledModel:
    """A model compiled for the CPU with profiling on, its input buffers filled with noise."""

    def __init__(self, model: str, threads: int) -> None:
        self._library = library = Library()
        self._environment = library.make("LiteRtCreateEnvironment", 0, None)
        handle = library.make("LiteRtCreateModelFromFile", self._environment, model.encode())
        options = library.make("LiteRtCreateOptions")
        library.call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        self._set(options, b"runtime_options_string", b"enable_profiling = true\n")
        self._set(options, b"xnnpack", f"num_threads = {threads}\n".encode())
        self._compiled = library.make("LiteRtCreateCompiledModel", self._environment, handle, options)
        self._signature = library.make("LiteRtGetModelSignature", handle, ctypes.c_size_t(0))
        self._sizes: list[int] = []
        self._inputs = self._buffers("Input")
        self._outputs = self._buffers("Output")
        self._profiler = library.make("LiteRtCompiledModelGetProfiler", self._compiled)

    def _set(self, options: ctypes.c_void_p, key: bytes, text: bytes) -> None:
        libc = self._library.libc
        payload = ctypes.c_void_p(libc.strdup(text))
        opaque = self._library.make("LiteRtCreateOpaqueOptions", key, payload, libc.free)
        self._library.call("LiteRtAddOpaqueOptions", options, opaque)

    def _buffers(self, kind: str) -> Any:
        size = ctypes.c_size_t
        count = self._library.make(f"LiteRtGetNumSignature{kind}s", self._signature, kind=size).value
        buffers = (ctypes.c_void_p * count)()
        for i in range(count):
            needs = self._library.make(
                f"LiteRtGetCompiledModel{kind}BufferRequirements", self._compiled, size(0), size(i)
            )
            tensor = self._library.make(f"LiteRtGetSignature{kind}TensorByIndex", self._signature, size(i))
            ranked = self._library.make("LiteRtGetRankedTensorType", tensor, kind=ctypes.c_int32 * 18)
            buffers[i] = self._library.make(
                "LiteRtCreateManagedTensorBufferFromRequirements", self._environment, ctypes.byref(ranked), needs
            )
            if kind == "Input":
                needed = self._library.make("LiteRtGetTensorBufferRequirementsBufferSize", needs, kind=size).value
                self._sizes.append(needed)
                dtype = np.dtype(DTYPES[ranked[0]])
                self._fill(buffers[i], random_array((needed // dtype.itemsize,), dtype).tobytes())
        return buffers

    def feed(self, data: bytes) -> None:
        """Set the model's only input.

        Raises:
            ValueError: it has several, or takes fewer bytes.
        """
        if len(self._sizes) != 1 or len(data) > self._sizes[0]:
            raise ValueError(f"{len(data)} bytes of raw values do not fit inputs of {self._sizes} bytes")
        self._fill(self._inputs[0], data)

    def _fill(self, buffer: Any, data: bytes) -> None:
        address = ctypes.c_void_p()
        handle = ctypes.c_void_p(buffer)
        self._library.call("LiteRtLockTensorBuffer", handle, ctypes.byref(address), LOCK_WRITE)
        ctypes.memmove(address, data, len(data))
        self._library.call("LiteRtUnlockTensorBuffer", handle)

    def run(self) -> None:
        """Run the model once."""
        size = ctypes.c_size_t
        self._library.call(
            "LiteRtRunCompiledModel",
            *(self._compiled, size(0), size(len(self._inputs)), self._inputs, size(len(self._outputs)), self._outputs),
        )

    def events(self, runs: int, inputs: Sequence[bytes]) -> list[Event]:
        """What the profiler recorded in that many runs of each input, in order; without one, of what is there."""
        self._library.call("LiteRtStartProfiler", self._profiler)
        for data in inputs or (None,):
            if data is not None:
                self.feed(data)
            for _ in range(runs):
                self.run()
        self._library.call("LiteRtStopProfiler", self._profiler)
        count = self._library.make("LiteRtGetNumProfilerEvents", self._profiler, kind=ctypes.c_int).value
        events = (Event * count)()
        self._library.call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return list(events)


def summarize_events(events: list[Event], runs: int, names: list[str]) -> dict[str, Any]:
    """Average events over runs.

    An operator of the delegate counts up from 0 within its partition, so an index that does not grow, or an operator
    outside the delegate, begins another partition.

    Args:
        events: in the order recorded.
        runs: how many runs they come from.
        names: of the graph's operators, by index.
    """
    operators: dict[tuple[int | None, int, str], dict[str, Any]] = {}
    wall, partition, last = 0, -1, None
    for event in events:
        tag = event.tag.decode(errors="replace")
        if event.type == WALL_EVENT and tag == "Invoke":
            wall += event.elapsed
            partition, last = -1, None
        elif event.type == BUILTIN_EVENT:
            last = None
            name = names[event.index] if event.index < len(names) else ""
            _add(operators, (None, event.index, tag), name, event.elapsed)
        elif event.type & DELEGATE_EVENT:
            if last is None or event.index <= last:
                partition += 1
            last = event.index
            _add(operators, (partition, event.index, tag), f"#{event.index}", event.elapsed)
    for operator in operators.values():
        operator["ms"] /= 1e3 * runs
        operator["count"] /= runs
    return {"wall_ms": wall / (1e3 * runs), "operators": list(operators.values())}


def _add(operators: dict[Any, dict[str, Any]], key: tuple[int | None, int, str], name: str, elapsed: int) -> None:
    partition, _, tag = key
    entry = operators.setdefault(key, {"type": tag, "name": name, "ms": 0.0, "count": 0, "partition": partition})
    entry["ms"] += elapsed
    entry["count"] += 1


def operator_names(model: str) -> list[str]:
    """Name of the first output tensor of every operator of the main graph, in execution order."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(Path(model).read_bytes()).subgraphs[0]
    return [graph.tensors[op.outputs[0]].name.decode(errors="replace") for op in graph.operators]


def main() -> None:
    """Profile the model that the command line names and write the averages as JSON."""
    model, threads, runs, output, *files = sys.argv[1:]
    inputs = [Path(file).read_bytes() for file in files]
    profiled = ProfiledModel(model, int(threads))
    for _ in range(3):
        profiled.run()
    events = profiled.events(int(runs), inputs)
    result = summarize_events(events, int(runs) * max(len(inputs), 1), operator_names(model))
    Path(output).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
