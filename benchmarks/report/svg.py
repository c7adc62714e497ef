"""Plots as inline SVG: horizontal bars, stacked bars and boxes over one shared axis."""

import math
from collections.abc import Callable, Sequence
from html import escape

from maskconver_mobile.benchmarks.report.stats import Statistics

WIDTH, LABEL, ROW, AXIS = 960, 330, 26, 24
MAX_DOTS = 400
COLORS = ("#2f6db3", "#d9822b", "#3a9a68", "#a04d92", "#b8a12c", "#5a6b7b", "#c64646", "#4aa5b5")


def bars(rows: Sequence[tuple[str, float]], unit: str) -> str:
    """One bar a row, with its value beside it."""
    return _plot(
        [label for label, _ in rows],
        max((value for _, value in rows), default=0.0),
        unit,
        lambda i, scale: _bar(0.0, rows[i][1], scale, COLORS[0]) + _value(rows[i][1], scale, unit),
    )


def stacked(rows: Sequence[tuple[str, Sequence[float]]], names: Sequence[str], unit: str) -> str:
    """One bar a row, made of a part for each name, with the sum beside it and a legend above."""

    def row(i: int, scale: float) -> str:
        start, parts = 0.0, []
        for name, value, color in zip(names, rows[i][1], COLORS, strict=False):
            parts.append(_bar(start, value, scale, color, f"{name}: {value:.2f} {unit}"))
            start += value
        return "".join(parts) + _value(start, scale, unit)

    legend = "".join(
        f'<span class="key"><i style="background:{color}"></i>{escape(name)}</span>'
        for name, color in zip(names, COLORS, strict=False)
    )
    longest = max((sum(values) for _, values in rows), default=0.0)
    return f"<p>{legend}</p>" + _plot([label for label, _ in rows], longest, unit, row)


def boxes(rows: Sequence[tuple[str, Statistics, Sequence[float]]], unit: str) -> str:
    """One row of dots for each sample set, with a box from p25 to p75, the median, and p90 as a tick."""

    def row(i: int, scale: float) -> str:
        _, stats, samples = rows[i]
        shown = _thinned(samples)
        dots = "".join(
            f'<circle cx="{LABEL + value * scale:.1f}" cy="{8 + 10 * ((k * 7919) % 11) / 11:.1f}" r="1.6"/>'
            for k, value in enumerate(shown)
        )
        marks = f'<g class="dots">{dots}</g>'
        if stats.p25 is not None and stats.p75 is not None:
            width = max((stats.p75 - stats.p25) * scale, 1)
            marks += f'<rect class="box" x="{LABEL + stats.p25 * scale:.1f}" y="6" width="{width:.1f}" height="14"/>'
        else:
            marks += _line(stats.min, scale, "range") + _line(stats.max, scale, "range")
        marks += _line(stats.typical, scale, "median")
        if stats.p90 is not None:
            marks += _line(stats.p90, scale, "p90")
        return marks + _value(max((*samples, stats.max)), scale, unit, f"{stats.typical:.2f}")

    longest = max((stats.max for _, stats, _ in rows), default=0.0)
    return _plot([label for label, _, _ in rows], longest, unit, row)


def _thinned(samples: Sequence[float]) -> list[float]:
    """About 400 of many, in order; the shortest and the longest stay."""
    step = max(1, len(samples) // MAX_DOTS)
    ends = {samples.index(pick(samples)) for pick in (min, max)} if samples else set()
    return [sample for i, sample in enumerate(samples) if i % step == 0 or i in ends]


def _plot(labels: Sequence[str], longest: float, unit: str, draw: Callable[[int, float], str]) -> str:
    scale = (WIDTH - LABEL - 90) / (longest or 1.0)
    height = ROW * len(labels) + AXIS
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img">', _axis(longest, scale, height, unit)]
    for i, label in enumerate(labels):
        short = label if len(label) < 52 else label[:24] + "…" + label[-26:]
        parts.append(
            f'<g transform="translate(0 {i * ROW})"><text class="label" x="{LABEL - 8}" y="17">{escape(short)}'
            f"<title>{escape(label)}</title></text>{draw(i, scale)}</g>"
        )
    return "".join(parts) + "</svg>"


def _axis(longest: float, scale: float, height: int, unit: str) -> str:
    step = _tick(longest)
    ticks, value = [], 0.0
    while value <= longest * 1.001:
        x = LABEL + value * scale
        ticks.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - AXIS}"/>')
        ticks.append(f'<text class="tick" x="{x:.1f}" y="{height - 8}">{value:g} {unit}</text>')
        value += step
    return "".join(ticks)


def _tick(longest: float) -> float:
    if longest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(longest / 5))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= longest / 5)


def _bar(start: float, value: float, scale: float, color: str, title: str = "") -> str:
    hint = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect x="{LABEL + start * scale:.1f}" y="4" width="{max(value * scale, 0.5):.1f}" height="18" '
        f'fill="{color}">{hint}</rect>'
    )


def _value(at: float, scale: float, unit: str, text: str = "") -> str:
    return f'<text x="{LABEL + at * scale + 6:.1f}" y="17">{text or f"{at:.2f}"} {unit}</text>'


def _line(at: float, scale: float, kind: str) -> str:
    x = LABEL + at * scale
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="3" y2="23"/>'
