import pytest

from maskconver_mobile.benchmarks.android.adb_client import Finished, explain, failure
from maskconver_mobile.benchmarks.android.device_rules import advice, core_mask, throttling
from maskconver_mobile.errors import MaskConverError

FREQUENCIES = {str(core): khz for core, khz in enumerate([1800, 1800, 1800, 1800, 2400, 2400, 2400, 2900])}


@pytest.mark.parametrize(("cores", "mask"), [("little", "f"), ("big", "f0"), ("0xc0", "c0"), ("3", "3"), ("FF", "ff")])
def test_masks_of_cores(cores: str, mask: str) -> None:
    assert core_mask(cores, FREQUENCIES) == mask


def test_an_offline_core_does_not_shift_the_mask() -> None:
    assert core_mask("big", {"0": 1800, "2": 1800, "10": 2400, "11": 2400}) == "c00"


@pytest.mark.parametrize(
    ("cores", "frequencies", "message"),
    [
        ("big", {"0": 1800, "1": 1800}, "does not tell big cores from little ones"),
        ("little", {}, "does not tell big cores from little ones"),
        ("fast", FREQUENCIES, "expected big, little or a mask"),
        ("0x0", FREQUENCIES, "selects no core"),
    ],
)
def test_cores_that_cannot_be_chosen(cores: str, frequencies: dict[str, int], message: str) -> None:
    with pytest.raises(MaskConverError, match=message):
        core_mask(cores, frequencies)


def test_throttling_is_told_by_drift_and_by_the_thermal_status() -> None:
    assert throttling(1.01, {}, {}) == ()
    assert throttling(None, {"thermal_status": 1}, {"thermal_status": 1}) == ()
    slow, hot = throttling(1.2, {"thermal_status": 0}, {"thermal_status": 2})
    assert slow.startswith("slowed down by 20%")
    assert hot == "thermal status rose from 0 to 2"


def test_a_device_that_tells_nothing_gets_no_advice() -> None:
    assert advice({}) == ()
    assert advice({"airplane_mode": True, "screen_on": False, "battery_percent": 80, "thermal_status": 0}) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adb: error: failed to copy 'a' to 'b': No space left on device", "its disk is full"),
        ("error: device unauthorized.\nThis adb server's keys are not set", "is unauthorized: unlock it"),
        ("adb: error: cannot create '/x': Permission denied", r"push failed .*Permission denied"),
        ("error: closed", "connection lost at push .error: closed."),
        ("error: device offline", "connection lost"),
        ("", "connection lost at push .no message."),
    ],
)
def test_what_the_client_says_becomes_one_line(text: str, message: str) -> None:
    with pytest.raises(MaskConverError, match=f"^device X: .*{message}"):
        raise failure("X", "push", Finished(1, "", text))


def test_every_state_has_an_explanation() -> None:
    assert "recovery" in explain("recovery")
    assert explain("rescue").startswith("is rescue: it is in rescue mode")
    assert explain("host") == "is host: adb cannot use it like that"
