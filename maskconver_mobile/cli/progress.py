"""A progress bar on standard error, for verbs that work through many images."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar while the block runs, if a person is looking; yield what to call after each step."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)


def show_skipped(skipped: Sequence[tuple[Path, str]]) -> None:
    """Name the calibration images that could not be read, and count them."""
    for _, reason in skipped:
        click.echo(f"skipped: {reason}", err=True)
    if skipped:
        click.echo(f"skipped {len(skipped)} calibration images", err=True)
