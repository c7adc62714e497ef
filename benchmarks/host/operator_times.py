"""Where the time goes inside a model, operator by operator.

python -m maskconver_mobile.benchmarks.host.operator_times model.tflite --threads 2
"""

import importlib.metadata
import json
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskconver_mobile.benchmarks.host import litert_profile, worker
from maskconver_mobile.benchmarks.host.process import module_command
from maskconver_mobile.benchmarks.models import card_of
from maskconver_mobile.benchmarks.photos import PreparedPhotos, find_photos
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import read_model_bytes
from maskconver_mobile.formats import format_of
from maskconver_mobile.formats.engines import OnnxEngine, open_engine

TIMEOUT_S = 600


@dataclass(frozen=True)
class Operator:
    """One operator, averaged over the runs.

    Attributes:
        type: as the runtime names the kernel, such as `Convolution (NHWC, F32) IGEMM`.
        name: its output tensor or node; inside a delegate `#N`, its position there.
        ms: milliseconds a run.
        count: calls a run.
        partition: which island of the delegate it runs in, counted from 0; None outside every delegate.
    """

    type: str
    name: str
    ms: float
    count: float
    partition: int | None = None


@dataclass(frozen=True)
class OperatorType:
    """All operators of one type together: milliseconds a run, calls a run, share 0..1 of the operators' sum."""

    type: str
    ms: float
    count: float
    share: float


@dataclass(frozen=True)
class Profile:
    """Operator times of one model; profiling itself slows it, so take shares from here and latency from `measure`.

    Attributes:
        model: path as given.
        threads: threads of the CPU kernels.
        runs: how many runs were averaged.
        wall_ms: one profiled run as a whole; the rest over `sum_ms` is overhead between operators.
        operators: in execution order.
        missing: why there is no profile, or empty.
    """

    model: str
    threads: int
    runs: int
    wall_ms: float = 0.0
    operators: tuple[Operator, ...] = ()
    missing: str = ""

    @property
    def sum_ms(self) -> float:
        """Milliseconds a run that the operators take together."""
        return sum(operator.ms for operator in self.operators)

    @property
    def partitions(self) -> int:
        """How many islands of the graph the delegate runs."""
        return len({op.partition for op in self.operators} - {None})

    def by_type(self) -> tuple[OperatorType, ...]:
        """Operators grouped by type, the slowest first."""
        return by_type(self.operators)


def by_type(operators: Iterable[Operator]) -> tuple[OperatorType, ...]:
    """Group operators by type, the slowest first."""
    groups: dict[str, list[Operator]] = {}
    for operator in operators:
        groups.setdefault(operator.type, []).append(operator)
    sums = {kind: sum(op.ms for op in ops) for kind, ops in groups.items()}
    whole = sum(sums.values()) or 1.0
    found = (OperatorType(k, sums[k], sum(op.count for op in ops), sums[k] / whole) for k, ops in groups.items())
    return tuple(sorted(found, key=lambda group: -group.ms))


