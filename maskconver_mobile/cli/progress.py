"""A progress bar on standard error, for verbs that work through many images."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress

    from maskconver_mobile.converters.quantization.quantize_file import Quantized


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar while the block runs, if a person is looking; yield what to call after each step."""
    with bar() as shown:
        task = shown.add_task(description, total=total)
        yield lambda: shown.advance(task)


def bar() -> "Progress":
    """A bar with steps done, rate and time left; silent where standard error is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft
    from rich.text import Text

    from maskconver_mobile.cli.terminal import PlainConsole

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    console = PlainConsole(stderr=True)
    words = TextColumn("{task.description}", markup=False)
    columns = (words, BarColumn(), MofNCompleteColumn(), Rate(), TimeLeft())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def show_skipped(skipped: Sequence[tuple[Path, str]]) -> None:
    """Name the images that could not be read, and count them."""
    from maskconver_mobile.cli.terminal import say

    for _, reason in skipped:
        say(f"skipped: {reason}")
    if skipped:
        say(f"skipped {len(skipped)} images")


def show_notes(notes: Sequence[str]) -> None:
    """What a person should know of a calibration."""
    from maskconver_mobile.cli.terminal import say

    for note in notes:
        say(f"note: {note}")


def show_verdict(done: "Quantized") -> None:
    """How much of the answer a quantized model keeps, and what the gate let through."""
    if done.verdict is not None:
        click.echo(str(done.verdict))
    if done.loss is not None:
        click.echo(f"passes the gate: changes {done.loss:.1%} of the pixels")
