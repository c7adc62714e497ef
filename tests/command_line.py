"""The command line in the process of the test, so that its parts can be replaced."""

import sys

import pytest

from maskconver_mobile.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Its exit code for some arguments."""
    monkeypatch.setattr(sys, "argv", ["maskconver-mobile", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)
