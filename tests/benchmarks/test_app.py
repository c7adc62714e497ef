"""The app's benchmark on a scripted phone, as the user calls it."""

import json
from pathlib import Path

import pytest
import scripted_app
from from_outside import Phone, clean, measured, run

from maskconver_mobile.benchmarks.android import app_run
from maskconver_mobile.benchmarks.android.app_install import BUILT
from maskconver_mobile.benchmarks.photos import find_photos
from maskconver_mobile.benchmarks.report.compare import compare_reports
from maskconver_mobile.segmenter import DEFAULT_MODEL

VERSIONS = (8, 10, 13, 15)


@pytest.mark.parametrize("android", VERSIONS)
def test_every_timing_of_every_photograph_comes_back(phone: Phone, tmp_path: Path, android: int) -> None:
    daemon = phone(android)
    options = ("--runs", "10", "--warmup", "2", "--threads", "2", "--profile", "--gpu", "--no-half-precision")
    assert run(DEFAULT_MODEL, tmp_path / "out", *options).exception is None
    asked = json.loads((daemon.root / "started.json").read_text())["extras"]
    assert (asked["threads"], asked["runs"], asked["warmup"], asked["contract"]) == (2, 10, 2, 1)
    assert (asked["accelerator"], asked["half_precision"], asked["profile"]) == ("gpu", False, True)
    report = measured(tmp_path)
    machine, result = report.machines[0], report.results[0]
    assert (machine.emulated, machine.environment["app"], machine.environment["soc"]) == (False, "0.1.0", "ex1000")
    assert not any("screen" in warning for warning in machine.warnings)
    assert (result.runner, result.runtime, result.runtime_version) == ("app", "tflite", "2.16.1")
    assert [photo.photo for photo in result.photos][:2] == ["astronaut.jpg", "apollo11_crew.jpg"]
    assert len(result.samples_ms) == 18
    assert [photo.samples_ms for photo in result.photos] == [pytest.approx((10 + i, 10.01 + i)) for i in range(9)]
    assert (result.invoke.count, result.invoke.p50 is not None, result.accelerator) == (18, True, "gpu")
    assert result.stages["decode"].p50 == 1.5
    assert result.conditions["before"]["battery_celsius"] == 29.5
    assert ("thermal_status" in result.conditions["after"]) == (android >= 10)
    assert clean(daemon)


def test_two_reports_get_a_verdict(phone: Phone, tiny: Path, tmp_path: Path) -> None:
    daemon = phone()
    reports = []
    for milliseconds in (10.0, 20.0):
        scripted_app.set_up(daemon.root, app={"ms": milliseconds})
        assert run(tiny, tmp_path / "out").exception is None
        reports.append(measured(tmp_path))
    assert [c.verdict for c in compare_reports(*reports)] == ["slower"]


def test_a_model_without_a_card_runs_on_noise(phone: Phone, tiny: Path, tmp_path: Path) -> None:
    daemon = phone()
    assert run(tiny, tmp_path / "out").exception is None
    assert "inputs" not in json.loads((daemon.root / "started.json").read_text())["extras"]
    result = measured(tmp_path).results[0]
    assert result.photos == ()
    assert "ran on noise" in " ".join(result.warnings)


def test_models_are_pushed_once_and_inputs_go(phone: Phone, tmp_path: Path) -> None:
    daemon = phone()
    assert run(DEFAULT_MODEL, tmp_path / "out", "--threads", "1,2").exception is None
    assert [result.threads for result in measured(tmp_path).results] == [1, 2]
    assert len([name for name in daemon.pushed if ".tflite" in name]) == 1
    assert len([name for name in daemon.pushed if ".raw" in name]) == 9
    assert clean(daemon)


def test_what_the_gpu_left_to_the_cpu_is_told(phone: Phone, tiny: Path, tmp_path: Path) -> None:
    fallback = {"accelerator": {"asked": "gpu", "used": "cpu", "reason": "no GPU delegate on [this] phone"}}
    phone(app={"values": fallback})
    assert run(tiny, tmp_path / "out", "--gpu").exception is None
    result = measured(tmp_path).results[0]
    assert result.accelerator == "cpu"
    assert "ran on the CPU: no GPU delegate on [this] phone" in result.warnings


def test_heat_and_battery_saver_are_told(phone: Phone, tiny: Path, tmp_path: Path) -> None:
    states = {"before": {"thermal_status": 0, "power_save": True}, "after": {"thermal_status": 2}}
    phone(app={"values": states})
    assert run(tiny, tmp_path / "out").exception is None
    warnings = " ".join(measured(tmp_path).results[0].warnings)
    assert "thermal status rose from 0 to 2" in warnings
    assert "battery saver was on" in warnings


def test_an_emulator_that_only_the_app_sees_through(phone: Phone, tiny: Path, tmp_path: Path) -> None:
    phone(app={"values": {"device": {"emulated": True}}})
    done = run(tiny, tmp_path / "out")
    assert measured(tmp_path).machines[0].emulated
    assert "10.0" not in done.output


# The same answer.


@pytest.fixture
def two_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = find_photos()[:2]
    monkeypatch.setattr(app_run, "find_photos", lambda: photos)


