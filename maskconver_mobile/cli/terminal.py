"""The terminal: names from files, cards and devices are shown as they stand, and never understood as markup."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.text import Text

from maskconver_mobile.cli.streams import StandardError, as_text
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.text import plain, printable

if TYPE_CHECKING:
    from rich.table import Table


class PlainConsole(Console):
    """A console that shows any text as it stands, without control characters."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """All text of tables, titles and lines comes by here."""
        return super().render_str(plain(text), **options)


def say(message: str) -> None:
    """One line on standard error."""
    click.echo(printable(message), err=True)


def show(*tables: "Table") -> None:
    """Print tables: drawn for a person, and with tabs between the cells for a program that reads them from a pipe.

    For a person, what is wider than its column's `max_width` loses its middle.
    """
    console = PlainConsole()
    if console.is_terminal:
        for column in (column for table in tables for column in table.columns):
            if column.max_width is not None:
                column.header = shorten(str(column.header), column.max_width)
                column._cells = [shorten(str(cell), column.max_width) for cell in column.cells]
        console.print(*tables)
        return
    for table in tables:
        if table.title:
            click.echo(f"# {printable(str(table.title))}")
        if table.show_header:
            click.echo("\t".join(plain(str(column.header)) for column in table.columns))
        for row in zip(*(column.cells for column in table.columns), strict=True):
            click.echo("\t".join(plain(str(cell)) for cell in row))


def shorten(name: str, width: int = 32) -> str:
    """A name of at most `width` characters, without its middle: both ends tell files apart."""
    if len(name) <= width:
        return name
    end = (width - 1) * 2 // 3
    return f"{name[: width - 1 - end]}…{name[-end:]}"


@contextmanager
def without_chatter() -> Iterator[None]:
    """Keep what runtimes print by themselves off standard error, and what Python prints on it.

    If the work fails in a way that nobody foresaw, it is shown after all.
    """
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    own = sys.stderr
    with tempfile.TemporaryFile() as log, as_text(StandardError(saved, "w")) as stderr:
        sys.stderr = stderr
        os.dup2(log.fileno(), 2)
        try:
            yield
        except (click.ClickException, click.exceptions.Exit, click.Abort, KeyboardInterrupt):
            raise
        except Exception as error:
            if not isinstance(error, MaskConverError):
                log.seek(0)
                stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            stderr.flush()
            os.dup2(saved, 2)
            sys.stderr = own
