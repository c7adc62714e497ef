"""`maskconver-mobile segment`."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from maskconver_mobile.errors import MaskConverError

if TYPE_CHECKING:
    from maskconver_mobile.engines import Optimization
    from maskconver_mobile.panoptic import PanopticResult

T = TypeVar("T")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--output", required=True, type=click.Path(path_type=Path), help="Folder for overlays and COCO panoptic results."
)
@click.option("--num-threads", type=click.IntRange(1, 64), help="Threads of the runtime.")
@click.option("--providers", help="Execution providers of ONNX Runtime, comma-separated, the preferred one first.")
@click.option(
    "--graph-optimization",
    type=click.Choice(["all", "extended", "basic", "none"]),
    help="What ONNX Runtime does to the graph when it loads it; all if not given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per image, for machines.")
def command(
    model: Path,
    images: tuple[str, ...],
    output: Path,
    num_threads: int | None,
    providers: str | None,
    graph_optimization: "Optimization | None",
    as_json: bool,
) -> None:
    """Segment images (files, folders or glob patterns) with a model file.

    Writes NAME_overlay.png and panoptic/NAME.png for each image and panoptic.json for all: the COCO panoptic format.

    \b
    maskconver-mobile segment maskconver_256.tflite photo.jpg holiday/ --output results
    """
    from maskconver_mobile.batch import find_images, segment_files, without_results
    from maskconver_mobile.cli.terminal import say
    from maskconver_mobile.segmenter import Segmenter

    paths = without_results(find_images(images), output)
    segmenter = Segmenter(
        model,
        num_threads=num_threads,
        providers=providers.split(",") if providers else None,
        graph_optimization=graph_optimization,
    )
    failed = 0
    for path, done in _progress(segment_files(segmenter, paths, output), len(paths)):
        if isinstance(done, MaskConverError):
            failed += 1
            say(f"skipped: {done}")
        elif as_json:
            click.echo(json.dumps({"image": str(path), **done.annotation, "timings_ms": done.result.timings_ms}))
        else:
            show(path, done.result)
    if failed:
        raise MaskConverError(f"{failed} of {len(paths)} images could not be segmented; the others are in {output}")


def _progress(items: Iterable[T], total: int) -> Iterator[T]:
    """A bar on standard error, where there is more than one image to wait for."""
    from rich.progress import track

    from maskconver_mobile.cli.terminal import PlainConsole

    console = PlainConsole(stderr=True)
    shown = total > 1 and console.is_terminal
    return iter(track(items, "Segmenting", total=total, console=console, transient=True, disable=not shown))


def show(path: Path, result: "PanopticResult") -> None:
    """Print a result's segments as a table."""
    from rich.table import Table

    from maskconver_mobile.cli.terminal import PlainConsole

    height, width = result.panoptic_map.shape
    table = Table("segment", "kind", "score", "area", "x, y, width, height", title=f"{path.name}  {width}x{height}")
    for s in result.segments:
        share = f"{100 * s.area / (height * width):.1f} %"
        table.add_row(s.label, "thing" if s.is_thing else "stuff", f"{s.score:.2f}", share, str(s.bbox)[1:-1])
    table.caption = ", ".join(f"{stage} {ms:.1f} ms" for stage, ms in result.timings_ms.items())
    PlainConsole().print(table)
