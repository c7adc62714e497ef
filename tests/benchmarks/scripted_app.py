"""The app's side of a scripted phone: `am`, `pm`, `dumpsys`, `pidof` and `logcat` of Android 8, 10, 13 and 15.

`programs` gives the phone its commands; they run this file, in the phone's folder. What the app does there, and what
goes wrong, stands in `phone.json` in that folder. Extras are taken as strictly as the app takes them.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PACKAGE = "org.maskconver.mobile"
RESULTS = Path("sdcard/Android/media") / PACKAGE / "benchmark"
COMMANDS = ("am", "pm", "dumpsys", "pidof", "logcat")
SDK = {8: 26, 10: 29, 13: 33, 15: 35}
KINDS = {
    "contract": "--ei", "run": "--es", "model": "--es", "threads": "--ei", "runs": "--ei", "warmup": "--ei",
    "min_seconds": "--ef", "accelerator": "--es", "half_precision": "--ez", "profile": "--ez", "inputs": "--esa",
    "view": "--es",
}  # fmt: skip
READ = {"--ei": int, "--es": str, "--ef": float, "--ez": lambda text: text == "true", "--esa": lambda t: t.split(",")}


def programs() -> dict[str, str]:
    """The phone's commands, for `Script.programs`."""
    return {name: f'exec {sys.executable} -S {Path(__file__)} {name} "$@"' for name in COMMANDS}


def properties(android: int, **more: str) -> dict[str, str]:
    """What `getprop` answers on a phone that is no emulator."""
    return {
        "ro.product.manufacturer": "Example",
        "ro.product.model": "Scripted",
        "ro.board.platform": "ex1000",
        "ro.build.version.release": str(android),
        "ro.build.version.sdk": str(SDK[android]),
        "ro.product.cpu.abi": "arm64-v8a",
        **more,
    }


def set_up(root: Path, **state: Any) -> None:
    """Set what the phone is and does.

    Args:
        root: its folder.
        state: `android` (8, 10, 13, 15); `installed`, the version code of the app there, or nothing; `refusal`, what
            `pm install` says instead of success; `start`, what `am start` says instead; `logcat`, a line; `locked`; and
            `app`, what the app does: `text` or `values` over the result, `seconds` it takes, `hang` at these numbers of
            threads, `crash`, `die` for a reason that the phone keeps, `shift` of its outputs.
    """
    state = {"android": 13, "installed": 100, "app": {}, **state}
    (root / "phone.json").write_text(json.dumps(state))


