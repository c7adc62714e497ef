"""`maskconver-mobile evaluate`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskconver_mobile.cli.parameters import STDOUT, check_json_target, json_option, threads_option, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from maskconver_mobile.evaluation.evaluate import Evaluation
    from maskconver_mobile.evaluation.quality import PanopticQuality

SCHEMA = 1
GROUPS = ("all", "things", "stuff")
SHARES = {"pixels": "pixel_agreement", "stable pixels": "stable_agreement"}


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL...")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of images/, panoptic.json and panoptic/, or of COCO as it is unpacked, instead of the next three.",
)
@click.option("--images", multiple=True, type=click.Path(path_type=Path), help="Folder of the images.")
@click.option(
    "--annotations",
    multiple=True,
    type=click.Path(path_type=Path),
    help="COCO panoptic JSON of the truth.",
)
@click.option(
    "--panoptic-dir",
    "panoptic_dirs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of the truth's PNGs.",
)
@click.option(
    "--stable",
    is_flag=True,
    help="With several models, agreement on stable pixels too: six more runs of the first per image.",
)
@click.option("--ignore-exif", is_flag=True, help="Take images as they are stored, as some data sets' annotations do.")
@json_option
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N annotated images.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that share the images.",
)
@threads_option(1, "Threads of each process.")
def command(
    models: tuple[Path, ...],
    data: Path | None,
    images: tuple[Path, ...],
    annotations: tuple[Path, ...],
    panoptic_dirs: tuple[Path, ...],
    stable: bool,
    ignore_exif: bool,
    json_file: Path | None,
    limit: int | None,
    workers: int,
    num_threads: int,
) -> None:
    """Panoptic quality (PQ, SQ, RQ) of models on annotated images, as the official COCO evaluation does it.

    A MODEL is a model file, or COCO panoptic predictions: NAME.json with its PNGs in the folder NAME beside
    it. With several models the differences are to the first: of PQ with an interval that 95% of resampled sets
    of images fall into, pixels of the same category, and the signal-to-noise ratio of heads where both models are
    of that level. Give --images, --annotations and --panoptic-dir
    once per set; several sets are evaluated as one.

    \b
    maskconver-mobile evaluate int8.tflite --data coco
    maskconver-mobile evaluate float.tflite int8.tflite --workers 4 \\
        --images val2017 --annotations panoptic_val2017.json --panoptic-dir panoptic_val2017
    """
    from maskconver_mobile.cli.progress import progress
    from maskconver_mobile.cli.terminal import show, without_chatter
    from maskconver_mobile.evaluation.coco import find_set, read_ground_truth
    from maskconver_mobile.evaluation.evaluate import evaluate

    if stable and len(models) == 1:
        raise click.UsageError("--stable compares with the first of several models; give another one")
    if data is not None:
        if images or annotations or panoptic_dirs:
            raise click.UsageError("--data names the folder of all three; leave the others out")
        images, annotations, panoptic_dirs = zip(find_set(data), strict=True)
    elif not (images and annotations and panoptic_dirs):
        raise click.UsageError("give --data, or --images, --annotations and --panoptic-dir")
    check_json_target(json_file, *models, *annotations)
    truth = read_ground_truth(images, annotations, panoptic_dirs, limit=limit)
    count = len(truth.samples)
    with without_chatter(), progress("Evaluating", count) as advance:
        found = evaluate(
            models,
            truth,
            workers=workers,
            num_threads=num_threads,
            stable=stable,
            ignore_exif=ignore_exif,
            on_image=advance,
        )
    if json_file is not None:
        write_json(json_file, json.dumps(report(models, found, count), indent=1))
    if json_file != STDOUT:
        show(_groups_table(models, found, count), _classes_table(models, [one.quality for one in found]))
        if len(models) > 1:
            show(_agreement_table(models, found))


def report(models: Sequence[Path], found: Sequence["Evaluation"], images: int) -> dict[str, Any]:
    """What `--json` writes.

    `schema` (1), `images` (how many), and `models`: per model `model` (its path), `all`, `things` and
    `stuff` (each `pq`, `sq`, `rq` as fractions and `n`, the classes that occurred), and `per_class`: by
    category id its `label` (name), `pq`, `sq`, `rq`, `true_positives`, `false_positives` and
    `false_negatives` in segments. Every model but the first has `pq_difference` to it, the `low` and `high` end
    of a 95% interval, and `comparison` with it: `images` (each `image` and its `measures`) and `summary`, as
    `compare` writes them.
    """
    return {
        "schema": SCHEMA,
        "images": images,
        "models": [_model_report(model, one) for model, one in zip(models, found, strict=True)],
    }


def _model_report(model: Path, found: "Evaluation") -> dict[str, Any]:
    document = {"model": str(model), **found.quality.to_dict()}
    if found.difference is not None and found.comparison is not None:
        comparison = {key: value for key, value in found.comparison.to_dict().items() if key != "skipped"}
        document |= {"pq_difference": vars(found.difference), "comparison": comparison}
    return document


def _groups_table(models: Sequence[Path], found: Sequence["Evaluation"], images: int) -> "Table":
    from rich.table import Table

    table = Table(title=f"Panoptic quality of {images} images, in points")
    table.add_column("model", max_width=20)
    table.add_column("classes")
    for column in ("PQ", "SQ", "RQ", "n", *(["PQ difference"] if len(models) > 1 else [])):
        table.add_column(column, justify="right")
    for name, one in zip(_names(models), found, strict=True):
        table.add_section()
        for group in GROUPS:
            figures = getattr(one.quality, group)
            difference = _signed(figures.pq - getattr(found[0].quality, group).pq)
            if one.difference is not None and group == "all":
                difference += f" [{_signed(one.difference.low)}, {_signed(one.difference.high)}]"
            cells = [*map(_points, (figures.pq, figures.sq, figures.rq)), str(figures.n), difference]
            table.add_row(name if group == GROUPS[0] else "", group, *cells[: len(table.columns) - 2])
    return table


def _agreement_table(models: Sequence[Path], found: Sequence["Evaluation"]) -> "Table":
    """Shares in points, ratios of the heads in dB: mean, 10th percentile and worst over the images."""
    from rich.table import Table

    names = _names(models)
    table = Table(title="Agreement of categories, in points, and of heads, in dB")
    table.add_column("model", max_width=20)
    table.add_column("with " + names[0], max_width=24)
    for column in ("mean", "p10", "worst"):
        table.add_column(column, justify="right")
    table.add_column("worst image", max_width=16)
    for name, one in zip(names[1:], found[1:], strict=True):
        summary = one.comparison.summary() if one.comparison is not None else {}
        rows = {title: (summary[key], 100) for title, key in SHARES.items() if key in summary}
        rows |= {key: (value, 1) for key, value in summary.items() if key.endswith(".snr_db")}
        for title, (value, scale) in rows.items():
            figures = (f"{scale * figure:.2f}" for figure in (value.mean, value.p10, value.worst))
            table.add_row(name, title, *figures, value.worst_image.name)
    return table


def _classes_table(models: Sequence[Path], qualities: Sequence["PanopticQuality"]) -> "Table":
    """One model: its figures and counts. Several: PQ side by side, with the differences to the first."""
    from rich.table import Table

    table = Table("id", "class", title="By class, in points")
    headers = ("PQ", "SQ", "RQ", "TP", "FP", "FN") if len(models) == 1 else _names(models)
    for header in headers:
        table.add_column(header, justify="right", max_width=20)
    for row in zip(*(quality.per_class for quality in qualities), strict=True):
        first = row[0]
        if len(row) > 1:
            cells = [_points(first.pq), *(f"{_points(c.pq)} ({_signed(c.pq - first.pq)})" for c in row[1:])]
        else:
            counts = (first.true_positives, first.false_positives, first.false_negatives)
            cells = [*map(_points, (first.pq, first.sq, first.rq)), *map(str, counts)]
        if any(c.occurs for c in row):
            table.add_row(str(first.label.id), first.label.name, *cells)
    return table


def _names(models: Sequence[Path]) -> list[str]:
    from maskconver_mobile.files import distinct_names

    names = distinct_names([str(model) for model in models])
    return [names[str(model)] for model in models]


def _points(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.2f}"
