"""One page that says how fast the graphs are, made by one command from the bundled checkpoint.

    python benchmarks/pages/results_page.py --output benchmarks/RESULTS.md

Every comparison is interleaved in one run over the bundled photographs; a ratio is the median over rounds, of which
each runs one photograph through all models, with its quartiles.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskconver_mobile.benchmarks.host.environment import record
from maskconver_mobile.benchmarks.host.latency import Measurement, ModelTiming, measure
from maskconver_mobile.benchmarks.host.operator_times import Profile, profile
from maskconver_mobile.benchmarks.models import card_of
from maskconver_mobile.benchmarks.photos import find_photos
from maskconver_mobile.card import Level
from maskconver_mobile.converters.backends.onnx.graph import OPSET
from maskconver_mobile.converters.backends.tflite.export import function_of
from maskconver_mobile.converters.checkpoint import read_checkpoint
from maskconver_mobile.converters.compiler import compile_graph
from maskconver_mobile.converters.config import read_config
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.spec import GraphSpec, Target
from maskconver_mobile.files import write_atomically
from maskconver_mobile.formats.inspection import inspect_model

CHECKPOINT = Path(__file__).parents[2] / "maskconver_mobile" / "demo" / "maskconver_256_demo"
CONFIG = CHECKPOINT.with_suffix(".yaml")
SIZES = (256, 640)
LEVELS: tuple[Level, ...] = ("heads", "masks", "panoptic")
TARGETS: tuple[Target, ...] = ("reference", "cpu")
OUTPUT_SIZE = (640, 640)
RUNS = 21
TIMES = ("median ms", "p90 ms", "slowest ms", "noise ms")
SGEMM = """
import numpy, time
n = 1536
a, b = numpy.random.rand(2, n, n).astype(numpy.float32)
times = []
for _ in range(12):
    start = time.perf_counter()
    a @ b
    times.append(time.perf_counter() - start)
print(2 * n**3 / min(times) / 1e9)
"""


@dataclass(frozen=True)
class Graph:
    """One file to be measured."""

    size: int
    level: Level
    target: Target
    precision: str = "float32"
    suffix: str = ".tflite"

    def make(self, folder: Path) -> Path:
        """Convert it, once."""
        path = folder / f"{self.level}_{self.size}_{self.target}_{self.precision}{self.suffix}"
        if not path.exists():
            output = OUTPUT_SIZE if self.level == "panoptic" else None
            spec = GraphSpec(level=self.level, target=self.target, output_size=output)
            size = (self.size, self.size)
            convert(CONFIG, CHECKPOINT, path, spec=spec, precision=self.precision, input_size=size)
        return path


def straight_export(folder: Path, size: int) -> Path:
    """What one gets without this package's ONNX writer: the plain graph, traced by TensorFlow, through tf2onnx."""
    import tf2onnx

    path = folder / f"tf2onnx_{size}.onnx"
    if not path.exists():
        config = read_config(CONFIG).with_input_size((size, size))
        spec = GraphSpec(target="reference")
        function = function_of(compile_graph(config, read_checkpoint(CHECKPOINT), spec, "tflite")[0], spec)
        signature = function.input_signature
        tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET, output_path=str(path))
    return path


def sgemm_gflops(threads: int) -> float:
    """The best of twelve 1536^3 float32 matrix products by NumPy's BLAS, in GFLOP/s, in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    environment |= {f"{name}_NUM_THREADS": str(threads) for name in ("OPENBLAS", "OMP", "MKL")}
    command = [sys.executable, "-c", SGEMM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
    return float(done.stdout)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def speedup(model: ModelTiming) -> str:
    """How many times faster than the first model of its run, with quartiles."""
    if model.ratio_to_first is None:
        return "1"
    r = model.ratio_to_first
    return f"{1 / r.median:.2f} ({1 / r.p75:.2f} to {1 / r.p25:.2f})"


def timed(measurement: Measurement, labels: Sequence[Sequence[str]]) -> list[list[str]]:
    """One row a model: labels, `TIMES`, speed-up."""
    return [[*label, *times(m), speedup(m)] for label, m in zip(labels, measurement.models, strict=True)]


def times(model: ModelTiming) -> list[str]:
    """The cells under `TIMES`."""
    found = model.spread
    if found is None:
        raise ValueError(f"{model.model} was not run on photographs")
    slowest = f"{found.worst:.1f} {Path(found.worst_photo).stem}"
    return [f"{found.median:.1f}", f"{found.p90:.1f}", slowest, "" if found.noise is None else f"{found.noise:.2f}"]


def targets_section(folder: Path, sizes: Sequence[int], seconds: float) -> Iterator[str]:
    """Reference against the cpu target, level by level."""
    yield "## Reference and cpu target\n"
    yield (
        "`reference` is the plain graph, `cpu` the default. Interleaved in one run; the last column says how many "
        "times faster than the reference, median over rounds (quartiles), each of one photograph.\n"
    )
    rows = []
    settings = [("float32", 2), ("float32", 1), ("float16", 2)]
    for size, level, (precision, threads) in itertools.product(sizes, LEVELS, settings):
        graphs = [Graph(size, level, target, precision) for target in TARGETS]
        found = measure([g.make(folder) for g in graphs], threads=threads, runs=RUNS, warmup=1, min_seconds=seconds)
        labels = [(str(g.size), g.level, g.precision, str(threads), g.target) for g in graphs]
        rows += timed(found, labels)
    yield table(("input", "level", "weights", "threads", "target", *TIMES, "times faster"), rows) + "\n"


def work_section(folder: Path, sizes: Sequence[int]) -> Iterator[str]:
    """Multiply-adds and bytes."""
    yield "## Work\n"
    rows = []
    for size, level in itertools.product(sizes, LEVELS):
        infos = [inspect_model(Graph(size, level, target).make(folder)) for target in TARGETS]
        for target, info in zip(TARGETS, infos, strict=True):
            share = info.multiply_adds / infos[0].multiply_adds
            half = Graph(size, level, target, "float16").make(folder).stat().st_size
            values = (f"{info.multiply_adds / 1e6:,.0f}", f"{100 * share:.0f} %")
            rows.append((str(size), level, target, *values, f"{info.size / 1e6:.1f}", f"{half / 1e6:.1f}"))
    head = ("input", "level", "target", "multiply-adds, M", "of reference", "float32 MB", "float16 MB")
    yield table(head, rows) + "\n"


def time_section(folder: Path, sizes: Sequence[int]) -> Iterator[str]:
    """Where the time goes, and how near the convolutions come to the machine's matrix product."""
    yield "## Where the time goes (level masks, float32, 2 threads)\n"
    peak = sgemm_gflops(2)
    yield f"NumPy's float32 matrix product reaches {peak:.0f} GFLOP/s on 2 threads here.\n"
    for size in sizes:
        for target in TARGETS:
            path = Graph(size, "masks", target).make(folder)
            found = profile(path, threads=2, runs=10 if size > 300 else 30)
            if found.missing:
                yield f"{size}, {target}: no profile ({found.missing})\n"
                continue
            yield f"**{size}, {target}**: {_efficiency(path, found, peak)}\n"
            rows = [(f"{g.ms:.1f}", f"{100 * g.share:.0f} %", f"{g.count:.0f}", g.type) for g in found.by_type()[:8]]
            yield table(("ms", "share", "count", "kernel"), rows) + "\n"


