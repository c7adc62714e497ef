"""Recipes side by side: size, latency, panoptic quality and agreement, as a Markdown table.

python benchmarks/pages/quantization.py --config maskconver_256.yaml --checkpoint ckpt-500000 \
    --calibration train2017 --images val2017 --annotations panoptic_val2017.json --panoptic-dir panoptic_val2017 \
    --output docs/quantization_results.md
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from maskconver_mobile.benchmarks.host.environment import record
from maskconver_mobile.benchmarks.host.latency import ModelTiming, measure
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.quantization.calibration import choose_images, read_calibration
from maskconver_mobile.converters.quantization.quantize_file import quantize_file
from maskconver_mobile.converters.quantization.recipes import ONNX_RECIPES, RECIPES
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.evaluation.coco import GroundTruth, read_ground_truth
from maskconver_mobile.evaluation.evaluate import Evaluation, evaluate
from maskconver_mobile.files import write_atomically
from maskconver_mobile.formats.tflite.file import read_tflite
from maskconver_mobile.segmenter import Segmenter

FLOAT, BASELINE = "float32", "full-integer reference"
RUNTIMES = {"LiteRT": ".tflite", "ONNX Runtime": ".onnx"}
THREADS, RUNS = 2, 21


@dataclass(frozen=True)
class Row:
    """One model at one input size, evaluated beside float32 or not at all."""

    runtime: str
    model: str
    size: tuple[int, int]
    megabytes: float
    latency: ModelTiming
    evaluation: Evaluation | None


@click.command()
@click.option("--config", required=True, type=click.Path(path_type=Path))
@click.option("--checkpoint", required=True, type=click.Path(path_type=Path))
@click.option("--calibration", required=True, type=click.Path(path_type=Path), help="Folder of images.")
@click.option("--images", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--annotations", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--panoptic-dir", "panoptic_dirs", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--large", type=click.IntRange(0), default=640, show_default=True, help="Second side; 0: none.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The Markdown file to write.")
def main(
    config: Path,
    checkpoint: Path,
    calibration: Path,
    images: tuple[Path, ...],
    annotations: tuple[Path, ...],
    panoptic_dirs: tuple[Path, ...],
    large: int,
    output: Path,
) -> None:
    """Measure every recipe at the configuration's size, and all but very slow ones at a second one."""
    truth = read_ground_truth(images, annotations, panoptic_dirs)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in (None, (large, large)) if large else (None,):
            for runtime in RUNTIMES:
                models = make_models(Path(folder), runtime, config, checkpoint, calibration, size)
                rows.extend(measure_models(runtime, models, truth, patient=size is None))
    write_atomically(output, report(rows, len(truth.samples)).encode())


def make_models(
    folder: Path, runtime: str, config: Path, checkpoint: Path, calibration: Path, size: tuple[int, int] | None
) -> dict[str, Path]:
    """The float model, every recipe of it, and for LiteRT the plain graph made all integer by TFLiteConverter."""
    suffix = RUNTIMES[runtime]
    recipes = ONNX_RECIPES if suffix == ".onnx" else tuple(RECIPES)
    models = {name: folder / f"{name}_{size}{suffix}" for name in (FLOAT, *recipes)}
    convert(config, checkpoint, models[FLOAT], input_size=size)
    for recipe in recipes:
        quantize_file(models[FLOAT], models[recipe], recipe, calibration=calibration)
        click.echo(f"{models[recipe].name} written", err=True)
    if suffix == ".tflite":
        card = read_tflite(models[FLOAT]).card
        inputs = read_calibration(choose_images(calibration, 8), card).inputs
        models[BASELINE] = folder / f"full_integer_{size}{suffix}"
        models[BASELINE].write_bytes(full_integer(config, checkpoint, size, inputs))
    return models


