"""Parameter types that several verbs share."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

CALIBRATED = ("int8", "int16x8")


class Size(click.ParamType[tuple[int, int]]):
    """`HEIGHTxWIDTH` in pixels, or one number for a square."""

    name = "HxW"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Parse the text."""
        match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(value))
        if match is None:
            self.fail(f"{value!r} is no size; write HEIGHTxWIDTH such as 480x640", param, ctx)
        height = int(match[1])
        return height, int(match[2] or height)


def refuse(names: Sequence[str], why: str) -> None:
    """Refuse options of the running command that were given and would have no effect.

    Raises:
        click.UsageError: one of them was given.
    """
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} {why}")


def check_calibration(recipe: str) -> None:
    """Refuse those of `calibration_options` that the recipe, or the absence of others, leaves without effect.

    Raises:
        click.UsageError: there is one.
    """
    given = click.get_current_context().params
    if recipe not in CALIBRATED:
        refuse(("calibration",), f"is for recipes {' and '.join(CALIBRATED)}; leave it out")
    if given["calibration"] is None:
        refuse(("num_calibration",), "needs --calibration")
    if given["gate"] is None:
        refuse(("max_loss",), "needs --gate")


def calibration_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of verbs that quantize: `calibration`, `num_calibration`, `keep_float`, `gate`, `max_loss`."""
    folder = click.Path(path_type=Path)
    for option in (
        click.option(
            "--max-loss",
            type=click.FloatRange(0, 1),
            default=0.07,
            show_default=True,
            help="Share of the gate's pixels whose category may change.",
        ),
        click.option("--gate", type=folder, help="Write only what agrees with the float model on these images."),
        click.option(
            "--keep-float", multiple=True, help="Layer path or pattern, such as 'class_head/*', to leave float."
        ),
        click.option(
            "--num-calibration",
            type=click.IntRange(1, 1000),
            default=64,
            show_default=True,
            help="Images to calibrate on.",
        ),
        click.option("--calibration", type=folder, help="Folder of images like those of later use; int8 and int16x8."),
    ):
        command = option(command)
    return command
