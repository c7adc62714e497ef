"""The command line: one module per verb, imported only when it is asked for."""

import os
import signal
import sys
import warnings
from importlib import import_module
from types import FrameType

import click

from maskconver_mobile.cli.streams import StandardError, StandardOutput, guarded
from maskconver_mobile.errors import GateShut, MaskConverError, MaskConverWarning
from maskconver_mobile.text import printable

VERBS = (
    "segment",
    "convert",
    "quantize",
    "inspect",
    "evaluate",
    "compare",
    "benchmark",
    "demo",
    "web",
    "doctor",
    "completion",
)
MODULES = {"inspect": "inspect_model"}
"""Where a verb's module has another name: Python's own modules find their like by name, wherever a script lies."""


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"{__name__}.{MODULES.get(cmd_name, cmd_name)}").command
        return command


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=_Verbs, invoke_without_command=True, context_settings=SETTINGS)
@click.version_option(package_name="maskconver-mobile")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """MaskConver panoptic segmentation on phones: convert a checkpoint, run it, measure it.

    \b
    maskconver-mobile segment photo.jpg      with the bundled model
    maskconver-mobile doctor                 what is installed, and how to install the rest

    Exit code 0: done. 1: a gate is shut, or a part of the work failed. 2: wrong usage or input, said in one line.
    130: Ctrl-C.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


class _Terminated(BaseException):
    """The system asks the process to end; raised so that unfinished files are removed."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def main() -> None:
    """Run the command line. Mistakes of the user print one line and exit 2, a shut gate 1; an interrupt exits 130."""
    signal.signal(signal.SIGTERM, _terminate)
    _prepare_output()
    try:
        code = cli.main(standalone_mode=False)
    except GateShut as error:
        _exit(f"error: {error}", 1)
    except MaskConverError as error:
        _exit(f"error: {error}", 2)
    except click.ClickException as error:
        _exit(f"error: {error.format_message()}", 2)
    except (click.Abort, KeyboardInterrupt):
        _exit("interrupted", 130)
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _prepare_output() -> None:
    """Survive streams that cannot be written; show our own warnings as one line, and no one else's."""
    sys.stdout, sys.stderr = guarded(sys.stdout, StandardOutput), guarded(sys.stderr, StandardError)
    warnings.simplefilter("ignore")
    warnings.simplefilter("always", MaskConverWarning)
    warnings.showwarning = lambda message, *_, **__: click.echo(printable(f"note: {message}"), err=True)


def _exit(message: str, code: int) -> None:
    click.echo(printable(message), err=True)
    sys.exit(code)
