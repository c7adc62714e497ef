"""The terminal: names from files, cards and devices are shown as they stand, and never understood as markup."""

from typing import Any

import click
from rich.console import Console
from rich.text import Text

from maskconver_mobile.text import plain, printable


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
