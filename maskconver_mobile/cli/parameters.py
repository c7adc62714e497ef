"""Parameter types that several verbs share."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

CALIBRATED = ("int8", "int8-balanced", "int16x8")
STDOUT = Path("-")


def parse_size(value: str) -> tuple[int, int]:
    """`HEIGHTxWIDTH` in pixels, or one number for a square; a type for options.

    Raises:
        click.BadParameter: it is none.
    """
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no size; write HEIGHTxWIDTH such as 480x640")
    height = int(match[1])
    return height, int(match[2] or height)


def parse_numbers(value: str) -> tuple[int, ...]:
    """Whole numbers above 0, separated by commas; a type for options.

    Raises:
        click.BadParameter: they are none.
    """
    words = value.split(",")
    if not all(word.isdecimal() and 0 < int(word) < 10_000 for word in words):
        raise click.BadParameter(f"{value!r}: write numbers such as 1,2,4")
    return tuple(int(word) for word in words)


def _parse_json_target(value: str) -> Path:
    path = Path(value)
    if path != STDOUT and path.suffix.lower() not in (".json", ".jsonl") and (path.is_file() or not path.exists()):
        raise click.BadParameter(f"{value!r}: name it *.json, or give - for standard output")
    return path


json_option = click.option(
    "--json",
    "json_file",
    type=_parse_json_target,
    metavar="PATH|-",
    is_flag=False,
    flag_value="-",
    help="Write JSON to this file, or with - instead of tables to standard output.",
)
"""`--json PATH`; `--json -`, or `--json` at the end of the line, is standard output."""


def write_json(target: Path, text: str) -> None:
    """Write text that `--json` asked for.

    Raises:
        MaskConverError: the file cannot be written.
    """
    from maskconver_mobile.files import write_atomically

    if target == STDOUT:
        click.echo(text)
    else:
        write_atomically(target, f"{text}\n".encode())


def check_json_target(target: Path | None, *inputs: Path) -> None:
    """Fail before the work where the file could not be written, or is one of those that are read.

    Raises:
        MaskConverError: it could not, or is.
    """
    from maskconver_mobile.files import ensure_writable, refuse_own_input

    if target is not None and target != STDOUT:
        refuse_own_input(target, *inputs)
        ensure_writable(target)


def threads_option(default: int | None = None, help: str = "Threads of the runtime.") -> Callable[..., Any]:
    """`--threads`, as `num_threads`."""
    return click.option(
        "--threads", "num_threads", type=click.IntRange(1, 64), default=default, show_default=True, help=help
    )


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
    if given["target_agreement"] is not None:
        if recipe not in CALIBRATED:
            raise click.UsageError(f"--target-agreement is for recipes {', '.join(CALIBRATED)}; choose int8")
        refuse(("max_loss",), "is a gate of its own; leave it out with --target-agreement")
    if recipe not in CALIBRATED:
        refuse(("calibration",), f"is for recipes {', '.join(CALIBRATED)}; leave it out")
    if given["calibration"] is None:
        refuse(("num_calibration",), "needs --calibration")
    if given["gate"] is None:
        refuse(("max_loss",), "needs --gate")


def calibration_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Of verbs that quantize: images to calibrate on, layers to leave float, and what the result must keep."""
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
            "--target-agreement",
            type=click.FloatRange(0, 1, min_open=True),
            help="Keep as few layers float as let this share of the float model's stable pixels keep their category.",
        ),
        click.option(
            "--keep-float", multiple=True, help="Layer path or pattern, such as 'class_head/*', to leave float."
        ),
        click.option(
            "--num-calibration",
            type=click.IntRange(1, 1000),
            default=64,
            show_default=True,
            help="Images to calibrate on at most.",
        ),
        click.option("--calibration", type=folder, help="Folder of images like those of later use."),
    ):
        command = option(command)
    return command