def full_integer(
    config: Path, checkpoint: Path, size: tuple[int, int] | None, inputs: Sequence[np.typing.NDArray[np.generic]]
) -> bytes:
    """The plain graph with everything integer, as TFLiteConverter's own recipe for integer hardware makes it."""
    import tensorflow as tf

    from maskconver_mobile.converters.backends.tflite.export import function_of
    from maskconver_mobile.converters.checkpoint import read_checkpoint
    from maskconver_mobile.converters.compiler import compile_graph
    from maskconver_mobile.converters.config import read_config

    settings = read_config(config) if size is None else read_config(config).with_input_size(size)
    spec = GraphSpec(target="reference")
    function = function_of(compile_graph(settings, read_checkpoint(checkpoint), spec, "tflite")[0], spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([value] for value in inputs)
    return bytes(converter.convert())


def measure_models(runtime: str, models: dict[str, Path], truth: GroundTruth, *, patient: bool) -> list[Row]:
    """A row per model; one without a card has a latency only, and so have very slow ones without patience."""
    card = Segmenter(models[FLOAT]).card
    cards = dict.fromkeys(models.values(), card)
    measured = measure(list(models.values()), threads=THREADS, runs=RUNS, warmup=2, cards=cards).models
    timings = dict(zip(models, measured, strict=True))
    limit = np.inf if patient else 5 * np.median(timings[FLOAT].samples_ms)
    judged = [name for name in models if name != BASELINE and np.median(timings[name].samples_ms) <= limit]
    found = evaluate([models[name] for name in judged], truth, workers=os.cpu_count() or 1, stable=True)
    evaluations = dict(zip(judged, found, strict=True))
    click.echo(f"{runtime} {card.input_size} measured", err=True)
    return [
        Row(runtime, name, card.input_size, path.stat().st_size / 1e6, timings[name], evaluations.get(name))
        for name, path in models.items()
    ]


def judgment(row: Row) -> list[str]:
    """PQ, how much it differs, and agreement, all in points."""
    if row.evaluation is None:
        return [""] * 4
    quality, difference = f"{100 * row.evaluation.quality.all.pq:.2f}", row.evaluation.difference
    if difference is None or row.evaluation.comparison is None:
        return [quality, "", "", ""]
    means = {name: 100 * one.mean for name, one in row.evaluation.comparison.summary().items()}
    interval = f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}"
    return [quality, interval, f"{means['pixel_agreement']:.2f}", f"{means['stable_agreement']:.2f}"]


def times_faster(row: Row) -> str:
    """How many times faster than float32 in the same run, with quartiles."""
    ratio = row.latency.ratio_to_first
    return "1" if ratio is None else f"{1 / ratio.median:.2f} ({1 / ratio.p75:.2f} to {1 / ratio.p25:.2f})"


def report(rows: Sequence[Row], images: int) -> str:
    """The Markdown page."""
    host = record()
    packages = ", ".join(f"{name} {version}" for name, version in host.get("packages", {}).items())
    lines = [
        "# Quantization: results",
        "",
        f"Written by `python benchmarks/pages/quantization.py`. {host.get('cpu', 'unknown processor')}, "
        f"{THREADS} threads; {packages}.",
        f"Over {images} images, in points: panoptic quality, the interval that holds its difference to float32 (95%), "
        "and agreement, of all pixels and of the [stable](precision.md) ones: how many keep float32's category. "
        "Milliseconds are the median and the slowest of the bundled photographs. The last column says how many "
        "times faster than float32 of the same runtime, median over rounds that take turns (quartiles).",
        "",
        "| input | runtime | model | size, MB | of float32 | PQ | difference | all | stable | ms | times faster |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        plain = next(r for r in rows if (r.runtime, r.model, r.size) == (row.runtime, FLOAT, row.size))
        found = row.latency.spread
        if found is None:
            raise ValueError(f"{row.model} was not run on photographs")
        cells = [
            f"{row.size[0]}x{row.size[1]}",
            row.runtime,
            row.model,
            f"{row.megabytes:.2f}",
            f"{row.megabytes / plain.megabytes:.0%}",
            *judgment(row),
            f"{found.median:.1f} to {found.worst:.1f}",
            times_faster(row),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
