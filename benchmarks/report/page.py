"""A report for people: one HTML page that needs no network, and a table for the terminal.

Times that come from an emulated processor are never shown as latency.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskconver_mobile.benchmarks.host.operator_times import by_type
from maskconver_mobile.benchmarks.host.stages import STAGES
from maskconver_mobile.benchmarks.report import svg
from maskconver_mobile.benchmarks.report.results import Machine, Report, Result
from maskconver_mobile.benchmarks.report.spread import stages_spread
from maskconver_mobile.benchmarks.report.stats import Statistics, summarize
from maskconver_mobile.files import write_atomically

if TYPE_CHECKING:
    from rich.table import Table

EMULATED = "emulated"
TOP_OPERATORS = 15
SHORT = ("median ms", "p90 ms", "slowest photograph", "noise ms", "ratio to first", "peak MiB", "stable pixels as here")


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _mebibytes(kib: int | None) -> str:
    return "" if kib is None else f"{kib / 1024:.1f}"


def _ratio(result: Result) -> str:
    found = result.ratio_to_first
    return "" if found is None else f"{found.median:.3f} [{found.p25:.3f}, {found.p75:.3f}]"


def _p90(result: Result) -> str:
    return _milliseconds(result.invoke.p90 if result.spread is None else result.spread.p90)


def _slowest(result: Result) -> str:
    return "" if result.spread is None else f"{result.spread.worst:.2f} {result.spread.worst_photo}"


def _noise(result: Result) -> str:
    if result.spread is not None:
        return _milliseconds(result.spread.noise)
    half = result.invoke.middle_half
    return "" if half is None else _milliseconds(half[1] - half[0])


LATENCY: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("median ms", lambda r: _milliseconds(r.typical_ms)),
    ("p90 ms", _p90),
    ("slowest photograph", _slowest),
    ("noise ms", _noise),
    ("mean ms", lambda r: _milliseconds(r.invoke.mean)),
    ("std ms", lambda r: _milliseconds(r.invoke.std)),
    ("min ms", lambda r: _milliseconds(r.invoke.min)),
    ("ratio to first", _ratio),
    ("load cold / warm ms", lambda r: f"{_milliseconds(r.load_cold_ms)} / {_milliseconds(r.load_warm_ms)}"),
    ("first run ms", lambda r: _milliseconds(r.first_invoke_ms)),
)
SIZES: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("photographs", lambda r: str(len(r.photos) or "")),
    ("runs", lambda r: str(r.invoke.count)),
    ("peak MiB", lambda r: _mebibytes(r.peak_rss_kib)),
    ("file MiB", lambda r: f"{r.size_bytes / 2**20:.2f}"),
)


CHECKS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("stable pixels as here", lambda r: _share(r.verification.stable_agreement if r.verification else None)),
    ("all pixels as here", lambda r: _share(r.verification.agreement if r.verification else None)),
    ("largest difference", lambda r: "" if r.verification is None else _differences(r.verification.max_differences)),
)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4%}"


def _differences(found: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2g}" for name, value in found.items())


def rows(report: Report) -> Iterator[list[str]]:
    """Rows of the table, the header first; latency cells of emulated machines hold that word instead.

    Median, p90 and slowest are over photographs, noise is the middle half of one photograph's runs. A model that ran
    on noise has the median, p90 and middle half of its runs there.
    """
    report = report.with_short_names()
    checks = CHECKS if any(result.verification for result in report.results) else ()
    yield ["machine", "model", *(name for name, _ in (*LATENCY, *SIZES, *checks))]
    for result in report.results:
        emulated = report.machine_of(result).emulated
        times = [EMULATED if emulated else cell(result) for _, cell in LATENCY]
        yield [result.machine, result.title, *times, *(cell(result) for _, cell in (*SIZES, *checks))]


def table(report: Report) -> "Table":
    """The short table for a terminal."""
    from rich.table import Table

    report = report.with_short_names()
    header, *lines = rows(report)
    shown = [i for i, name in enumerate(header) if name in SHORT and any(line[i] for line in lines)]
    found = Table(title="Latency of the model's run over photographs, ms")
    found.add_column("model", overflow="fold")
    for i in shown:
        wide = any(" " in line[i] for line in lines)
        found.add_column(header[i].removesuffix(" ms"), justify="right", no_wrap=not wide)
    for result, line in zip(report.results, lines, strict=True):
        found.add_row(_label(result), *(line[i] for i in shown))
    return found


def notes(report: Report) -> list[str]:
    """Everything a reader should know before believing the numbers, one line each."""
    report = report.with_short_names()
    found = [] if report.complete else ["This report is partial: something failed or was interrupted."]
    for machine in report.machines:
        if machine.emulated:
            found.append(f"{machine.id}: its processor is emulated; its times are no latency and are not shown.")
        found += [f"{machine.id}: {machine.error}"] if machine.error else []
        found += [f"{machine.id}: {warning}" for warning in machine.warnings]
    for result in report.results:
        found += [f"{result.machine}: {result.title}: {warning}" for warning in result.warnings]
        if result.profile is not None and result.profile.missing:
            found.append(f"{result.machine}: {result.title}: no operator times: {result.profile.missing}")
    return found


def save_html(report: Report, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        MaskConverError: it cannot be written.
    """
    write_atomically(path, to_html(report).encode())


