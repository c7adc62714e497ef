"""One page that says how much faster each family's graph is than the straight export of it.

    python benchmarks/pages/families_page.py --output benchmarks/FAMILIES.md

Networks are those of the published configurations at their sizes, with random weights, which change no time.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from maskconver_mobile.benchmarks.host.environment import record
from maskconver_mobile.benchmarks.host.latency import measure
from maskconver_mobile.benchmarks.photos import find_photos
from maskconver_mobile.benchmarks.report.stats import ratio
from maskconver_mobile.card import AppliedPass
from maskconver_mobile.converters.compiler import plain_graph
from maskconver_mobile.converters.config import read_config
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.graph.emit import multiply_adds
from maskconver_mobile.converters.graph.operations import Matmul
from maskconver_mobile.converters.network.mobilenet import TABLES
from maskconver_mobile.converters.passes import PLAIN
from maskconver_mobile.converters.spec import GraphSpec, Target
from maskconver_mobile.files import write_atomically

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "converters"))
published, checkpoints = (import_module(name) for name in ("published", "checkpoints"))
TARGETS: tuple[Target, ...] = ("reference", "cpu")
FORMATS = {".tflite": "LiteRT", ".onnx": "ONNX Runtime"}
THREADS = 2
LARGE = 20e9
"""Networks of so many multiply-adds are run fewer times."""


@dataclass
class Network:
    """A configuration at a size."""

    name: str
    model: dict[str, Any]
    size: tuple[int, int]
    parameters: int = 0
    multiply_adds: int = 0
    passes: dict[str, tuple[AppliedPass, ...]] = field(default_factory=dict)

    def convert(self, folder: Path) -> list[Path]:
        """Files for both runtimes, the straight export before the graph for processors."""
        config, checkpoint = folder / "config.yaml", folder / "ckpt"
        config.write_text(yaml.safe_dump({"task": {"model": self.model}}))
        weights = checkpoints.random_weights()
        graph = plain_graph(read_config(config).with_input_size(self.size), weights, GraphSpec("masks")).graph
        checkpoints.write_checkpoint(weights.arrays, checkpoint)
        (product,) = graph.of(Matmul)
        _, places, pixels = product.inputs[0].shape
        self.parameters = sum(array.size for array in weights.arrays.values())
        self.multiply_adds = multiply_adds(graph) - places * pixels * product.inputs[1].shape[1]
        paths = []
        for suffix in FORMATS:
            for target in TARGETS:
                path = folder / f"{target}{suffix}"
                card = convert(config, checkpoint, path, spec=GraphSpec("masks", target), input_size=self.size)
                self.passes[suffix] = card.passes
                paths.append(path)
        return paths


def networks() -> Iterator[Network]:
    """The published configurations at their sizes, then the other mobile backbones."""
    for name, (model, _) in published.CONVERTS.items():
        height, width, _ = model["input_size"]
        yield Network(name.split(",")[0], model, (height, width))
    for model_id in TABLES:
        if model_id != "MobileNetMultiAVGSeg":
            model = published.single([256, 256], published.MERGE)
            model["backbone"]["mobilenet"]["model_id"] = model_id
            yield Network(model_id, model, (256, 256))


def row(network: Network, seconds: float) -> list[str]:
    """Convert and measure one network."""
    with tempfile.TemporaryDirectory() as scratch:
        paths = network.convert(Path(scratch))
        large = network.multiply_adds > LARGE
        runs, warmup = (3, 0) if large else (15, 1)
        found = measure(
            paths,
            threads=THREADS,
            runs=runs,
            warmup=warmup,
            min_seconds=0 if large else seconds,
            photos=PHOTOS[: 2 if large else None],
        )
    cells = [network.name, "x".join(map(str, network.size)), f"{network.parameters / 1e6:.2f}"]
    cells.append(f"{network.multiply_adds / 1e9:.2f}")
    for i, suffix in enumerate(FORMATS):
        plain, fast = found.models[2 * i : 2 * i + 2]
        share = network.passes[suffix][-1].multiply_adds / network.passes[suffix][0].multiply_adds
        times = ratio(fast.samples_ms, plain.samples_ms)
        cells += [
            f"{100 * share:.0f} %",
            f"{plain.invoke.p50:.1f}",
            f"{fast.invoke.p50:.1f}",
            f"{1 / times.median:.2f} ({1 / times.p75:.2f} to {1 / times.p25:.2f})",
        ]
    return cells


PHOTOS = find_photos()


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def applied(network: Network) -> list[str]:
    """Which rewrites did something, and how often; what every converter does is left out."""
    plain = {"network", *(each.__name__ for each in PLAIN)}
    cells = [network.name, "x".join(map(str, network.size))]
    for suffix in FORMATS:
        found = [p for p in network.passes[suffix] if p.places and p.name not in plain]
        counts: dict[str, int] = {}
        for each in found:
            counts[each.name] = counts.get(each.name, 0) + each.places
        cells.append(", ".join(f"{name} {count}" if count > 1 else name for name, count in counts.items()))
    return cells


def page(names: list[str], seconds: float, beside: str) -> str:
    """The whole page as Markdown."""
    machine: dict[str, Any] = {"cpu": "unknown processor", "cores": 1, "packages": {}, **record()}
    load = ", ".join(f"{v:.1f}" for v in os.getloadavg())
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    chosen = [n for n in networks() if not names or n.name in names]
    rows = []
    for network in chosen:
        rows.append(row(network, seconds))
        print(" | ".join(rows[-1]), flush=True)
    head = ["network", "input", "parameters, M", "multiply-adds, G"]
    for runtime in FORMATS.values():
        head += [f"{runtime}: multiply-adds left", "straight export, ms", "cpu, ms", "times faster"]
    return "\n".join(
        [
            "# Families\n",
            "Made by `python benchmarks/pages/families_page.py`; nothing on this page is edited by hand. Each network "
            "at its published size, level masks, float32, random weights; `straight export` is target `reference`, the "
            "plain graph with its batch norms folded, in the same format.\n",
            f"The four files of a network ran in turn in one run, on {THREADS} threads; the last columns are medians "
            "of ratios over rounds (quartiles), each of one photograph. Multiply-adds are those of the network's "
            "layers, without the product that makes K masks; what is left is of the whole graph.\n",
            f"{machine['cpu']}, {machine['cores']} cores{beside}, {machine['system']}, Python {machine['python']}, "
            f"{versions}; load average at the start {load}; {time.strftime('%Y-%m-%d')}.\n",
            table(head, rows),
            "## Rewrites that applied\n",
            "`maskconver-mobile inspect FILE --graph` says what each does, and so does `convert --explain`.\n",
            table(["network", "input", "in TFLite", "in ONNX"], [applied(network) for network in chosen]),
        ]
    )


def main() -> None:
    """Parse the command line and write the page."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=6.0, help="each comparison of a small network lasts so long")
    parser.add_argument("--networks", nargs="+", default=[], help="only these")
    parser.add_argument("--beside", default="", help="what else the machine did, for the page")
    options = parser.parse_args()
    beside = f" ({options.beside})" if options.beside else ""
    write_atomically(options.output, page(options.networks, options.seconds, beside).encode())


if __name__ == "__main__":
    main()
