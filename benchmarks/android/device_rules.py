"""What a device's state means: for the user, for the choice of cores, and for the trust in a number."""

from collections.abc import Mapping
from typing import Any

from maskconver_mobile.benchmarks.android.adb_client import DeviceError
from maskconver_mobile.benchmarks.report.stats import THROTTLED
from maskconver_mobile.errors import MaskConverError

COOL_CELSIUS = 40.0


def is_cool(state: dict[str, Any]) -> bool:
    """Whether a device says that it is cool; false where it says nothing."""
    if not {"thermal_status", "battery_celsius"} & state.keys():
        return False
    hot = state.get("thermal_status", 0) > 0 or state.get("battery_celsius", 0.0) >= COOL_CELSIUS
    return not hot


def advice(environment: dict[str, Any]) -> tuple[str, ...]:
    """What the user could do for steadier numbers, from the device's state."""
    found = []
    if environment.get("airplane_mode") is False:
        found.append("airplane mode is off: turn it on, radios wake the processor up")
    if environment.get("screen_on") is True:
        found.append("the screen is on: turn it off, or lower its brightness, it heats the phone")
    if environment.get("battery_percent", 100) < 30:
        found.append(f"the battery is at {environment['battery_percent']}%: charge it, phones slow down to save it")
    if environment.get("thermal_status", 0) > 0:
        found.append(f"it is hot already (thermal status {environment['thermal_status']}): let it cool down")
    return tuple(found)


def core_mask(cores: str, frequencies: Mapping[str, int]) -> str:
    """Hexadecimal mask of cores, without `0x`.

    Args:
        cores: `big` (all but the slowest kind), `little` (the slowest kind) or a mask such as `0xf0`.
        frequencies: highest frequency by number of the core; a core that is offline may be missing.

    Raises:
        MaskConverError: no mask, or the device does not tell its cores apart.
    """
    if cores not in ("big", "little"):
        try:
            mask = int(cores, 16)
        except ValueError as error:
            raise MaskConverError(f"--cores {cores}: expected big, little or a mask such as 0xf0") from error
        if mask <= 0:
            raise MaskConverError(f"--cores {cores}: selects no core")
        return f"{mask:x}"
    if len(set(frequencies.values())) < 2:
        raise DeviceError(f"--cores {cores}: the device does not tell big cores from little ones; give a mask")
    slowest = min(frequencies.values())
    chosen = (int(core) for core, khz in frequencies.items() if (khz == slowest) == (cores == "little"))
    return f"{sum(1 << core for core in chosen):x}"


def throttling(drift: float | None, before: dict[str, Any], after: dict[str, Any]) -> tuple[str, ...]:
    """Warnings where a run slowed down or the device grew hot.

    Args:
        drift: last quarter over first quarter, where known.
        before: the device's state before the run.
        after: the same after it.
    """
    found = []
    if drift is not None and drift > THROTTLED:
        found.append(f"slowed down by {drift - 1:.0%} from its first quarter to its last: likely throttled")
    if after.get("thermal_status", 0) > before.get("thermal_status", 0):
        found.append(f"thermal status rose from {before.get('thermal_status', 0)} to {after['thermal_status']}")
    return tuple(found)
