"""The words in which a phone and the Android app are spoken to; `android_demo` is the other side.

The app's benchmark is an activity that only `adb shell` may start. It reads a model and input tensors where they were
pushed to, and writes one JSON file (see `app_result`), whole and as the last thing it does.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

PACKAGE = "org.maskconver.mobile"
BENCHMARK = f"{PACKAGE}/.BenchmarkActivity"
VIEW = f"{PACKAGE}/.ShellActivity"
RESULTS = f"/sdcard/Android/media/{PACKAGE}/benchmark"
CONTRACT = 1
"""Version of these words; an app that knows an older one alone refuses with a line that names both."""

STOP = f"am force-stop {PACKAGE}"
GONE, TOO_LONG = 9, 8
POLL_S, GRACE_S = 1.0, 2.0


@dataclass(frozen=True)
class AppOptions:
    """What one start of the benchmark is asked for.

    Attributes:
        threads: of the CPU kernels.
        runs: timed runs; the app rounds up to a multiple of the inputs.
        warmup: runs before them.
        min_seconds: go on with timed runs at least so long.
        gpu: through the GPU delegate, on the CPU where the phone cannot.
        half_precision: whether float16 arithmetic is allowed where the model file permits it.
        profile: time the stages from a photograph to segments as well.
    """

    threads: int
    runs: int
    warmup: int
    min_seconds: float
    gpu: bool
    half_precision: bool
    profile: bool


def start(run: str, model: str, inputs: Sequence[str], options: AppOptions) -> str:
    """Shell command that starts the benchmark in a fresh process.

    Args:
        run: name of the result.
        model: path of the model on the phone.
        inputs: paths of input tensors there, raw values; the timed runs take them in turn. The app runs on noise
            without any.
        options: how.
    """
    extras: list[tuple[str, str, object]] = [
        ("ei", "contract", CONTRACT),
        ("es", "run", run),
        ("es", "model", model),
        ("ei", "threads", options.threads),
        ("ei", "runs", options.runs),
        ("ei", "warmup", options.warmup),
        ("ef", "min_seconds", options.min_seconds),
        ("es", "accelerator", "gpu" if options.gpu else "cpu"),
        ("ez", "half_precision", str(options.half_precision).lower()),
        ("ez", "profile", str(options.profile).lower()),
    ]
    extras += [("esa", "inputs", ",".join(inputs))] if inputs else []
    return _start(BENCHMARK, extras)


def start_view(model: str | None) -> str:
    """Shell command that opens the live view, with a model on the phone or the one the app opened last."""
    return _start(VIEW, [("es", "view", "live"), *([("es", "model", model)] if model else [])])


def _start(activity: str, extras: Sequence[tuple[str, str, object]]) -> str:
    words = [f"--{kind} {name} {shlex.quote(str(value))}" for kind, name, value in extras]
    return " ".join(["am start -S -W -n", activity, *words])


def start_failure(output: str) -> str:
    """Why `am start` did not start the app, from what it printed; empty if it did.

    `am` of Android 8 exits 0 whatever happens, so that its words decide.
    """
    if re.search(r"^Status: (ok|timeout)", output, re.MULTILINE):
        return ""
    if "SecurityException" in output or "Permission Denial" in output:
        return "the phone does not let adb start the app; is this a work profile or a second user?"
    if "does not exist" in output or "unable to resolve Intent" in output:
        return "the app on the phone has no such screen: it is of another version; add --app to install this one"
    if "not found" in output or "inaccessible" in output:
        return "it has no `am`, so it does not run Android"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = next((line for line in lines if "Error" in line or "Exception" in line), "it printed nothing of use")
    return f"the app does not start ({said[:200]})"


def wait(run: str, seconds: float) -> str:
    """Shell command that waits for a result: exit code 0, `GONE` if the app ended without one, or `TOO_LONG`.

    It sleeps in between and asks nothing but the file and the process, lest it disturb what is measured.
    """
    result = f"{RESULTS}/{run}.json"
    return (
        f"n=0; while [ ! -f {result} ]; do "
        f"pidof {PACKAGE} >/dev/null || {{ sleep {GRACE_S}; [ -f {result} ] || exit {GONE}; }}; "
        f"n=$((n+1)); [ $n -gt {seconds / POLL_S:.0f} ] && exit {TOO_LONG}; sleep {POLL_S}; done"
    )


REASON = (
    f"dumpsys activity exit-info {PACKAGE} 2>/dev/null | grep reason= | head -n 1; "
    f"logcat -d -t 1000 2>/dev/null | grep -E 'Fatal signal|FATAL EXCEPTION|[Kk]ill.*{PACKAGE}' | tail -n 1"
)
"""Shell command that tells why the app's process ended, as far as the phone knows: Android 11 keeps a record."""

ENDS = {
    r"LOW_MEMORY|lowmemorykiller|lmkd": "killed by the system, which needed its memory; close other apps",
    r"CRASH\(NATIVE\)|Fatal signal": "it crashed in native code; try without --gpu",
    r"CRASH\(EXCEPTION\)|FATAL EXCEPTION": "it crashed",
    r"\(ANR\)": "killed by the system, which took it for hung",
    r"USER REQUESTED|USER STOPPED": "it was closed on the phone; leave the phone alone while it measures",
    r"SIGNALED|OTHER KILLS|EXCESSIVE|[Kk]ill": "killed by the system; close other apps, and leave the screen on",
}
"""The names are those of Android's `ApplicationExitInfo`, and of what older phones log."""


def why_gone(output: str) -> str:
    """What `REASON` printed, in words for the user."""
    first = (output.strip().splitlines() or [""])[0]
    for text in (first, output):
        for pattern, words in ENDS.items():
            if re.search(pattern, text):
                return words
    return "the phone does not say why; see `adb logcat`"
