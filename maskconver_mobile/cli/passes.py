"""What the rewrites of a graph did, as a table."""

from importlib import import_module
from itertools import pairwise

from maskconver_mobile.card import ModelCard

IDLE = "found nothing to do"


def show_passes(card: ModelCard) -> None:
    """Each pass in order: places, multiply-adds behind it, what it saved, and what it is for."""
    from rich.table import Table

    from maskconver_mobile.cli.terminal import PlainConsole

    if not card.passes:
        PlainConsole().print("the file does not say how its graph was made; convert it again")
        return
    first, *_ = card.passes
    table = Table("pass", title=f"network: {first.places} operations, {first.multiply_adds / 1e6:,.1f} M multiply-adds")
    table.title_justify = "left"
    for name in ("places", "M multiply-adds", "change"):
        table.add_column(name, justify="right")
    table.add_column("what it does")
    for before, each in pairwise(card.passes):
        change = (each.multiply_adds - before.multiply_adds) / 1e6
        total = f"{each.multiply_adds / 1e6:,.1f}"
        words = purpose(each.name) if each.places else f"{IDLE} ({purpose(each.name)})"
        table.add_row(each.name, str(each.places), total, f"{change:+,.1f}" if change else "", words)
    PlainConsole().print(table)


def purpose(name: str) -> str:
    """The first sentence of a pass's description; empty for one that this version does not have."""
    function = getattr(import_module("maskconver_mobile.converters.passes"), name, None)
    return (function.__doc__ or "").strip().splitlines()[0].rstrip(".") if callable(function) else ""