def profile(model: Path, threads: int = 2, runs: int = 20, photos: Sequence[Path] | None = None) -> Profile:
    """Time every operator of a model, on photographs in turn or, where it has no card, on noise.

    Args:
        model: a .tflite, .onnx or .ort file.
        threads: threads of the CPU kernels.
        runs: how often at least; every photograph equally often.
        photos: image files; the bundled ones if not given.

    Where the runtime can give no profile, the result's `missing` says why; that is no error.

    Raises:
        MaskConverError: the file is missing or no model file, or a photograph cannot be read.
    """
    if not model.is_file():
        raise MaskConverError(f"{model}: no such model file")
    runtime = format_of(model).runtime
    with PreparedPhotos(find_photos() if photos is None else photos) as prepared:
        inputs = prepared.inputs(card_of(model))
        each = -(-runs // max(len(inputs), 1))
        runs = each * max(len(inputs), 1)
        try:
            raw = {"litert": _litert, "onnxruntime": _onnxruntime}[runtime](model, threads, each, inputs)
        except (ValueError, OSError, subprocess.SubprocessError) as error:
            return Profile(str(model), threads, runs, missing=" ".join(str(error).split()))
    operators = tuple(Operator(**operator) for operator in raw["operators"])
    return Profile(str(model), threads, runs, raw["wall_ms"], operators)


def _litert(model: Path, threads: int, each: int, inputs: Sequence[Path]) -> dict[str, Any]:
    try:
        version = importlib.metadata.version("ai-edge-litert")
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError("LiteRT is not installed; pip install ai-edge-litert") from error
    if not version.startswith(tuple(f"{known}." for known in litert_profile.VERSIONS)):
        raise ValueError(f"operator times need ai-edge-litert {', '.join(litert_profile.VERSIONS)}; this is {version}")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "profile.json"
        words = (str(model), str(threads), str(each), str(output), *map(str, inputs))
        command = module_command(litert_profile.__name__, *words)
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
        if done.returncode != 0:
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise ValueError(f"LiteRT's profiler ended with exit code {done.returncode}: {last[0]}")
        result: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    if not result["operators"]:
        raise ValueError("LiteRT's profiler recorded no operator")
    return result


def _onnxruntime(model: Path, threads: int, each: int, inputs: Sequence[Path]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        format, trace = format_of(model), f"{folder}/trace"
        try:
            engine = open_engine(format, read_model_bytes(model), threads, profile_prefix=trace)
        except ImportError as error:
            raise ValueError(f"{format.package} is not installed; {format.cure}") from error
        if not isinstance(engine, OnnxEngine):
            raise AssertionError("opened by its format")
        feeder, warmup, count = worker.Feeder(engine, list(map(str, inputs))), 3, max(len(inputs), 1)
        feeder.feed(0)
        for _ in range(warmup):
            engine.invoke()
        for turn in range(each * count):
            feeder.feed(turn)
            engine.invoke()
        events = json.loads(Path(engine.session.end_profiling()).read_text(encoding="utf-8"))
    return summarize_trace(events, warmup, each * count)


def summarize_trace(events: Sequence[dict[str, Any]], warmup: int, runs: int) -> dict[str, Any]:
    """Average ONNX Runtime's trace events over the runs after the first `warmup`; microseconds in, milliseconds out."""
    seen: dict[str, int] = {}
    operators: dict[str, dict[str, Any]] = {}
    wall = 0
    for event in sorted(events, key=lambda e: int(e.get("ts", 0))):
        name, elapsed = str(event.get("name", "")), int(event.get("dur", 0))
        if name != "model_run" and not name.endswith("_kernel_time"):
            continue
        seen[name] = seen.get(name, 0) + 1
        if seen[name] <= warmup:
            continue
        if name == "model_run":
            wall += elapsed
            continue
        kind = event["args"]["op_name"]
        node = name.removesuffix("_kernel_time")
        entry = operators.setdefault(name, {"type": kind, "name": node, "ms": 0.0, "count": 0})
        entry["ms"] += elapsed / (1e3 * runs)
        entry["count"] += 1 / runs
    return {"wall_ms": wall / (1e3 * runs), "operators": list(operators.values())}


def main(argv: Sequence[str] | None = None) -> None:
    """Print operator types and the slowest operators of one model."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m maskconver_mobile.benchmarks.host.operator_times", description=main.__doc__
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--top", type=int, default=20)
    options = parser.parse_args(argv)
    try:
        found = profile(options.model, options.threads, options.runs)
    except MaskConverError as error:
        parser.error(str(error))
    if found.missing:
        parser.exit(1, f"no profile: {found.missing}\n")
    print(
        f"{found.wall_ms:.3f} ms a profiled run, {found.sum_ms:.3f} ms in {len(found.operators)} operators, "
        f"{found.partitions} delegate partitions\n"
    )
    for group in found.by_type():
        print(f"{group.ms:9.3f} ms {group.share:6.1%} {group.count:5.0f} x  {group.type}")
    print()
    for op in sorted(found.operators, key=lambda op: -op.ms)[: options.top]:
        where = "" if op.partition is None else f"partition {op.partition}"
        print(f"{op.ms:9.3f} ms {op.count:3.0f} x  {where:<12} {op.type:<44} {op.name}")


if __name__ == "__main__":
    main()