def to_html(report: Report) -> str:
    """The report as one page: notes, table, plots, machines, and the settings."""
    report = report.with_short_names()
    real = [result for result in report.results if not report.machine_of(result).emulated]
    body = "".join(
        (
            f"<h1>Benchmark</h1><p>{escape(report.created)}</p>",
            "".join(f'<p class="note">{escape(note)}</p>' for note in notes(report)),
            _section("Results", _table(list(rows(report))) if report.results else ""),
            _section("Latency distribution", _distribution(real)),
            _section("By photograph (medians)", _by_photo(real)),
            _section(_sizes(real), _by_size(real)),
            _section("Stages, from file to segments (medians)", _stages(real)),
            "".join(_section(f"Operators: {r.machine}, {r.title}", _operators(r)) for r in real if r.profile),
            "".join(_section(f"Machine {machine.id}", _machine(machine)) for machine in report.machines),
            _section("Settings", _table([["option", "value"], *_pairs(report.settings)])),
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Benchmark</title>'
        f"<style>{STYLE}</style></head><body>{body}</body></html>"
    )


def _sizes(results: Sequence[Result]) -> str:
    *others, last = sorted({result.input_size[0] for result in results if result.input_size}) or [0]
    return f"{', '.join(map(str, others))}{' and ' if others else ''}{last} pixels, side by side"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _table(lines: Sequence[Sequence[str]]) -> str:
    header = "".join(f"<th>{escape(cell)}</th>" for cell in lines[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines[1:])
    return f'<div class="wide"><table><tr>{header}</tr>{body}</table></div>'


def _label(result: Result) -> str:
    return result.title if result.machine == "host" else f"{result.machine}: {result.title}"


def _distribution(results: Sequence[Result]) -> str:
    if not results:
        return ""
    legend = (
        "<p>Every dot is one photograph, or one run of a model that ran on noise; box: p25 to p75; thick line: median "
        "(mean where there is none); red line: p90.</p>"
    )
    return legend + svg.boxes([(_label(r), *_dots(r)) for r in results], "ms")


def _dots(result: Result) -> tuple[Statistics, Sequence[float]]:
    if not result.photos:
        return result.invoke, result.samples_ms
    found = [photo.invoke.typical for photo in result.photos]
    return summarize(found), found


def _by_photo(results: Sequence[Result]) -> str:
    ran = [result for result in results if result.photos]
    if not ran:
        return ""
    names = dict.fromkeys(photo.photo for result in ran for photo in result.photos)
    times = [{photo.photo: f"{photo.invoke.typical:.2f}" for photo in result.photos} for result in ran]
    lines = [[name, *(own.get(name, "") for own in times)] for name in names]
    return _table([["photograph", *map(_label, ran)], *lines])


def _by_size(results: Sequence[Result]) -> str:
    sized = [result for result in results if result.input_size is not None]
    if len({result.input_size for result in sized}) < 2:
        return ""
    groups: dict[str, list[tuple[int, str, float]]] = {}
    for result in sized:
        if result.input_size is not None:
            key = f"{result.recipe}; {result.machine}, {result.runtime}, {result.threads} threads"
            groups.setdefault(key, []).append((result.input_size[0], result.model, result.typical_ms))
    lines = [(f"{size} px: {key}; {model}", ms) for key, group in groups.items() for size, model, ms in sorted(group)]
    return svg.bars(lines, "ms")


def _stages(results: Sequence[Result]) -> str:
    staged = [result for result in results if result.stages.keys() >= set(STAGES)]
    lines = [(_label(r), [r.stages[stage].typical for stage in STAGES]) for r in staged]
    if not lines:
        return ""
    totals = [(_label(r), stages_spread(r.photos)) for r in staged]
    cells = [
        [label, f"{s.median:.2f}", f"{s.p90:.2f}", f"{s.worst:.2f} {s.worst_photo}"]
        for label, s in totals
        if s is not None
    ]
    return svg.stacked(lines, STAGES, "ms") + _table(
        [["all stages together, over photographs", "median ms", "p90 ms", "slowest photograph"], *cells]
    )


def _operators(result: Result) -> str:
    profile = result.profile
    if profile is None or profile.missing:
        return ""
    slowest = sorted(profile.operators, key=lambda op: -op.ms)[:TOP_OPERATORS]
    summary = (
        f"<p>{profile.sum_ms:.2f} ms in {len(profile.operators)} operators, of which "
        f"{sum(op.partition is not None for op in profile.operators)} in {profile.partitions} delegate partitions; "
        f"a profiled run takes {profile.wall_ms:.2f} ms.</p>"
    )
    types = svg.bars([(f"{g.count:g} × {g.type}", g.ms) for g in by_type(profile.operators)[:TOP_OPERATORS]], "ms")
    single = svg.bars([(f"{op.type} {op.name}", op.ms) for op in slowest], "ms")
    return f"{summary}<h3>By type</h3>{types}<h3>Slowest</h3>{single}"


def _machine(machine: Machine) -> str:
    known: list[list[str]] = [["emulated", "yes"]] if machine.emulated else []
    return _table([["what", "value"], *known, *_pairs(machine.environment)])


def _pairs(values: Any) -> list[list[str]]:
    return [[str(k), v if isinstance(v, str) else json.dumps(v, default=str)] for k, v in values.items()]


STYLE = """
:root{color-scheme:light dark;--ink:#1c2733;--paper:#fff;--line:#d8dee4;--soft:#f4f6f8}
@media(prefers-color-scheme:dark){:root{--ink:#dfe6ec;--paper:#14191f;--line:#36414c;--soft:#1d242c}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:1060px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}h3{font-size:1rem;margin:1rem 0 .3rem}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
th,td{border:1px solid var(--line);padding:.25rem .5rem;text-align:left}th{background:var(--soft)}
.wide{overflow-x:auto}.note{border-left:4px solid #d9822b;background:var(--soft);padding:.4rem .8rem;margin:.4rem 0}
.key{margin-right:1rem}.key i{display:inline-block;width:.8em;height:.8em;margin-right:.35em}
svg{width:100%;height:auto;font-size:12px}svg text{fill:var(--ink)}.label{text-anchor:end}
.tick{text-anchor:middle;opacity:.7;font-size:11px}.grid{stroke:var(--line)}.dots{fill:#4a8bd6;opacity:.65}
.box{fill:#2f6db3;fill-opacity:.2;stroke:#2f6db3}.median{stroke:var(--ink);stroke-width:2.5}
.p90{stroke:#c64646;stroke-width:2}.range{stroke:#5a6b7b;stroke-width:1.5}
"""
