"""`maskconver-mobile segment`."""

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from maskconver_mobile.cli.parameters import STDOUT, check_json_target, json_option, threads_option, write_json
from maskconver_mobile.errors import MaskConverError

if TYPE_CHECKING:
    from maskconver_mobile.formats.engines import Optimization
    from maskconver_mobile.result import PanopticResult
    from maskconver_mobile.segmenter import Segmenter


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(allow_dash=True), metavar="[MODEL] IMAGE...")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder for overlays and COCO panoptic results; - writes the overlay of one image to standard output.",
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="Least score of a proposal, instead of the model's own.")
@click.option("--overlay/--no-overlay", default=True, help="Draw the segments over the images?")
@click.option(
    "--format", type=click.Choice(["png", "jpg", "webp"]), default="png", show_default=True, help="Of the overlays."
)
@click.option("--recursive", "-r", is_flag=True, help="Folders in folders too.")
@click.option("--resume", is_flag=True, help="Pass over images whose results are in the folder from before.")
@threads_option()
@click.option("--providers", help="Execution providers of ONNX Runtime, comma-separated, the preferred one first.")
@click.option(
    "--graph-optimization",
    type=click.Choice(["all", "extended", "basic", "none"]),
    help="What ONNX Runtime does to the graph when it loads it; all if not given.",
)
@json_option
@click.option("--verbose", "-v", is_flag=True, help="A table of segments for each image, and timings.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but what went wrong.")
def command(
    images: tuple[str, ...],
    output: Path,
    threshold: float | None,
    num_threads: int | None,
    providers: str | None,
    graph_optimization: "Optimization | None",
    json_file: Path | None,
    **options: Any,
) -> int:
    """Segment images: files, folders, glob patterns, or - for one from standard input.

    A first word that ends in .tflite, .onnx or .ort is the model to use; otherwise it is the bundled one. Writes
    NAME_overlay.png and panoptic/NAME.png for each image and panoptic.json for all: the COCO panoptic format.

    Exit code 0 if all images were segmented, 1 if some could not be, 2 if none could.

    \b
    maskconver-mobile segment photo.jpg
    maskconver-mobile segment maskconver_256.tflite photo.jpg holiday/ --output results
    curl https://example.org/photo.jpg | maskconver-mobile segment - --output - > overlay.png
    """
    from maskconver_mobile.cli.terminal import without_chatter
    from maskconver_mobile.formats import is_model
    from maskconver_mobile.segmenter import Segmenter

    model = Path(images[0]) if is_model(Path(images[0])) else None
    sources = images[1:] if model is not None else images
    if not sources:
        raise click.UsageError(f"{model}: give images to segment behind the model")
    if options["verbose"] and options["quiet"]:
        raise click.UsageError("--verbose and --quiet contradict each other; give one of them")
    if not options["overlay"] and output == STDOUT:
        raise click.UsageError("--no-overlay leaves nothing to write to standard output; give a folder")
    check_json_target(json_file)
    with without_chatter():
        segmenter = Segmenter(
            model,
            num_threads=num_threads,
            providers=providers.split(",") if providers else None,
            graph_optimization=graph_optimization,
            object_mask_threshold=threshold,
        )
        if "-" in sources or output == STDOUT:
            return _one(segmenter, sources, output, json_file, options)
        return _all(segmenter, sources, output, json_file, options)


def _one(
    segmenter: "Segmenter", sources: Sequence[str], output: Path, json_file: Path | None, options: dict[str, Any]
) -> int:
    """One image, from standard input or with its overlay to standard output."""
    from maskconver_mobile.inference.batch import find_images, overlay_path, write_result
    from maskconver_mobile.inference.image_output import encode_image

    paths = [Path("stdin")] if list(sources) == ["-"] else find_images([s for s in sources if s != "-"])
    if len(paths) != 1 or len(sources) != 1:
        raise MaskConverError("- stands for one image; give no other with it")
    if output == STDOUT and json_file == STDOUT:
        raise MaskConverError("overlay and JSON cannot both go to standard output; give a file for one of them")
    path, suffix = paths[0], f".{options['format']}" if options["overlay"] else ""
    result = segmenter.segment(sys.stdin.buffer if sources[0] == "-" else path)
    if output == STDOUT:
        sys.stdout.buffer.write(encode_image(result.overlay(), Path(f"x{suffix}")))
        sys.stdout.buffer.flush()
        _, annotation = result.to_coco(path.stem, f"{path.stem}.png")
    else:
        annotation = write_result(result, path.stem, path.stem, output, suffix)
    if json_file is not None:
        write_json(json_file, _line(path, annotation, result))
    if not options["quiet"] and STDOUT not in (output, json_file):
        click.echo(summary(path, result, overlay_path(output, path.stem, suffix) if suffix else output))
    return 0


