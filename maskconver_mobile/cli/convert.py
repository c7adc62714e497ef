"""`maskconver-mobile convert`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from maskconver_mobile.card import InputType, Level
from maskconver_mobile.cli.parameters import CALIBRATED, calibration_options, check_calibration, parse_size, refuse
from maskconver_mobile.errors import MaskConverError

if TYPE_CHECKING:
    from maskconver_mobile.converters.spec import Target

EXPERIMENTS = (
    "maskconver_coco",
    "maskconver_seg_pascal",
    "maskconver_seg_cityscapes",
    "multiscale_maskconver_coco",
)
"""As `converters.config` knows them, which `--help` should not have to import."""


@click.command()
@click.option("--config", required=True, type=click.Path(path_type=Path), help="Model Garden YAML.")
@click.option(
    "--checkpoint",
    required=True,
    type=click.Path(path_type=Path),
    help="Checkpoint prefix, .index file or folder.",
)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The file to write.")
@click.option(
    "--experiment",
    type=click.Choice(EXPERIMENTS),
    help="Of Model Garden, which a YAML does not name; what its keys show if not given.",
)
@click.option(
    "--format",
    type=click.Choice(["tflite", "onnx", "ort"]),
    help="Of the file; what the output's suffix says if not given.",
)
@click.option(
    "--level",
    type=click.Choice(get_args(Level)),
    default="masks",
    show_default=True,
    help="Where the graph ends.",
)
@click.option(
    "--target",
    type=click.Choice(["cpu", "arm", "gpu", "reference"]),
    default="cpu",
    show_default=True,
    help="Kernels to write the graph for; reference is the plain graph. The answer is the same.",
)
@click.option("--input-size", type=parse_size, metavar="HxW", help="Of the input, instead of the YAML's.")
@click.option(
    "--input-type",
    type=click.Choice(get_args(InputType)),
    show_default="pixels; uint8 with --quantize int8",
    help="pixels: RGB 0..255 as float32, resized without rounding; uint8: rounded; float32: the normalized image.",
)
@click.option("--output-size", type=parse_size, metavar="HxW", help="Height x width of the maps; level panoptic only.")
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Of the weights.",
)
@click.option(
    "--half-precision",
    type=click.Choice(["allow", "forbid"]),
    show_default="allow for .tflite files of level masks and panoptic",
    help="Whether processors may compute a float graph in float16, twice as fast on phones.",
)
@click.option(
    "--quantize",
    type=click.Choice(["none", "float16", "dynamic", *CALIBRATED]),
    default="none",
    show_default=True,
    help="Recipe; float16 is --precision float16. Integer activations need --calibration.",
)
@calibration_options
@click.option("--labels", type=click.Path(path_type=Path), help="Category names, JSON in the COCO panoptic format.")
@click.option(
    "--weights",
    type=click.Choice(["auto", "raw", "ema"]),
    default="auto",
    show_default=True,
    help="Of a trainer's checkpoint: as trained, or their moving averages; auto: averages where all have one.",
)
@click.option(
    "--mediapipe",
    type=click.Path(path_type=Path),
    help="Write the categories also as a .tflite file for MediaPipe's ImageSegmenter; level panoptic, target gpu.",
)
@click.option("--explain", is_flag=True, help="Print what each rewrite of the graph did.")
@click.option("--drop-unlabelled", is_flag=True, help="Leave out the classes that the label set does not name.")
def command(
    level: Level,
    target: "Target",
    input_type: InputType | None,
    output_size: tuple[int, int] | None,
    quantize: str,
    half_precision: str | None,
    calibration: Path | None,
    num_calibration: int,
    keep_float: tuple[str, ...],
    gate: Path | None,
    max_loss: float,
    target_agreement: float | None,
    explain: bool,
    mediapipe: Path | None,
    **options: Any,
) -> None:
    """Turn a Model Garden checkpoint into one self-describing model file.

    \b
    maskconver-mobile convert --config maskconver_256.yaml --checkpoint ckpt-500000 --output maskconver_256.tflite
    maskconver-mobile convert --config maskconver_256.yaml --checkpoint ckpt-500000 --output maskconver_int8.tflite \\
        --quantize int8 --calibration photos
    """
    _require(options["output"], quantize)
    if mediapipe is not None:
        _check_mediapipe(mediapipe, options["output"], level)
    from maskconver_mobile.cli.progress import progress, show_notes, show_skipped, show_verdict
    from maskconver_mobile.cli.terminal import PlainConsole
    from maskconver_mobile.converters.convert import convert
    from maskconver_mobile.converters.spec import GraphSpec
    from maskconver_mobile.text import printable

    input_type = input_type or ("uint8" if quantize == "int8" else "pixels")
    options["half_precision"] = None if half_precision is None else half_precision == "allow"
    spec = GraphSpec(level=level, target=target, input_type=input_type, output_size=output_size)
    output: Path = options["output"]
    done = None
    if quantize in ("none", "float16"):
        without = ("calibration", "num_calibration", "keep_float", "gate", "max_loss", "target_agreement")
        refuse(without, "needs --quantize dynamic, int8 or int16x8")
        if quantize == "float16":
            options["precision"] = quantize
        with PlainConsole(stderr=True).status("Converting"):
            card = convert(spec=spec, **options)
    else:
        from maskconver_mobile.cli.mixes import show_search
        from maskconver_mobile.converters.quantization.quantize_file import convert_quantized

        check_calibration(quantize)
        done = convert_quantized(
            quantize,
            spec=spec,
            calibration=calibration,
            num_calibration=num_calibration,
            keep_float=keep_float,
            gate=gate,
            max_loss=max_loss,
            target_agreement=target_agreement,
            progress=progress,
            **options,
        )
        show_skipped(done.skipped)
        show_notes(done.notes)
        card = done.card
        if done.search is not None:
            show_search(done.search, quantize)
    if mediapipe is not None:
        from maskconver_mobile.converters.backends.tflite.mediapipe import write_mediapipe

        write_mediapipe(output, mediapipe)
    height, width = card.input_size
    size = output.stat().st_size / 1e6
    click.echo(f"{output}  {size:.1f} MB  {card.recipe}, {height}x{width} {card.input_type}, level {card.level}")
    if done is not None:
        show_verdict(done)
    weights = f", {card.source['weights']}" if "weights" in card.source else ""
    click.echo(f"weights of {printable(card.source['checkpoint'])}{weights}")
    click.echo(f"read as {card.source['experiment']}: {card.source['experiment_reason']}")
    if explain:
        from maskconver_mobile.cli.passes import show_passes

        show_passes(card)


def _require(output: Path, recipe: str) -> None:
    """Refuse to begin without the extras that format and recipe need."""
    from maskconver_mobile.extras import require, require_quantizer
    from maskconver_mobile.formats import ONNX, ORT

    require("convert", "converting")
    if output.suffix.lower() in (ONNX.suffix, ORT.suffix):
        require("onnx", f"{output}: writing it")
    if recipe not in ("none", "float16"):
        require_quantizer(output.suffix, recipe)


def _check_mediapipe(path: Path, output: Path, level: Level) -> None:
    """Refuse to begin where the second file could not be made of the first, or not be written.

    Raises:
        MaskConverError: it could not.
    """
    from maskconver_mobile.files import ensure_writable, refuse_own_input
    from maskconver_mobile.formats import TFLITE

    for file in (path, output):
        if file.suffix.lower() != TFLITE.suffix:
            raise MaskConverError(f"{file}: --mediapipe takes and writes .tflite files; name it *{TFLITE.suffix}")
    if level != "panoptic":
        raise MaskConverError(f"{output}: is of level {level}; MediaPipe needs --level panoptic")
    refuse_own_input(path, output)
    ensure_writable(path)
