"""`maskconver-mobile doctor`."""

from pathlib import Path

import click

from maskconver_mobile.cli.parameters import STDOUT, check_json_target, json_option, write_json


@click.command()
@json_option
def command(json_file: Path | None) -> int:
    """What is installed, what works, and the line that installs what is missing.

    Runtimes and their delegates, extras, adb and phones, Java, Node.js, browsers. Exit code 1 if no model can be run.
    """
    import json
    from dataclasses import asdict

    from rich.table import Table

    from maskconver_mobile.cli.terminal import show, without_chatter
    from maskconver_mobile.health import examine

    check_json_target(json_file)
    with without_chatter():
        found = list(examine())
    if json_file is not None:
        write_json(json_file, json.dumps([asdict(one) for one in found], indent=1))
    if json_file != STDOUT:
        table = Table("", "what", "found", box=None)
        for one in found:
            table.add_row("ok" if one.works else "--", one.name, one.found)
        show(table)
        for one in found:
            if one.cure:
                click.echo(f"{one.name}: {one.cure}")
    return int(any(one.needed and not one.works for one in found))