def kill(root: Path) -> None:
    """End the app of a phone that nobody reaches any more."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(int((root / "app.pid").read_text()), signal.SIGKILL)


def _state() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("phone.json").read_text())
    return found


def _running() -> int | None:
    try:
        pid = int(Path("app.pid").read_text())
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    return None if stat.rpartition(")")[2].split()[0] == "Z" else pid


def _stop() -> None:
    pid = _running()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    Path("app.pid").unlink(missing_ok=True)


def am(words: list[str]) -> int:
    state = _state()
    if words[:1] == ["force-stop"]:
        _stop()
        return 0
    assert words[:5] == ["start", "-S", "-W", "-n", words[4]]
    component, extras = words[4], _extras(words[5:])
    print(f"Stopping: {PACKAGE}\nStarting: Intent {{ cmp={component} (has extras) }}")
    _stop()
    if state["installed"] is None:
        activity = component.replace("/.", f"/{PACKAGE}.")
        print(f"Error type 3\nError: Activity class {{{activity}}} does not exist.")
        return 1 if state["android"] >= 13 else 0
    if "start" in state:
        print(state["start"])
        return 255 if state["android"] >= 10 else 0
    Path("started.json").write_text(json.dumps({"component": component, "extras": extras}))
    dies_at_once = component.endswith(".ShellActivity") and state["app"].get("die")
    if not dies_at_once:
        app = subprocess.Popen(
            [sys.executable, __file__, component.rpartition(".")[2], json.dumps(extras)],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open("app.log", "w"),  # noqa: SIM115
        )
        Path("app.pid").write_text(str(app.pid))
    timing = {8: "ThisTime: 412\n", 10: "LaunchState: COLD\n"}.get(state["android"], "LaunchState: COLD\n")
    print(f"Status: ok\n{timing}Activity: {component}\nTotalTime: 412\nWaitTime: 428\nComplete")
    return 0


def _extras(words: list[str]) -> dict[str, Any]:
    found = {}
    for kind, name, text in zip(words[::3], words[1::3], words[2::3], strict=True):
        assert KINDS[name] == kind, f"{name} came as {kind}"
        found[name] = READ[kind](text)
    return found


def pm(words: list[str]) -> int:
    state = _state()
    if words[0] == "path":
        if state["installed"] is None:
            return 1
        print(f"package:{Path('base.apk').absolute()}")
        return 0
    if words[0] == "grant":
        Path("granted").write_text(words[2])
        return 0
    assert words[:2] == ["install", "-r"]
    if "refusal" in state:
        if state["android"] == 8:
            print(f"\tpkg: {words[2]}")
        print(state["refusal"])
        return 1
    Path("base.apk").write_bytes(Path(words[2]).read_bytes())
    Path("phone.json").write_text(json.dumps({**state, "installed": 100}))
    print("Success")
    return 0


def dumpsys(words: list[str]) -> int:
    state = _state()
    android, code = state["android"], state["installed"]
    if words[0] == "package":
        if code is None:
            print(f"Dexopt state:\n  Unable to find package: {words[1]}")
            return 0
        print(f"Packages:\n  Package [{PACKAGE}] (1a2b3c):\n    userId=10123\n    codePath=/data/app/x")
        print(f"    versionCode={code} minSdk=26 targetSdk=34\n    versionName=0.{code // 100}.{code % 100}")
    elif words[:2] == ["activity", "exit-info"]:
        if android < 11:
            print("Bad activity command, or no activities match: exit-info")
            return 0
        print("ACTIVITY MANAGER PROCESS EXIT INFO (dumpsys activity exit-info)\n  package: " + PACKAGE)
        died = state["app"].get("die")
        if died:
            print("        ApplicationExitInfo #0:\n          timestamp=2026-01-01 12:00:00.000 pid=4242 user=0")
            print(f"          process={PACKAGE} reason={died} subreason=0 (UNKNOWN) status=0")
            print("          importance=100 pss=0.00 rss=356MB description=null state=empty trace=null")
    elif words == ["battery"]:
        print(
            "Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  level: 87\n  temperature: 295"
        )
    elif words == ["thermalservice"]:
        print("Can't find service: thermalservice" if android < 10 else "IsStatusOverride: false\nThermal Status: 0")
    elif words == ["trust"]:
        locked = int(state.get("locked", False))
        print(f'Trust manager state:\n User "Owner" (id=0, flags=0x13) (current): trusted=0, deviceLocked={locked}')
    elif words == ["power"]:
        print("POWER MANAGER (dumpsys power)\n  mWakefulness=Awake")
    return 0


def pidof(words: list[str]) -> int:
    assert words == [PACKAGE]
    pid = _running()
    print(*([] if pid is None else [pid]))
    return int(pid is None)


def logcat(words: list[str]) -> int:
    print("--------- beginning of main\n01-01 12:00:00.000  4242  4242 I MaskConver: threads 4")
    print(_state().get("logcat", ""))
    return 0


def app(extras: dict[str, Any]) -> None:
    """The benchmark in the app: one JSON file, whole and at the end."""
    state = _state()
    behaviour = state["app"]
    run = extras["run"]
    if behaviour.get("die") or behaviour.get("crash"):
        return
    time.sleep(behaviour.get("seconds", 0))
    if extras["threads"] in behaviour.get("hang", []):
        time.sleep(77)
    RESULTS.mkdir(parents=True, exist_ok=True)
    values = _values(extras, state)
    if extras.get("inputs") and behaviour.get("outputs", True):
        values["outputs"] = _outputs(extras, behaviour.get("shift", 0.0))
    values |= behaviour.get("values", {})
    part = RESULTS / f"{run}.json.tmp"
    part.write_text(behaviour.get("text", json.dumps(values)))
    part.rename(RESULTS / f"{run}.json")
    time.sleep(77)  # the activity stays until it is closed


def _values(extras: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    inputs = extras.get("inputs", [])
    turns = max(len(inputs), 1)
    count = -(-extras["runs"] // turns) * turns
    sensors = {"battery_percent": 87, "battery_celsius": 29.5, "charging": True, "power_save": False, "uptime_ms": 1}
    sensors |= {"thermal_status": 0} if state["android"] >= 10 else {}
    model = Path(extras["model"]).read_bytes()
    stages = ("decode", "preprocess", "invoke", "merge")
    return {
        "schema": 1, "contract": 1, "run": extras["run"], "error": None,
        "app": {"package": PACKAGE, "version_name": "0.1.0", "version_code": 100},
        "options": extras,
        "device": {"manufacturer": "Example", "sdk": SDK[state["android"]], "emulated": False},
        "runtime": {"name": "tflite", "version": "2.16.1"},
        "model": {"sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model)},
        "accelerator": {"asked": extras["accelerator"], "used": extras["accelerator"], "reason": ""},
        "half_precision": {"allowed": extras["half_precision"], "in_use": False},
        "load_cold_ms": 41.2, "load_warm_ms": 30.1, "first_invoke_ms": 12.3,
        "warmup_ms": [12.0] * extras["warmup"],
        "samples_ms": [state["app"].get("ms", 10.0) + i % turns + 0.01 * (i // turns) for i in range(count)],
        "stages_ms": {stage: [1.0, 2.0] for stage in stages} if extras["profile"] else {},
        "peak_rss_kib": 123456, "rss_before_load_kib": 65432,
        "before": sensors, "after": sensors, "outputs": [],
    }  # fmt: skip


def _outputs(extras: dict[str, Any], shift: float) -> list[dict[str, Any]]:
    import numpy as np

    from maskconver_mobile.formats.runtimes import load

    runtime = load(Path(extras["model"]), 1)
    found = []
    for index, path in enumerate(extras["inputs"]):
        shape = (1, *runtime.card.input_size, 3)
        tensor = np.frombuffer(Path(path).read_bytes(), runtime.card.input_dtype).reshape(shape)
        for name, value in runtime.run(tensor).items():
            moved = value + np.float32(shift) if value.dtype == np.float32 else value
            file = RESULTS / f"{extras['run']}.{index}.{name}.bin"
            file.write_bytes(moved.tobytes())
            found.append(
                {"name": name, "dtype": value.dtype.name, "shape": list(value.shape), "input": index,
                 "file": f"/{file}", "bytes": value.nbytes}
            )  # fmt: skip
    return found


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "BenchmarkActivity":
        app(json.loads(rest[0]))
    elif verb == "ShellActivity":
        time.sleep(77)
    else:
        sys.exit({"am": am, "pm": pm, "dumpsys": dumpsys, "pidof": pidof, "logcat": logcat}[verb](rest))
