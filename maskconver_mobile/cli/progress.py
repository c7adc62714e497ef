"""A progress bar on standard error, for verbs that work through many images."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar while the block runs, if a person is looking; yield what to call after each step."""
    from rich.progress import Progress

    from maskconver_mobile.cli.terminal import PlainConsole

    console = PlainConsole(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)


def show_skipped(skipped: Sequence[tuple[Path, str]]) -> None:
    """Name the calibration images that could not be read, and count them."""
    from maskconver_mobile.cli.terminal import say

    for _, reason in skipped:
        say(f"skipped: {reason}")
    if skipped:
        say(f"skipped {len(skipped)} calibration images")
