"""One device behind adb: a shell with exit codes, files by content hash, and what the device says of itself."""

import contextlib
import hashlib
import re
import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from maskconver_mobile.benchmarks.android.adb_client import (
    Adb,
    ClientTimeoutError,
    ConnectionLostError,
    DeviceError,
    Interrupted,
    failure,
)
from maskconver_mobile.benchmarks.android.device_rules import is_cool

FOLDER = "maskconver_mobile"
TRANSFER_TIMEOUT_S = 300.0
MAX_TEXT_BYTES = 64 << 20
RECONNECT_S = 15.0
RETRIES = 2
MARKER = re.compile(r"\n@exit=(\d+)\s*\Z")

T = TypeVar("T")


@dataclass(frozen=True)
class ShellOutput:
    """Standard output of a command on the device, its standard error, and its exit code."""

    stdout: str
    stderr: str
    code: int


class Device:
    """A device in state `device`, addressed by serial. Every call tries again after a lost connection."""

    def __init__(self, adb: Adb, serial: str) -> None:
        self.serial = serial
        self._adb = adb
        self._folder = ""

    @property
    def folder(self) -> str:
        """A folder of the user's own that this package may fill and run programs from; made on first use."""
        if not self._folder:
            script = (
                'for d in /data/local/tmp "$TMPDIR" /tmp; do [ -n "$d" ] && [ -d "$d" ] && [ -w "$d" ] && '
                f'mkdir -p "$d/{FOLDER}" && [ -O "$d/{FOLDER}" ] && echo "$d/{FOLDER}" && break; done'
            )
            lines = self.shell(script).stdout.splitlines()
            if not lines:
                raise DeviceError(f"device {self.serial}: no writable folder; tried /data/local/tmp, TMPDIR, /tmp")
            self._folder = lines[0]
        return self._folder

    def shell(self, command: str, timeout: float = 30.0) -> ShellOutput:
        """Run a command in the device's shell.

        The exit code travels in the output: it proves that the output is whole, on any version of the protocol.

        Raises:
            ConnectionLostError: the connection broke, more often than it was tried again.
            DeviceError: it took too long, or the shell cannot be had.
        """
        return self._persistent(lambda: self.shell_once(command, timeout))

    def shell_once(
        self, command: str, timeout: float, *, doing: str = "a command", stoppable: bool = True
    ) -> ShellOutput:
        """Like `shell`, without a second try: for commands that must not run twice, and for cleaning up.

        Args:
            command: for the device's shell.
            timeout: in seconds.
            doing: what the command is, for errors.
            stoppable: end early when the user asks to stop.
        """
        wrapped = f"({command}\n); printf '\\n@exit=%d\\n' $?"
        try:
            done = self._adb.run("-s", self.serial, "shell", wrapped, timeout=timeout, stoppable=stoppable)
        except ClientTimeoutError as error:
            raise DeviceError(f"device {self.serial}: {doing} took more than {timeout:.0f} s") from error
        text = done.stdout.replace("\r\n", "\n")
        match = MARKER.search(text)
        if match is None:
            raise failure(self.serial, doing, done)
        return ShellOutput(text[: match.start()], done.stderr, int(match[1]))

    def push(self, local: Path) -> str:
        """Copy a file to the device unless it is there already; returns its path there, named by content.

        Raises:
            DeviceError: the device's disk is full, or the connection broke for good.
        """
        digest = hashlib.sha256(local.read_bytes()).hexdigest()
        remote = f"{self.folder}/{digest[:16]}{local.suffix}"
        quoted = shlex.quote(remote)
        check = f"sha256sum {quoted} 2>/dev/null | cut -c1-64"
        if self.shell(check, TRANSFER_TIMEOUT_S).stdout.strip() == digest:
            return remote
        self._persistent(lambda: self._transfer("push", str(local), f"{remote}.part", local.name))
        check = f"sha256sum {quoted}.part 2>/dev/null | cut -c1-64"
        seen = self.shell(check, TRANSFER_TIMEOUT_S).stdout.strip()
        if seen and seen != digest:
            raise DeviceError(f"device {self.serial}: {local.name} arrived damaged; try another cable or port")
        self.shell(f"chmod 755 {quoted}.part && mv {quoted}.part {quoted}")
        return remote

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file from the device; `local` appears whole or not at all.

        Raises:
            DeviceError: it is not there, or the connection broke for good.
        """
        part = local.with_name(f".{local.name}.part")
        try:
            self._persistent(lambda: self._transfer("pull", remote, str(part), Path(remote).name))
            part.replace(local)
        finally:
            part.unlink(missing_ok=True)

    def read_text(self, remote: str, limit: int = MAX_TEXT_BYTES) -> str:
        """A text file of the device.

        Raises:
            DeviceError: it is not there or larger than `limit` bytes, or the connection broke for good.
        """
        return self.read(remote, limit).decode(errors="replace")

    def read(self, remote: str, limit: int) -> bytes:
        """A file of the device; see `read_text`."""
        size = self.shell(f"wc -c < {shlex.quote(remote)}").stdout.strip()
        if size.isdecimal() and int(size[:20]) > limit:
            raise DeviceError(
                f"device {self.serial}: {Path(remote).name} has {size[:20]} bytes; expected up to {limit}"
            )
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "pulled"
            self.pull(remote, local)
            return local.read_bytes()

    def _transfer(self, verb: str, source: str, target: str, name: str) -> None:
        try:
            done = self._adb.run("-s", self.serial, verb, source, target, timeout=TRANSFER_TIMEOUT_S)
        except ClientTimeoutError as error:
            late = f"{verb} {name} took more than {TRANSFER_TIMEOUT_S:.0f} s"
            raise DeviceError(f"device {self.serial}: {late}") from error
        if done.code != 0:
            raise failure(self.serial, f"{verb} {name}", done)

    def _persistent(self, work: Callable[[], T]) -> T:
        for _ in range(RETRIES):
            with contextlib.suppress(ConnectionLostError):
                return work()
            self.wait_for_return()
        return work()

    def cool_down(self, seconds: float) -> None:
        """Wait until the device says that it is cool, at most so long.

        Raises:
            Interrupted: the user asked to stop.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not is_cool(self.state()):
            if self._adb.stop.wait(min(2.0, max(deadline - time.monotonic(), 0.0))):
                raise Interrupted

    def wait_for_return(self, *, stoppable: bool = True) -> None:
        """Wait a while for the device to be back after its connection broke."""
        with contextlib.suppress(ClientTimeoutError):
            self._adb.run("-s", self.serial, "wait-for-device", timeout=RECONNECT_S, stoppable=stoppable)

    def identify(self) -> dict[str, Any]:
        """What identifies the device and its state; whatever it does not tell is left out.

        `emulated` is true where the device says that its processor is emulated.
        """
        texts = self._sections(IDENTITY)
        frequencies = _by_core(texts.pop("frequencies", ""))
        cores = int((re.findall(NUMBER, texts.pop("cores", "")) or [0])[0])
        emulated = "1" in (texts.pop("qemu", ""), texts.pop("boot_qemu", ""))
        found: dict[str, Any] = {key: text for key, text in texts.items() if text}
        found |= {"emulated": emulated}
        found |= {"core_max_khz": frequencies} if frequencies else {}
        found |= {"cores": cores} if cores else {}
        return found | self.state()

    def state(self) -> dict[str, Any]:
        """What changes while a benchmark runs: thermal status, battery, screen, current frequencies; each optional."""
        texts = self._sections(STATE)
        found: dict[str, Any] = {}
        for key, pattern, scale in READINGS:
            match = re.search(pattern, texts.get(key.split("_")[0], ""))
            if match:
                found[key] = int(match[1]) * scale
        if "mWakefulness" in texts.get("power", ""):
            found["screen_on"] = "Awake" in texts["power"]
        if texts.get("airplane") in ("0", "1"):
            found["airplane_mode"] = texts["airplane"] == "1"
        current = _by_core(texts.get("frequencies", ""))
        return found | ({"core_khz": current} if current else {})

    def _sections(self, commands: dict[str, str]) -> dict[str, str]:
        script = "\n".join(f"echo @@{name}; {command} 2>/dev/null" for name, command in commands.items())
        parts = re.split(r"^@@(\w+)\n", self.shell(script).stdout + "\n", flags=re.MULTILINE)
        return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _by_core(text: str) -> dict[str, int]:
    """Frequencies by number of the core, from lines such as `cpu10 2400000`: the shell sorts cpu10 before cpu2."""
    found = {int(core): int(khz) for core, khz in re.findall(rf"^cpu{NUMBER} {NUMBER}$", text, re.MULTILINE)}
    return {str(core): found[core] for core in sorted(found)}


