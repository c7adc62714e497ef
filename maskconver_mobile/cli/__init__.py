"""The command line: one module per verb, imported only when it is asked for."""

import sys
from importlib import import_module

import click

from maskconver_mobile.errors import MaskConverError

VERBS = ("convert", "quantize", "segment", "inspect", "evaluate", "compare", "benchmark", "demo", "web")


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="maskconver-mobile")
def cli() -> None:
    """MaskConver panoptic segmentation on phones: convert a checkpoint, run it, measure it."""


def main() -> None:
    """Run the command line. Mistakes of the user print one line and exit 2; an interrupt exits 130."""
    try:
        code = cli.main(standalone_mode=False)
    except MaskConverError as error:
        _exit(f"error: {error}", 2)
    except click.ClickException as error:
        _exit(f"error: {error.format_message()}", 2)
    except (click.Abort, KeyboardInterrupt):
        _exit("interrupted", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _exit(message: str, code: int) -> None:
    click.echo(" ".join(message.split()), err=True)
    sys.exit(code)
