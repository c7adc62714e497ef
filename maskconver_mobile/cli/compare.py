"""`maskconver-mobile compare`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskconver_mobile.cli.parameters import STDOUT, check_json_target, json_option, threads_option, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from maskconver_mobile.evaluation.comparison import Comparison

SCHEMA = 1
PER_IMAGE = {
    "pixels": "pixel_agreement",
    "stable": "stable_agreement",
    "segments": "segment_overlap",
    "segment IoU": "matched_iou",
    "top K": "top_k_overlap",
    "class dB": "class_heatmap.snr_db",
    "embedding dB": "mask_embedding_map.snr_db",
    "pixel dB": "pixel_embeddings.snr_db",
}


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("others", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="B...")
@click.option("--images", required=True, type=click.Path(path_type=Path), help="Folder of images.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N images by name.")
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    help="Exit with 1 if less than this share of pixels, in the mean of the images, has the same category.",
)
@click.option(
    "--min-stable-agreement",
    type=click.FloatRange(0, 1),
    help="The same of the pixels whose category A keeps under noise of one grey level.",
)
@json_option
@threads_option()
def command(
    a: Path,
    others: tuple[Path, ...],
    images: Path,
    limit: int | None,
    min_agreement: float | None,
    min_stable_agreement: float | None,
    json_file: Path | None,
    num_threads: int | None,
) -> int:
    """How far models B stray from model A on images without ground truth.

    Pixels of the same category: of all, and of the stable ones, whose category A keeps under six draws of noise
    of one grey level. Tensor errors of the outputs that both have, proposals in common (same class, mask IoU
    above 0.5), and the IoU of matching segments. Errors of `scores` and `mask_logits` are those of the
    proposals in common.

    \b
    maskconver-mobile compare float.tflite int8.tflite --images photos --min-stable-agreement 0.9
    maskconver-mobile compare float.tflite int8.tflite float.onnx --images photos
    """
    import json

    from maskconver_mobile.cli.progress import progress
    from maskconver_mobile.cli.terminal import say, show, without_chatter
    from maskconver_mobile.evaluation.comparison import compare
    from maskconver_mobile.inference.batch import find_images
    from maskconver_mobile.segmenter import Segmenter

    check_json_target(json_file, a, *others)
    paths = find_images([str(images)])[:limit]
    with without_chatter(), progress("Comparing", len(paths) * len(others)) as advance:
        first, *rest = (Segmenter(path, num_threads=num_threads) for path in (a, *others))
        found = [(b, compare(first, other, paths, advance, stable=True)) for b, other in zip(others, rest, strict=True)]
    skipped = found[0][1].skipped
    for _, reason in skipped:
        say(f"skipped: {reason}")
    if skipped:
        say(f"skipped {len(skipped)} of {len(paths)} images")
    if json_file is not None:
        documents = [{"a": str(a), "b": str(b), **comparison.to_dict()} for b, comparison in found]
        document = documents[0] if len(documents) == 1 else {"comparisons": documents}
        write_json(json_file, json.dumps({"schema": SCHEMA, **document}, indent=1))
    if json_file != STDOUT:
        for b, comparison in found:
            name = f" of {b.name}" if len(found) > 1 else ""
            show(_images_table(comparison, name), _summary_table(comparison))
    far = [
        line
        for b, comparison in found
        for what, share, least in (
            ("agreement", comparison.agreement, min_agreement),
            ("agreement on stable pixels", comparison.stable_agreement, min_stable_agreement),
        )
        if (line := _too_far(what, share, least, a, b))
    ]
    for line in far:
        say(line)
    return int(bool(far))


def _too_far(what: str, share: float | None, least: float | None, a: Path, b: Path) -> str:
    """A line where a gate is shut, or nothing."""
    if least is None or (share is not None and share >= least):
        return ""
    known = "is not known, as no pixel is stable" if share is None else f"{share:.4f} with {a} is below {least}"
    return f"{b}: {what} {known}"


def _images_table(comparison: "Comparison", name: str) -> "Table":
    from rich.table import Table

    table = Table(title=f"Agreement{name}")
    table.add_column("image", max_width=20)
    measured = {name for one in comparison.images for name in one.measures}
    shown = {title: name for title, name in PER_IMAGE.items() if name in measured}
    for title in shown:
        table.add_column(title, justify="right")
    for one in comparison.images:
        table.add_row(one.image.name, *(_number(one.measures.get(name)) for name in shown.values()))
    return table


def _summary_table(comparison: "Comparison") -> "Table":
    from rich.table import Table

    table = Table("measure", title=f"{len(comparison.images)} images")
    for name in ("mean", "p10", "worst"):
        table.add_column(name, justify="right")
    table.add_column("worst image", max_width=20)
    for name, summary in comparison.summary().items():
        table.add_row(
            name, _number(summary.mean), _number(summary.p10), _number(summary.worst), summary.worst_image.name
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
