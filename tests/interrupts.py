"""For tests that interrupt a process."""

import signal


def interruptible() -> None:
    """Run in a child before it starts: a test run in the background of a shell ignores SIGINT and hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
