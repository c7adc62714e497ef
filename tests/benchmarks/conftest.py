import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import scripted_app

sys.path.append(str(Path(__file__).parent))

from adb_daemon import Daemon, Script, clients, free_port
from from_outside import Attach, Phone, write_tool
from tiny import write_tflite
from tool_output import PROFILE, SUMMARY

from maskconver_mobile.benchmarks.android import adb_client, app, device
from maskconver_mobile.benchmarks.android.adb_client import Adb


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A .tflite file of one operator."""
    return write_tflite(tmp_path / "tiny.tflite")


@pytest.fixture(scope="session", params=["adbutils", pytest.param("system", marks=pytest.mark.slow)])
def adb_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Path of a real adb client and the port of a server of its own."""
    found = clients()
    if request.param not in found:
        missing = {"adbutils": "the Python package adbutils", "system": "adb on PATH"}
        pytest.skip(f"needs {missing[request.param]}")
    client, port = Adb(found[request.param]), str(free_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("ANDROID_ADB_SERVER_PORT", port)
        client.run("start-server")
        yield client.path, port
        client.run("kill-server")


@pytest.fixture
def adb(adb_server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Adb:
    """A real adb client, which the benchmark finds as well."""
    client, port = adb_server
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
    monkeypatch.setattr(adb_client, "find_adb", lambda: client)
    monkeypatch.setattr(device, "RECONNECT_S", 1.0)
    return Adb(client)


@pytest.fixture
def attach(adb: Adb, tmp_path: Path) -> Iterator[Attach]:
    """Attach scripted devices: `attach(state=..., drop_at=...)` returns the daemon of a new one."""
    with ExitStack() as stack:

        def one(**script: object) -> Daemon:
            number = len(list(tmp_path.glob("device*")))
            daemon = stack.enter_context(Daemon(tmp_path / f"device{number}", Script(**script)))  # type: ignore[arg-type]
            adb.run("connect", daemon.serial)
            stack.callback(adb.run, "disconnect", daemon.serial, stoppable=False)
            return daemon

        yield one


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """Stands for Google's benchmark_model: prints what that prints."""
    return write_tool(
        tmp_path, f"cat <<'END'\n{SUMMARY}END\ncase \"$*\" in *profiling=true*) cat <<'END'\n{PROFILE}END\nesac"
    )


@pytest.fixture
def phone(attach: Attach, monkeypatch: pytest.MonkeyPatch) -> Phone:
    """Attach a phone: `phone(8, app={"hang": [4]}, daemon={"drop_at": "push"})`."""
    monkeypatch.setattr(app, "POLL_S", 0.1)
    monkeypatch.setattr(app, "GRACE_S", 0.3)

    def one(android: int = 13, *, daemon: dict[str, Any] | None = None, **state: Any) -> Daemon:
        more = {"properties": scripted_app.properties(android), "programs": scripted_app.programs(), **(daemon or {})}
        found = attach(**more)
        scripted_app.set_up(found.root, android=android, **state)
        return found

    return one


@pytest.fixture
def apk(tmp_path: Path) -> Path:
    path = tmp_path / "app.apk"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("AndroidManifest.xml", "x")
    return path