def _each_core(file: str) -> str:
    return f'for c in /sys/devices/system/cpu/cpu[0-9]*; do echo "${{c##*/}} $(cat $c/cpufreq/{file})"; done'


NUMBER = r"(?<![0-9])([0-9]{1,9})(?![0-9])"

IDENTITY = {
    "manufacturer": "getprop ro.product.manufacturer",
    "model": "getprop ro.product.model",
    "soc": 's=$(getprop ro.soc.model); [ -n "$s" ] && echo "$s" || getprop ro.board.platform',
    "android": "getprop ro.build.version.release",
    "sdk": "getprop ro.build.version.sdk",
    "abi": "getprop ro.product.cpu.abi",
    "machine": "uname -m",
    "kernel": "uname -r",
    "qemu": "getprop ro.kernel.qemu",
    "boot_qemu": "getprop ro.boot.qemu",
    "cores": "ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l",
    "frequencies": _each_core("cpuinfo_max_freq"),
    "governor": "cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "memory": "grep MemTotal /proc/meminfo",
}

STATE = {
    "thermal": "dumpsys thermalservice",
    "battery": "dumpsys battery",
    "power": "dumpsys power | grep mWakefulness=",
    "airplane": "settings get global airplane_mode_on",
    "frequencies": _each_core("scaling_cur_freq"),
}

READINGS = (
    ("thermal_status", rf"Thermal Status: {NUMBER}", 1),
    ("battery_percent", rf"\blevel: {NUMBER}", 1),
    ("battery_celsius", rf"\btemperature: {NUMBER}", 0.1),
)