def _efficiency(path: Path, found: Profile, peak: float) -> str:
    kinds = {"CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL", "DEPTHWISE_CONV_2D"}
    flops = 2 * sum(op.multiply_adds for op in inspect_model(path).operators if op.kind in kinds)
    names = ("GEMM", "DWConv", "FULLY_CONNECTED", "BATCH_MATMUL")
    ms = sum(op.ms for op in found.operators if any(name in op.type for name in names))
    reached = flops / ms / 1e6
    return f"convolutions and matrix products at {reached:.0f} GFLOP/s, {100 * reached / peak:.0f} % of that"


def runtimes_section(folder: Path, sizes: Sequence[int], seconds: float) -> Iterator[str]:
    """LiteRT and ONNX Runtime side by side."""
    yield "## LiteRT and ONNX Runtime side by side (level masks, float32, 2 threads)\n"
    rows = []
    for size in sizes:
        graphs = [Graph(size, "masks", t, suffix=suffix) for suffix in (".tflite", ".onnx") for t in TARGETS]
        found = measure([g.make(folder) for g in graphs], threads=2, runs=RUNS, warmup=1, min_seconds=2 * seconds)
        names = {".tflite": "LiteRT", ".onnx": "ONNX Runtime"}
        rows += timed(found, [(str(g.size), names[g.suffix], g.target) for g in graphs])
    head = ("input", "runtime", "target", *TIMES, "times faster than LiteRT's reference")
    yield table(head, rows) + "\n"
    yield "## ONNX against a straight export by tf2onnx (level masks, float32, 2 threads)\n"
    rows = []
    for size in sizes:
        written = [Graph(size, "masks", target, suffix=".onnx").make(folder) for target in TARGETS]
        export, card = straight_export(folder, size), card_of(written[0])
        cards = {export: card} if card else {}
        found = measure([export, *written], threads=2, runs=RUNS, warmup=2, min_seconds=2 * seconds, cards=cards)
        labels = ("reference, traced and given to tf2onnx", "reference, written here", "cpu")
        rows += timed(found, [(str(size), label) for label in labels])
    yield table(("input", "graph", *TIMES, "times faster than tf2onnx's"), rows) + "\n"
    yield (
        "The paper's table gives 17.12 ms (256) and 24.93 ms (640) on a device that it does not name; those figures "
        "are not comparable with these.\n"
    )


def page(folder: Path, sizes: Sequence[int], seconds: float) -> str:
    """The whole page as Markdown."""
    machine = {"cpu": "unknown processor", "cores": 1, "packages": {}, **record()}
    load = ", ".join(f"{v:.1f}" for v in os.getloadavg())
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    intro = [
        "# Results\n",
        "Made by `make results` from the bundled checkpoint; nothing on this page is edited by hand. The numbers are "
        "of one server CPU and say how the graphs compare, not how fast a phone is.\n",
        f"Times are of the model's run over {len(find_photos())} photographs: median, p90 and slowest of the "
        "photographs' medians. Noise is the middle half of one photograph's runs, median over photographs.\n",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}, {versions}; "
        f"load average at the start {load}; {time.strftime('%Y-%m-%d')}.\n",
    ]
    sections: list[Callable[[], Iterator[str]]] = [
        lambda: targets_section(folder, sizes, seconds),
        lambda: work_section(folder, sizes),
        lambda: time_section(folder, sizes),
        lambda: runtimes_section(folder, sizes, seconds),
    ]
    return "\n".join([*intro, *(line for section in sections for line in section())])


def main() -> None:
    """Parse the command line and write the page."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--models", type=Path, help="folder for the converted models; kept if given")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=8.0, help="each comparison lasts at least so long")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.models or Path(scratch)
        write_atomically(options.output, page(folder, options.sizes, options.seconds).encode())


if __name__ == "__main__":
    main()
