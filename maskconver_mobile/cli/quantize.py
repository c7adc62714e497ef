"""`maskconver-mobile quantize`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskconver_mobile.cli.parameters import CALIBRATED, calibration_options, check_calibration, refuse

if TYPE_CHECKING:
    from maskconver_mobile.converters.quantization.sensitivity import Sensitivity

RECIPES = ("float16", "dynamic", *CALIBRATED)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--recipe", type=click.Choice(RECIPES), default="int8", show_default=True, help="Number formats.")
@click.option("--output", type=click.Path(path_type=Path), help="The file to write, of the same format.")
@calibration_options
@click.option("--analyse", is_flag=True, help="Report what each layer loses instead of writing a model.")
def command(
    model: Path,
    recipe: str,
    output: Path | None,
    calibration: Path | None,
    num_calibration: int,
    keep_float: tuple[str, ...],
    gate: Path | None,
    max_loss: float,
    analyse: bool,
) -> None:
    """Quantize a float32 model of ours.

    \b
    maskconver-mobile quantize model.tflite --recipe int8 --calibration photos --output model_int8.tflite
    maskconver-mobile quantize model.tflite --recipe int8 --calibration photos --analyse
    """
    from maskconver_mobile.extras import require_quantizer

    check_calibration(recipe)
    require_quantizer(model.suffix, recipe)
    from maskconver_mobile.cli.progress import progress, show_notes, show_skipped, show_verdict
    from maskconver_mobile.converters.quantization.quantize_file import analyse_file, quantize_file
    from maskconver_mobile.files import refuse_own_input

    if analyse:
        refuse(("output", "keep_float", "gate", "max_loss"), "is for writing a model; leave --analyse out")
        report, data = analyse_file(
            model, recipe, calibration=calibration, num_calibration=num_calibration, progress=progress
        )
        show_skipped(data.skipped)
        _show(report, recipe)
        return
    if output is None:
        raise click.UsageError("give --output, the file to write, or --analyse")
    refuse_own_input(output, model)
    done = quantize_file(
        model,
        output,
        recipe,
        calibration=calibration,
        num_calibration=num_calibration,
        keep_float=keep_float,
        gate=gate,
        max_loss=max_loss,
        progress=progress,
    )
    show_skipped(done.skipped)
    show_notes(done.notes)
    share = output.stat().st_size / model.stat().st_size
    click.echo(f"{output}  {output.stat().st_size / 1e6:.1f} MB ({share:.0%})  {done.card.recipe}")
    show_verdict(done)


def _show(report: "Sensitivity", recipe: str) -> None:
    from rich.table import Table

    from maskconver_mobile.cli.terminal import show

    table = Table(title=f"{recipe}: signal to noise of the heads {report.total:.1f} dB")
    table.add_column("layer", min_width=max(len(layer.layer) for layer in report.layers))
    table.add_column("quantized alone, dB", justify="right")
    table.add_column("kept float saves, dB", justify="right")
    for layer in report.layers:
        table.add_row(layer.layer, f"{layer.alone:.1f}", f"{layer.saves:+.2f}")
    show(table)