@pytest.mark.parametrize("level_of_change", [0.0, 2**-13])
@pytest.mark.usefixtures("two_photos")
def test_the_same_answer_is_verified(phone: Phone, tmp_path: Path, level_of_change: float) -> None:
    daemon = phone(app={"shift": level_of_change})
    done = run(DEFAULT_MODEL, tmp_path / "out", "--verify", "--runs", "1")
    assert (done.exception, done.return_value) == (None, 0)
    found = measured(tmp_path).results[0].verification
    assert found is not None
    assert found.agreement > 0.999
    assert found.stable_agreement == pytest.approx(1, abs=1e-4)
    assert found.max_differences["mask_logits"] == pytest.approx(level_of_change, abs=1e-5)
    assert found.max_differences["classes"] == 0
    assert f"{found.agreement:.4%}" in (tmp_path / "out" / "benchmark.html").read_text()
    assert clean(daemon)


@pytest.mark.usefixtures("two_photos")
def test_another_answer_fails(phone: Phone, tmp_path: Path) -> None:
    phone(app={"shift": 0.6})
    done = run(DEFAULT_MODEL, tmp_path / "out", "--verify", "--runs", "1")
    assert (done.exception, done.return_value) == (None, 1)
    assert "of the stable pixels are as here, below 0.99" in done.output
    found = measured(tmp_path).results[0].verification
    assert found is not None
    assert found.stable_agreement is not None
    assert found.stable_agreement < 0.99
    assert found.worst <= found.agreement
    assert found.worst_photo


@pytest.mark.usefixtures("two_photos")
def test_nan_from_the_phone(phone: Phone, tmp_path: Path) -> None:
    daemon = phone(app={"shift": float("nan")})
    message = str(run(DEFAULT_MODEL, tmp_path / "out", "--verify", "--runs", "1").exception)
    assert message.startswith(f"device {daemon.serial}: {DEFAULT_MODEL.name}: astronaut.jpg: NaN or infinity in")
    assert clean(daemon)


@pytest.mark.usefixtures("two_photos")
def test_outputs_that_are_missing_or_others(phone: Phone, tiny: Path, tmp_path: Path) -> None:
    phone(app={"outputs": False})
    message = str(run(DEFAULT_MODEL, tmp_path / "out", "--verify", "--runs", "1").exception)
    assert "of the app is None; here" in message
    assert "so that --verify knows no input" in str(run(tiny, tmp_path / "out", "--verify").exception)


# Installing.


def test_the_app_is_installed_when_asked_and_once(phone: Phone, tiny: Path, tmp_path: Path, apk: Path) -> None:
    daemon = phone(installed=None)
    for _ in range(2):
        assert run(tiny, tmp_path / "out", "--app", str(apk)).exception is None
    assert len([name for name in daemon.pushed if ".apk" in name]) == 1
    assert clean(daemon)


def test_the_built_app_is_found(
    phone: Phone, tiny: Path, tmp_path: Path, apk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone(installed=None)
    (tmp_path / "clone" / BUILT).parent.mkdir(parents=True)
    apk.rename(tmp_path / "clone" / BUILT)
    (tmp_path / "clone" / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "clone" / "docs")
    assert run(tiny, tmp_path / "out", "--app").exception is None


def test_files_that_are_no_app(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no such APK; run `make android`" in str(run(tiny, tmp_path / "out", "--app").exception)
    assert "tiny.tflite: is no APK" in str(run(tiny, tmp_path / "out", "--app", str(tiny)).exception)


@pytest.mark.parametrize(
    ("android", "refusal", "message"),
    [
        (8, "Failure [INSTALL_FAILED_UPDATE_INCOMPATIBLE: Package org.maskconver.mobile signatures do not match the "
            "previously installed version; ignoring!]", "run `adb uninstall org.maskconver.mobile` first"),
        (10, "Failure [INSTALL_FAILED_USER_RESTRICTED: Install canceled by user]", "turn on 'Install via USB'"),
        (13, "Failure [INSTALL_FAILED_NO_MATCHING_ABIS: Failed to extract native libraries, res=-113]", "no code for"),
        (13, "Failure [INSTALL_PARSE_FAILED_NO_CERTIFICATES: Failed to collect certificates]", "damaged or unsigned"),
        (15, "Failure [INSTALL_FAILED_VERSION_DOWNGRADE: Downgrade detected]", "a newer version is there"),
        (15, "java.lang.SecurityException: [x] may not install", "java.lang.SecurityException: [x] may not install"),
        (15, "", "no reason"),
    ],
)  # fmt: skip
def test_a_phone_that_refuses_the_app(
    phone: Phone, tiny: Path, tmp_path: Path, apk: Path, android: int, refusal: str, message: str
) -> None:
    daemon = phone(android, installed=None, refusal=refusal)
    shown = str(run(tiny, tmp_path / "out", "--app", str(apk)).exception)
    assert shown.startswith(f"device {daemon.serial}: app.apk cannot be installed: ")
    assert message in shown
    assert "\n" not in shown
    assert clean(daemon)


@pytest.mark.parametrize("android", [8, 15])
def test_an_old_app_on_the_phone(phone: Phone, tiny: Path, tmp_path: Path, android: int, apk: Path) -> None:
    phone(android, installed=7)
    message = str(run(tiny, tmp_path / "out").exception)
    assert "has version 0.0.7 of the app, which is too old; add --app" in message
    assert run(tiny, tmp_path / "out", "--app", str(apk)).exception is None


def test_options_that_the_app_does_not_have(phone: Phone, tiny: Path, tmp_path: Path) -> None:
    phone()
    assert "Android chooses the app's cores" in str(run(tiny, tmp_path / "out", "--cores", "big").exception)
    onnx = tiny.rename(tiny.with_suffix(".onnx"))
    assert "the app reads .tflite files only" in str(run(onnx, tmp_path / "out").exception)
