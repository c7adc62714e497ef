"""Several reports as one, such as those of this machine, of a phone over adb and of a browser."""

from collections.abc import Sequence
from dataclasses import replace

from maskconver_mobile.benchmarks.report.results import Machine, Report, Result
from maskconver_mobile.errors import MaskConverError


def combine(reports: Sequence[Report], names: Sequence[str]) -> Report:
    """Put reports together in the order given.

    Machines of the same id stay apart: the later ones are called `ID (NAME)`.

    Args:
        reports: at least one.
        names: what each is called, for machines and settings.

    Raises:
        MaskConverError: two reports of one name hold the same machine.
    """
    machines: list[Machine] = []
    results: list[Result] = []
    taken: set[str] = set()
    for report, name in zip(reports, names, strict=True):
        ids = {m.id: f"{m.id} ({name})" if m.id in taken else m.id for m in report.machines}
        if taken & set(ids.values()):
            raise MaskConverError(f"{name}: is there twice; leave one of them out")
        taken |= set(ids.values())
        machines += [replace(machine, id=ids[machine.id]) for machine in report.machines]
        results += [replace(result, machine=ids[result.machine]) for result in report.results]
    return Report(
        created=max(report.created for report in reports),
        settings={name: dict(report.settings) for report, name in zip(reports, names, strict=True)},
        machines=tuple(machines),
        results=tuple(results),
        complete=all(report.complete for report in reports),
    )
