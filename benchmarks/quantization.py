"""Recipes side by side: size, latency, panoptic quality and agreement, as a Markdown table.

python -m maskconver_mobile.benchmarks.quantization --config maskconver_256.yaml --checkpoint ckpt-500000 \
    --calibration train2017 --images val2017 --annotations panoptic_val2017.json --panoptic-dir panoptic_val2017 \
    --output docs/quantization_results.md
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from maskconver_mobile.benchmarks.environment import record
from maskconver_mobile.coco import GroundTruth, read_ground_truth
from maskconver_mobile.converters.calibration import choose_images, read_calibration
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.quantize import RECIPES
from maskconver_mobile.converters.quantize_file import measure_loss, quantize_file
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.evaluation import evaluate
from maskconver_mobile.files import write_atomically
from maskconver_mobile.tflite_file import read_tflite

FLOAT, BASELINE = "float32", "full-integer reference"
THREADS = 2
SECONDS = 4.0


@dataclass(frozen=True)
class Row:
    """One model at one input size; quality and agreement in points, None where not measured."""

    model: str
    size: tuple[int, int]
    megabytes: float
    milliseconds: float
    quality: float | None
    agreement: float | None


@click.command()
@click.option("--config", required=True, type=click.Path(path_type=Path))
@click.option("--checkpoint", required=True, type=click.Path(path_type=Path))
@click.option("--calibration", required=True, type=click.Path(path_type=Path), help="Folder of images.")
@click.option("--images", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--annotations", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--panoptic-dir", "panoptic_dirs", multiple=True, required=True, type=click.Path(path_type=Path))
@click.option("--large", type=click.IntRange(32), default=640, show_default=True, help="Side of the second input size.")
@click.option("--agreement-images", type=click.IntRange(1), default=24, show_default=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The Markdown file to write.")
def main(
    config: Path,
    checkpoint: Path,
    calibration: Path,
    images: tuple[Path, ...],
    annotations: tuple[Path, ...],
    panoptic_dirs: tuple[Path, ...],
    large: int,
    agreement_images: int,
    output: Path,
) -> None:
    """Measure every recipe at the configuration's size, and without panoptic quality at a second one."""
    truth = read_ground_truth(images, annotations, panoptic_dirs)
    samples = [sample.image for sample in truth.samples]
    compared = samples[:: max(1, len(samples) // agreement_images)][:agreement_images]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size, judged in ((None, truth), ((large, large), None)):
            models = make_models(Path(folder), config, checkpoint, calibration, size)
            rows.extend(measure(models, compared, judged))
    write_atomically(output, report(rows, len(samples), len(compared)).encode())


def make_models(
    folder: Path, config: Path, checkpoint: Path, calibration: Path, size: tuple[int, int] | None
) -> dict[str, Path]:
    """The float model, every recipe of it, and the plain graph made all integer by TFLiteConverter."""
    models = {name: folder / f"{name.replace(' ', '_')}_{size}.tflite" for name in (FLOAT, *RECIPES, BASELINE)}
    convert(config, checkpoint, models[FLOAT], input_size=size)
    for recipe in RECIPES:
        quantize_file(models[FLOAT], models[recipe], recipe, calibration=calibration)
        click.echo(f"{models[recipe].name} written", err=True)
    card = read_tflite(models[FLOAT]).card
    inputs = read_calibration(choose_images(calibration, 8), card).inputs
    models[BASELINE].write_bytes(full_integer(config, checkpoint, size, inputs))
    return models


def full_integer(
    config: Path, checkpoint: Path, size: tuple[int, int] | None, inputs: Sequence[np.typing.NDArray[np.generic]]
) -> bytes:
    """The plain graph with everything integer, as TFLiteConverter's own recipe for integer hardware makes it."""
    import tensorflow as tf

    from maskconver_mobile.converters.checkpoint import read_checkpoint
    from maskconver_mobile.converters.config import read_config
    from maskconver_mobile.converters.graph import build
    from maskconver_mobile.converters.ops import TensorFlowOps

    settings = read_config(config) if size is None else read_config(config).with_input_size(size)
    graph = build(settings, read_checkpoint(checkpoint), GraphSpec(target="reference"))
    image = tf.TensorSpec([1, *settings.input_size, 3], tf.uint8, name="image")
    function = tf.function(lambda image: graph(TensorFlowOps(), image), input_signature=[image])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([value] for value in inputs)
    return bytes(converter.convert())


def measure(models: dict[str, Path], compared: Sequence[Path], truth: GroundTruth | None) -> list[Row]:
    """A row per model; models without a card have a latency only, and slow ones no agreement at the large size."""
    times = latencies(models)
    size = read_tflite(models[FLOAT]).card.input_size
    complete = [name for name in models if name != BASELINE]
    quality: dict[str, float] = {}
    if truth is not None:
        found = evaluate([models[name] for name in complete], truth, workers=os.cpu_count() or 1)
        quality = {name: 100 * one.all.pq for name, one in zip(complete, found, strict=True)}
    rows = []
    for name, path in models.items():
        known = name in complete[1:] and (truth is not None or times[name] < 10 * times[FLOAT])
        agreement = 100 * (1 - measure_loss(models[FLOAT], path, compared)) if known else None
        rows.append(Row(name, size, path.stat().st_size / 1e6, times[name], quality.get(name), agreement))
        click.echo(str(rows[-1]), err=True)
    return rows


def latencies(models: dict[str, Path]) -> dict[str, float]:
    """Median milliseconds per inference, the models taking turns; the time shared out evenly."""
    runners = {}
    for name, path in models.items():
        interpreter = Interpreter(model_path=str(path), num_threads=THREADS)
        interpreter.allocate_tensors()
        image = interpreter.get_input_details()[0]
        interpreter.set_tensor(image["index"], np.random.default_rng(0).integers(0, 256, image["shape"], np.uint8))
        interpreter.invoke()
        runners[name] = interpreter
    samples: dict[str, list[float]] = {name: [] for name in models}
    spent = dict.fromkeys(models, 0.0)
    while any(seconds < SECONDS for seconds in spent.values()):
        for name, interpreter in runners.items():
            if spent[name] < SECONDS or len(samples[name]) < 2:
                start = time.perf_counter()
                interpreter.invoke()
                samples[name].append((time.perf_counter() - start) * 1e3)
                spent[name] += samples[name][-1] / 1e3
    return {name: float(np.median(values)) for name, values in samples.items()}


def report(rows: Sequence[Row], images: int, compared: int) -> str:
    """The Markdown page."""
    host = record()
    packages = ", ".join(f"{name} {version}" for name, version in host.get("packages", {}).items())
    lines = [
        "# Quantization: results",
        "",
        f"Written by `python -m maskconver_mobile.benchmarks.quantization`. {host.get('cpu', 'unknown processor')}, "
        f"{THREADS} threads; {packages}.",
        f"Panoptic quality over {images} images, agreement (pixels of the category that float32 gives them) over "
        f"{compared}; both in points. Latency is float32's over the model's, measured in turns: above 1 is faster.",
        "",
        "| input | model | size, MB | of float32 | latency ratio | PQ | PQ lost | agreement |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        plain = next(other for other in rows if (other.model, other.size) == (FLOAT, row.size))
        lost = None if row.quality is None or plain.quality is None else plain.quality - row.quality
        cells = [
            f"{row.size[0]}x{row.size[1]}",
            row.model,
            f"{row.megabytes:.2f}",
            f"{row.megabytes / plain.megabytes:.0%}",
            f"{plain.milliseconds / row.milliseconds:.2f}",
            *("" if value is None else f"{value:.2f}" for value in (row.quality, lost, row.agreement)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
