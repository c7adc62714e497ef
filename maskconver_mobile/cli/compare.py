"""`maskconver-mobile compare`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from maskconver_mobile.comparison import Comparison

SCHEMA = 1
PER_IMAGE = {
    "pixels": "pixel_agreement",
    "segments": "segment_overlap",
    "segment IoU": "matched_iou",
    "top K": "top_k_overlap",
}


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--images", required=True, type=click.Path(path_type=Path), help="Folder of images.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N images by name.")
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    help="Exit with 1 if less than this share of pixels, in the mean of the images, has the same category.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all measures to this file.")
@click.option("--num-threads", type=click.IntRange(1, 64), help="Threads of the runtime.")
@click.pass_context
def command(
    ctx: click.Context,
    a: Path,
    b: Path,
    images: Path,
    limit: int | None,
    min_agreement: float | None,
    json_file: Path | None,
    num_threads: int | None,
) -> None:
    """How far model B strays from model A on images without ground truth.

    Tensor errors of the outputs that both have, proposals in common (same class, mask IoU above 0.5), pixels
    of the same category, and the IoU of matching segments. Errors of `scores` and `mask_logits` are those of
    the proposals in common.

    \b
    maskconver-mobile compare float.tflite int8.tflite --images photos --min-agreement 0.93
    """
    import json

    from rich.console import Console

    from maskconver_mobile.batch import find_images
    from maskconver_mobile.cli.progress import progress
    from maskconver_mobile.comparison import compare
    from maskconver_mobile.files import ensure_writable, write_atomically
    from maskconver_mobile.segmenter import Segmenter

    if json_file is not None:
        ensure_writable(json_file)
    first, second = (Segmenter(path, num_threads=num_threads) for path in (a, b))
    paths = find_images([str(images)])[:limit]
    with progress("Comparing", len(paths)) as advance:
        comparison = compare(first, second, paths, advance)
    for _, reason in comparison.skipped:
        click.echo(f"skipped: {reason}", err=True)
    if comparison.skipped:
        click.echo(f"skipped {len(comparison.skipped)} of {len(paths)} images", err=True)
    if json_file is not None:
        document = {"schema": SCHEMA, "a": str(a), "b": str(b), **comparison.to_dict()}
        write_atomically(json_file, json.dumps(document, indent=1).encode())
    Console().print(_images_table(comparison), _summary_table(comparison))
    if min_agreement is not None and comparison.agreement < min_agreement:
        click.echo(f"{b}: agreement {comparison.agreement:.4f} with {a} is below {min_agreement}", err=True)
        ctx.exit(1)


def _images_table(comparison: "Comparison") -> "Table":
    from rich.table import Table

    table = Table(title="Agreement")
    table.add_column("image", overflow="fold")
    for title in PER_IMAGE:
        table.add_column(title, justify="right")
    for one in comparison.images:
        table.add_row(one.image.name, *(_number(one.measures.get(name)) for name in PER_IMAGE.values()))
    return table


def _summary_table(comparison: "Comparison") -> "Table":
    from rich.table import Table

    table = Table("measure", title=f"{len(comparison.images)} images")
    for name in ("mean", "worst"):
        table.add_column(name, justify="right")
    table.add_column("worst image", overflow="fold")
    for name, summary in comparison.summary().items():
        table.add_row(name, _number(summary.mean), _number(summary.worst), summary.worst_image.name)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
