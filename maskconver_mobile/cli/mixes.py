"""Tables of what quantizing costs: by layer, and by mix of integer and float layers."""

from typing import TYPE_CHECKING

import click
from rich.table import Table

from maskconver_mobile.cli.terminal import show
from maskconver_mobile.text import printable

if TYPE_CHECKING:
    from maskconver_mobile.converters.quantization.sensitivity import Sensitivity
    from maskconver_mobile.converters.quantization.target import Search


def show_sensitivity(report: "Sensitivity", recipe: str) -> None:
    """What each layer loses, saves and costs."""
    table = Table(
        title=f"{recipe}: {report.total:.1f} dB at the heads; work of {report.multiply_adds / 1e6:.0f} M "
        f"multiply-adds, size of {report.bytes / 1e6:.1f} MB"
    )
    table.add_column("layer", overflow="fold")
    for title in ("alone, dB", "float saves, dB", "work, %", "size, %"):
        table.add_column(title, justify="right", width=6)
    for layer in report.layers:
        shares = f"{100 * layer.work:.2f}", f"{100 * layer.size:.2f}"
        table.add_row(layer.layer, f"{layer.alone:.1f}", f"{layer.saves:+.2f}", *shares)
    show(table)


def show_search(search: "Search", recipe: str) -> None:
    """The mixes that were tried for a target, the one that was written, and its float layers."""
    table = Table(title=f"{recipe} to {search.target:g} of the stable pixels of {search.images} images")
    table.add_column("mix")
    for title in ("float layers", "stable, %", "all, %", "heads, dB", "MB", "integer, %", "float, %"):
        table.add_column(title, justify="right")
    for name, mix in (*(("tried", mix) for mix in search.tried), ("written", search.written)):
        shares = (f"{100 * share:.2f}" for share in (mix.stable, mix.agreement))
        work = (f"{100 * share:.1f}" for share in (1 - mix.float_work, mix.float_work))
        table.add_row(name, str(len(mix.kept)), *shares, f"{mix.snr_db:.1f}", f"{mix.bytes / 1e6:.2f}", *work)
    show(table)
    click.echo(f"kept float: {printable(', '.join(search.written.kept)) or 'nothing'}")
