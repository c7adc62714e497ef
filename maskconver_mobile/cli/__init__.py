"""The command line: one module per verb, imported only when it is asked for."""

import os
import signal
import sys
from importlib import import_module
from types import FrameType

import click

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.text import printable

VERBS = ("convert", "quantize", "segment", "inspect", "evaluate", "compare", "benchmark", "demo", "web")
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
    """MaskConver panoptic segmentation on phones: convert a checkpoint, run it, measure it."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


class _Terminated(BaseException):
    """The system asks the process to end; raised so that unfinished files are removed."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def main() -> None:
    """Run the command line. Mistakes of the user print one line and exit 2; an interrupt exits 130."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = cli.main(standalone_mode=False)
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


def _exit(message: str, code: int) -> None:
    click.echo(printable(message), err=True)
    sys.exit(code)
