"""The command line on a terminal, as a person sees it."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("maskconver-mobile"))


def on_terminal(*arguments: object, columns: int = 80) -> str:
    """What a command prints on a terminal of so many columns, without colors."""
    master, slave = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [COMMAND, *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # Linux says so that nobody writes any more
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert process.wait(timeout=60) == 0, shown.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "")
