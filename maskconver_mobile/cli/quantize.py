"""`maskconver-mobile quantize`."""

from pathlib import Path
from typing import Any

import click

from maskconver_mobile.cli.parameters import (
    CALIBRATED,
    STDOUT,
    calibration_options,
    check_calibration,
    check_json_target,
    json_option,
    refuse,
    write_json,
)

SCHEMA = 1
RECIPES = ("float16", "dynamic", *CALIBRATED)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--recipe", type=click.Choice(RECIPES), default="int8", show_default=True, help="Number formats.")
@click.option("--output", type=click.Path(path_type=Path), help="The file to write, of the same format.")
@calibration_options
@click.option("--analyse", is_flag=True, help="Report what each layer loses instead of writing a model.")
@json_option
def command(
    model: Path,
    recipe: str,
    output: Path | None,
    calibration: Path | None,
    num_calibration: int,
    keep_float: tuple[str, ...],
    gate: Path | None,
    max_loss: float,
    target_agreement: float | None,
    analyse: bool,
    json_file: Path | None,
) -> None:
    """Quantize a float32 model of ours.

    \b
    maskconver-mobile quantize model.tflite --recipe int8 --calibration photos --output model_int8.tflite
    maskconver-mobile quantize model.tflite --recipe int8 --calibration photos --analyse
    maskconver-mobile quantize model.tflite --target-agreement 0.97 --calibration photos --output model_int8.tflite
    """
    import json
    from dataclasses import asdict

    from maskconver_mobile.extras import require_quantizer

    check_calibration(recipe)
    require_quantizer(model.suffix, recipe)
    from maskconver_mobile.cli.mixes import show_search, show_sensitivity
    from maskconver_mobile.cli.progress import progress, show_notes, show_skipped, show_verdict
    from maskconver_mobile.converters.quantization.quantize_file import analyse_file, quantize_file
    from maskconver_mobile.files import refuse_own_input

    def document(**content: Any) -> None:
        if json_file is not None:
            write_json(
                json_file, json.dumps({"schema": SCHEMA, "model": str(model), "recipe": recipe, **content}, indent=1)
            )

    if analyse:
        refuse(
            ("output", "keep_float", "gate", "max_loss", "target_agreement"),
            "is for writing a model; leave --analyse out",
        )
        check_json_target(json_file, model)
        report, data = analyse_file(
            model, recipe, calibration=calibration, num_calibration=num_calibration, progress=progress
        )
        show_skipped(data.skipped)
        document(**report.to_dict())
        if json_file != STDOUT:
            show_sensitivity(report, recipe)
        return
    if output is None:
        raise click.UsageError("give --output, the file to write, or --analyse")
    refuse_own_input(output, model)
    check_json_target(json_file, model, output)
    done = quantize_file(
        model,
        output,
        recipe,
        calibration=calibration,
        num_calibration=num_calibration,
        keep_float=keep_float,
        gate=gate,
        max_loss=max_loss,
        target_agreement=target_agreement,
        progress=progress,
    )
    show_skipped(done.skipped)
    show_notes(done.notes)
    size = output.stat().st_size
    found = {} if done.search is None else {"search": done.search.to_dict()}
    verdict = None if done.verdict is None else asdict(done.verdict)
    document(output=str(output), bytes=size, verdict=verdict, changed_share=done.loss, notes=list(done.notes), **found)
    if json_file == STDOUT:
        return
    if done.search is not None:
        show_search(done.search, recipe)
    click.echo(f"{output}  {size / 1e6:.1f} MB ({size / model.stat().st_size:.0%})  {done.card.recipe}")
    show_verdict(done)
