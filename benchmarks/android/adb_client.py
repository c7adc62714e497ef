"""A real `adb` client as a child process: found, checked, bounded in time, and never left behind."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.text import printable

OLDEST = (1, 0, 36)
COMMAND_TIMEOUT_S = 60.0
POLL_S = 0.1

STATES = {
    "unauthorized": "unlock it and accept the question about USB debugging, then try again",
    "offline": "it does not answer; unplug it and plug it in again, or run `adb reconnect`",
    "authorizing": "unlock it and accept the question about USB debugging, then try again",
    "connecting": "wait a moment and try again",
    "no permissions": "this user may not open it; add a udev rule for it, or run `adb kill-server` and try as root",
    "recovery": "it is in recovery; start Android on it",
    "sideload": "it is waiting for a sideload; start Android on it",
    "rescue": "it is in rescue mode; start Android on it",
    "bootloader": "it is in its bootloader; start Android on it",
}


LINE = re.compile(
    r"(?P<serial>\S.*?)\s+(?P<state>device|no permissions|no device|host|detached|unknown|"
    + "|".join(STATES)
    + r")(?=\s|$)\s*(?P<description>.*)"
)
"""A line of `adb devices -l`. A serial may hold spaces: two phones of one mDNS name are `name` and `name (2)`."""


class ClientTimeoutError(MaskConverError):
    """A call of the client took too long, as it does when adb's server hangs."""


class DeviceError(MaskConverError):
    """Something on or about a device failed; other devices may go on."""


class ConnectionLostError(DeviceError):
    """The connection to a device broke; a second try may succeed."""


class Interrupted(Exception):  # noqa: N818
    """The user asked to stop."""


@dataclass(frozen=True)
class Attached:
    """A line of `adb devices`: serial, state, and the rest as it stands."""

    serial: str
    state: str
    description: str


@dataclass(frozen=True)
class Finished:
    """How a child process ended."""

    code: int
    stdout: str
    stderr: str


def find_adb(environment: Mapping[str, str] = os.environ) -> Path:
    """Path of an adb client: `adb` on PATH, in the Android SDK, or the one that the adbutils package bundles.

    Raises:
        MaskConverError: there is none.
    """
    found = shutil.which("adb", path=environment.get("PATH"))
    if found:
        return Path(found)
    for variable in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        candidate = Path(environment.get(variable, "")) / "platform-tools" / "adb"
        if environment.get(variable) and candidate.is_file():
            return candidate
    package = importlib.util.find_spec("adbutils")
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "binaries" / "adb"
    raise MaskConverError(
        "no adb found on PATH or in ANDROID_HOME; install Android's platform tools, or pip install adbutils"
    )


class Adb:
    """An adb client. `stop` set from another thread ends whatever it is doing with `Interrupted`."""

    def __init__(self, path: Path, stop: threading.Event | None = None) -> None:
        self.path = path
        self.stop = stop or threading.Event()

    def check_version(self) -> str:
        """Its version.

        Raises:
            MaskConverError: it does not run, or is too old to tell exit codes.
        """
        text = self.run("version").stdout
        match = re.search(r"version (\d+)\.(\d+)\.(\d+)", text)
        if match is None:
            raise MaskConverError(f"{self.path}: does not answer as adb does; install Android's platform tools")
        version = tuple(int(number) for number in match.groups())
        if version < OLDEST:
            raise MaskConverError(
                f"{self.path}: is adb {match[1]}.{match[2]}.{match[3]} and {'.'.join(map(str, OLDEST))} is the oldest "
                "that works; install newer platform tools"
            )
        release = re.search(r"^Version (\S+)", text, re.MULTILINE)
        return release[1] if release else ".".join(match.groups())

    def devices(self) -> list[Attached]:
        """Everything `adb devices` lists, in any state."""
        done = self.run("devices", "-l")
        if done.code != 0:
            raise MaskConverError(f"{self.path}: cannot list devices: {_last_line(done.stderr or done.stdout)}")
        _, _, listed = done.stdout.partition("List of devices attached")
        matches = (LINE.match(line) for line in listed.splitlines() if not line.startswith(("*", "adb server")))
        return [Attached(match["serial"], match["state"], match["description"]) for match in matches if match]

    def choose(
        self, serial: str | None, all_devices: bool, environment: Mapping[str, str] = os.environ
    ) -> list[Attached]:
        """The devices to use; ANDROID_SERIAL is heeded as adb itself does where nothing else chooses.

        Raises:
            MaskConverError: there is none, more than one without a choice, or one that is not ready.
        """
        found = self.devices()
        if serial is None and not all_devices:
            serial = environment.get("ANDROID_SERIAL") or None
        if serial is not None:
            found = [device for device in found if device.serial == serial]
            if not found:
                raise MaskConverError(f"device {serial}: not attached; `adb devices` lists those that are")
        if not found:
            raise MaskConverError(
                "no device is attached; turn on USB debugging in its developer options and plug it in"
            )
        ready = [device for device in found if device.state == "device"]
        if all_devices and ready:
            return ready
        if len(found) > 1:
            names = ", ".join(device.serial for device in found)
            raise MaskConverError(f"{len(found)} devices are attached ({names}); give --serial or --all-devices")
        if not ready:
            raise MaskConverError(f"device {found[0].serial}: {explain(found[0].state)}")
        return ready

    def run(self, *arguments: str, timeout: float | None = None, stoppable: bool = True) -> Finished:
        """Run the client and wait for it.

        Args:
            arguments: of adb.
            timeout: seconds after which it is killed; `COMMAND_TIMEOUT_S` if not given.
            stoppable: end early when `stop` is set.

        Raises:
            MaskConverError: it cannot be started.
            ClientTimeoutError: it took too long.
            Interrupted: `stop` was set.
        """
        try:
            process = subprocess.Popen(  # noqa: S603
                [str(self.path), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise MaskConverError(f"{self.path}: cannot be started ({error.strerror})") from error
        timeout = COMMAND_TIMEOUT_S if timeout is None else timeout
        deadline = time.monotonic() + timeout
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    stdout, stderr = process.communicate(timeout=POLL_S)
                    return Finished(process.returncode, stdout, stderr)
                if stoppable and self.stop.is_set():
                    raise Interrupted
                if time.monotonic() > deadline:
                    raise ClientTimeoutError(
                        f"{self.path}: `adb {arguments[0]}` took more than {timeout:.0f} s; "
                        "run `adb kill-server` and try again"
                    )
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def explain(state: str) -> str:
    """What a device's state means to the user, and the way out."""
    return f"is {state}: {STATES.get(state, 'adb cannot use it like that')}"


def _last_line(text: str) -> str:
    return printable((text.strip().splitlines() or ["no message"])[-1])


def failure(serial: str, doing: str, done: Finished) -> DeviceError:
    """The exception for a client call that failed, told apart by what the client says.

    Args:
        serial: of the device.
        doing: such as `push model.tflite`.
        done: how the client ended.
    """
    lines = [line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    text = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no message")
    text, lower = printable(text), text.lower()
    if "no space left" in lower:
        return DeviceError(f"device {serial}: {doing} failed, its disk is full; free some space on it")
    if "unauthorized" in lower:
        return DeviceError(f"device {serial}: {explain('unauthorized')}")
    if any(reason in lower for reason in ("permission denied", "read-only file system", "does not exist")):
        return DeviceError(f"device {serial}: {doing} failed ({text})")
    return ConnectionLostError(f"device {serial}: connection lost at {doing} ({text})")
