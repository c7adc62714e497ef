"""A worker process on this machine, one for each model under measurement."""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from maskconver_mobile.benchmarks.host import worker
from maskconver_mobile.errors import MaskConverError

ANSWER_TIMEOUT_S = 600.0
"""For loading; also for a row of runs, which gets more where the first run says that it needs more."""

PATIENCE = 20.0
"""How many times slower than the first run the later ones may be, before the process counts as stuck."""

RUN_MODULE = """
import runpy, sys
sys.path = [folder for folder in sys.path if folder]
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def module_command(module: str, *arguments: str) -> list[str]:
    """A command that runs an installed module; `python -m` would take it from the current folder if it had one."""
    return [sys.executable, "-c", RUN_MODULE, module, *arguments]


class WorkerProcess:
    """`worker.py` serving one model; a context manager that never leaves the process behind.

    Attributes:
        facts: what the worker said once the model was loaded: runtime, versions, load and first-run times.
        peak_rss_kib: largest resident memory so far.
    """

    def __init__(self, model: Path, threads: int, inputs: Sequence[Path] = ()) -> None:
        if not model.is_file():
            raise MaskConverError(f"{model}: no such model file")
        self._model = model
        self._command = module_command(worker.__name__, str(model), "--threads", str(threads))
        self._command += ["--inputs", *map(str, inputs)] if inputs else []
        self.facts: dict[str, Any] = {}
        self.peak_rss_kib: int | None = None

    def __enter__(self) -> "WorkerProcess":
        self._log: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(  # noqa: S603
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        try:
            self.facts = self._read(ANSWER_TIMEOUT_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def turn(self, runs: int, settle_ms: int = 0, inputs: int = 0) -> list[float]:
        """Times of `runs` runs in a row, in milliseconds, after untimed ones of `settle_ms` in all.

        `inputs` counts through the input files, again and again.

        Raises:
            MaskConverError: the process died.
        """
        expected_s = (settle_ms + (runs + 1) * self.facts["first_invoke_ms"]) / 1e3
        answer = self._ask(f"turn {inputs} {settle_ms} {runs}\n", max(ANSWER_TIMEOUT_S, PATIENCE * expected_s))
        self.peak_rss_kib = answer["peak_rss_kib"]
        return list(answer["samples_ms"])

    def reload(self) -> float:
        """Time to load the model once more, with file and library warm, in milliseconds.

        Raises:
            MaskConverError: the process died.
        """
        return float(self._ask("reload\n", ANSWER_TIMEOUT_S)["load_warm_ms"])

    def _ask(self, request: str, timeout_s: float) -> dict[str, Any]:
        if self._process.stdin is None:
            raise AssertionError("opened with a pipe")
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(request)
            self._process.stdin.flush()
        return self._read(timeout_s)

    def _read(self, timeout_s: float) -> dict[str, Any]:
        if self._process.stdout is None:
            raise AssertionError("opened with a pipe")
        late = threading.Event()
        watchdog = threading.Timer(timeout_s, self._give_up, (late,))
        watchdog.daemon = True  # an interrupt before `try` must not leave it to be waited for
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if late.is_set():
            raise MaskConverError(f"{self._model}: its process did not answer within {timeout_s:.0f} s")
        if not line:
            raise MaskConverError(f"{self._model}: its process {self._death()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise MaskConverError(f"{self._model}: {answer['error']}")
        return answer

    def _give_up(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()

    def _death(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()[-1:]
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"{how}; its last words: {last[0][:200] if last else 'none'}"