def _all(
    segmenter: "Segmenter", sources: Sequence[str], output: Path, json_file: Path | None, options: dict[str, Any]
) -> int:
    from maskconver_mobile.cli.progress import bar
    from maskconver_mobile.cli.terminal import say
    from maskconver_mobile.inference import batch

    suffix = f".{options['format']}" if options["overlay"] else ""
    paths = batch.without_results(batch.find_images(sources, recursive=options["recursive"]), output)
    names = batch.result_names(paths)
    earlier = batch.earlier_results(segmenter, output, suffix) if options["resume"] else {}
    left = [path for path in paths if f"{names[path]}.png" not in earlier]
    lines, failed, segments, start = list[str](), 0, 0, perf_counter()
    work = batch.segment_files(segmenter, paths, output, overlay=suffix, done=earlier)
    last: tuple[Path, PanopticResult] | None = None
    with bar() as shown, closing(work) as results:
        task = shown.add_task("Segmenting", total=len(left), visible=len(left) > 1)
        for path, done in results:
            shown.advance(task)
            if isinstance(done, MaskConverError):
                failed += 1
                say(f"skipped: {done}")
                continue
            segments, last = segments + len(done.result), (path, done.result)
            if json_file == STDOUT:
                click.echo(_line(path, done.annotation, done.result))
            elif json_file is not None:
                lines.append(_line(path, done.annotation, done.result))
            if options["verbose"] and json_file != STDOUT:
                show_segments(path, done.result)
    if json_file not in (None, STDOUT):
        write_json(json_file, "\n".join(lines))
    if not options["quiet"] and json_file != STDOUT and (last or not failed):
        if len(paths) == 1 and last is not None:
            place = batch.overlay_path(output, names[last[0]], suffix) if suffix else output
            click.echo(summary(*last, place))
        else:
            count, seconds = len(left) - failed, perf_counter() - start
            before = f", {len(paths) - len(left)} were done before" if earlier else ""
            click.echo(f"{count} images, {segments} segments in {seconds:.1f} s{before}: {output}")
    if failed and last is None:
        raise MaskConverError(f"none of {failed} images could be segmented" if failed > 1 else "nothing was segmented")
    if failed:
        say(f"{failed} of {len(left)} images could not be segmented; the others are in {output}")
    return int(failed > 0)


def _line(path: Path, annotation: dict[str, Any], result: "PanopticResult") -> str:
    return json.dumps({"image": str(path), **annotation, "timings_ms": result.timings_ms})


def summary(path: Path, result: "PanopticResult", place: Path) -> str:
    """What is in one image, and where its results are."""
    from maskconver_mobile.text import printable

    height, width = result.panoptic_map.shape
    shown = [f"{s.label} {s.score:.2f}" for s in result.segments[:4]]
    more = [f"{len(result) - 4} more"] if len(result) > 4 else []
    found = ", ".join(shown + more) or "nothing above the threshold"
    milliseconds = sum(result.timings_ms.values())
    return printable(f"{path.name} {width}x{height}: {found}; {milliseconds:.0f} ms: {place}")


def show_segments(path: Path, result: "PanopticResult") -> None:
    """Print a result's segments as a table."""
    from rich.table import Table

    from maskconver_mobile.cli.terminal import show

    height, width = result.panoptic_map.shape
    table = Table("segment", "kind", "score", "area", "x, y, width, height", title=f"{path.name}  {width}x{height}")
    for s in result.segments:
        share = f"{100 * s.area / (height * width):.1f} %"
        table.add_row(s.label, "thing" if s.is_thing else "stuff", f"{s.score:.2f}", share, str(s.bbox)[1:-1])
    table.caption = ", ".join(f"{stage} {ms:.1f} ms" for stage, ms in result.timings_ms.items())
    show(table)
