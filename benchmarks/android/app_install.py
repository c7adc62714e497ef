"""Getting the app onto a phone: which APK, which version is there, and why a phone may refuse."""

import hashlib
import re
import shlex
import zipfile
from pathlib import Path

from maskconver_mobile.benchmarks.android.adb_client import DeviceError
from maskconver_mobile.benchmarks.android.app import PACKAGE
from maskconver_mobile.benchmarks.android.device import Device
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import in_clone
from maskconver_mobile.text import printable

BUILT = Path("android_demo/target/maskconver-mobile.apk")
"""What `make android` makes, below the clone."""

OLDEST = 100
"""Version code of the oldest app that this version can speak to."""

MAX_APK_BYTES = 512 << 20
INSTALL_TIMEOUT_S = 300.0

REFUSALS = {
    "INSTALL_FAILED_UPDATE_INCOMPATIBLE": "the app there was signed with another key, as builds of other machines are; "
    f"run `adb uninstall {PACKAGE}` first (its settings are lost)",
    "INSTALL_FAILED_VERSION_DOWNGRADE": f"a newer version is there; run `adb uninstall {PACKAGE}` first",
    "INSTALL_FAILED_INSUFFICIENT_STORAGE": "its disk is full; free some space on it",
    "INSTALL_FAILED_NO_MATCHING_ABIS": "the APK has no code for its processor; build one that has (docs/android.md)",
    "INSTALL_FAILED_OLDER_SDK": "its Android is too old; the app needs 8.0",
    "INSTALL_FAILED_USER_RESTRICTED": "it does not allow installs over USB; turn on 'Install via USB' in its developer "
    "options, and accept the question on its screen",
    "INSTALL_FAILED_VERIFICATION": "Play Protect refused; turn off 'Verify apps over USB' in its developer options",
    "INSTALL_FAILED_ABORTED": "the question on its screen was declined; accept it",
    "INSTALL_PARSE_FAILED": "the APK is damaged or unsigned; make it again with `make android`",
    "INSTALL_FAILED_INVALID_APK": "the APK is damaged; make it again with `make android`",
    "DELETE_FAILED_DEVICE_POLICY": "an administrator of the phone forbids it",
}


def choose_apk(path: Path) -> Path:
    """The APK at a path; where that is `BUILT`, the one in the clone around the current folder.

    Raises:
        MaskConverError: it is missing, or no APK.
    """
    if path == BUILT:
        path = in_clone(BUILT) or path
    _check(path)
    return path


def _check(path: Path) -> None:
    if not path.is_file():
        raise MaskConverError(f"{path}: no such APK; run `make android`, or give the path of one")
    if path.stat().st_size > MAX_APK_BYTES:
        raise MaskConverError(f"{path}: larger than {MAX_APK_BYTES} bytes; expected the app's APK")
    try:
        with zipfile.ZipFile(path) as archive:
            whole = "AndroidManifest.xml" in archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        whole = False
    if not whole:
        raise MaskConverError(f"{path}: is no APK; run `make android`, or give the path of one")


def installed_version(device: Device) -> tuple[int, str] | None:
    """Version code and name of the app on a device; None where it is not, or where there are no apps at all."""
    output = device.shell(f"dumpsys package {PACKAGE} 2>/dev/null | grep -E 'version(Code|Name)='").stdout
    code = re.search(r"versionCode=([0-9]{1,9})\b", output)
    name = re.search(r"versionName=(\S{1,40})", output)
    return (int(code[1]), printable(name[1]) if name else "") if code else None


def require_app(device: Device, apk: Path | None) -> str:
    """See that a device has an app that this version can speak to, and return its version.

    Args:
        device: the device.
        apk: installed if given, unless the same is there already.

    Raises:
        DeviceError: the app is missing or too old, or the device refuses it.
    """
    if apk is not None:
        install(device, apk)
    found = installed_version(device)
    if found is None:
        raise DeviceError(f"device {device.serial}: does not have the app; add --app to install it")
    code, name = found
    if code < OLDEST:
        raise DeviceError(
            f"device {device.serial}: has version {name or code} of the app, which is too old; add --app to install "
            "this one"
        )
    return name or str(code)


def install(device: Device, apk: Path) -> None:
    """Install an APK unless the very same is there.

    Raises:
        DeviceError: the device refuses it; the message says what to do.
    """
    if _is_there(device, apk):
        return
    remote = device.push(apk)
    quoted = shlex.quote(remote)
    try:
        done = device.shell_once(f"pm install -r {quoted} 2>&1", INSTALL_TIMEOUT_S, doing="installing the app")
    finally:
        device.shell(f"rm -f {quoted}")
    if not re.search(r"^Success", done.stdout, re.MULTILINE):
        raise DeviceError(f"device {device.serial}: {apk.name} cannot be installed: {_refusal(done.stdout)}")


def _is_there(device: Device, apk: Path) -> bool:
    script = f'p=$(pm path {PACKAGE} 2>/dev/null | head -n 1); [ -n "$p" ] && sha256sum "${{p#package:}}" 2>/dev/null'
    return device.shell(script).stdout.split(" ")[0] == hashlib.sha256(apk.read_bytes()).hexdigest()


def _refusal(output: str) -> str:
    for name, words in REFUSALS.items():
        if name in output:
            return words
    if "not found" in output or "inaccessible" in output:
        return "it has no `pm`, so it does not run Android"
    lines = [line for line in output.splitlines() if line.strip()]
    failure = next(
        (line for line in lines if "Failure" in line or "Error" in line), lines[-1] if lines else "no reason"
    )
    return printable(failure)[:200]
