"""The app's live view on a cabled phone: installed, allowed to use the camera, and started."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from maskconver_mobile.benchmarks.android import app
from maskconver_mobile.benchmarks.android.adb_client import DeviceError
from maskconver_mobile.benchmarks.android.app_install import require_app
from maskconver_mobile.benchmarks.android.device import Device
from maskconver_mobile.text import printable

START_TIMEOUT_S = 60.0
SETTLE_S = 3.0


def open_view(device: Device, apk: Path | None, model: Path | None, progress: Callable[[str], None]) -> str:
    """Open the live view and return the phone's name.

    Args:
        device: the phone.
        apk: installed if given, unless the same is there already.
        model: a model file to open in the app; the one it opened last, or the bundled one, if not given.
        progress: called with a few words.

    Raises:
        DeviceError: the phone refuses; the message says what to do.
    """
    environment = device.identify()
    name = f"{environment.get('manufacturer', '')} {environment.get('model', device.serial)}".strip()
    progress(f"{name}, Android {environment.get('android', 'of unknown version')}")
    if apk is not None:
        progress(f"installing {apk.name}; the phone may ask whether it may")
    version = require_app(device, apk)
    progress(f"version {version} of the app is there")
    remote = None if model is None else device.push(model)
    device.shell(f"chmod 755 {shlex.quote(device.folder)}")
    # Where a phone does not let adb grant it, the app asks.
    device.shell(f"pm grant {app.PACKAGE} android.permission.CAMERA 2>/dev/null")
    _wake(device)
    _start(device, remote)
    return printable(name)


def _wake(device: Device) -> None:
    woken = "input keyevent KEYCODE_WAKEUP; wm dismiss-keyguard; sleep 1; dumpsys trust | grep current"
    if "deviceLocked=1" in device.shell(f"({woken}) 2>/dev/null").stdout:
        raise DeviceError(f"device {device.serial}: is locked; unlock it and try again")


def _start(device: Device, model: str | None) -> None:
    script = (
        't=$(date "+%m-%d %H:%M:%S.000"); '
        f"{app.start_view(model)} 2>&1; sleep {SETTLE_S}; echo; "
        f'pidof {app.PACKAGE} >/dev/null || echo @gone; logcat -d -s MaskConver:* -T "$t" 2>/dev/null'
    )
    output = device.shell(script, START_TIMEOUT_S).stdout
    why = app.start_failure(output)
    if why:
        raise DeviceError(f"device {device.serial}: {why}")
    if "@gone" in output:
        raise DeviceError(f"device {device.serial}: the app ended: {app.why_gone(device.shell(app.REASON).stdout)}")
    refusal = re.search(r"MaskConver\s*(?:\(\s*\d+\))?: error (.*)", output)
    if refusal:
        raise DeviceError(f"device {device.serial}: the app says: {printable(refusal[1])[:300]}")
