"""A device whose shell is a real arm64 user land: ARM kernels compute what the original implementation computed.

`ARM64_ROOT` names the folder that `arm64_root.sh` made.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from adb_daemon import PROPERTIES, Daemon
from click.testing import CliRunner

from maskconver_mobile.benchmarks.android import adb_client
from maskconver_mobile.benchmarks.android.adb_client import Adb
from maskconver_mobile.benchmarks.android.device import Device
from maskconver_mobile.benchmarks.android.pack_worker import pack_worker
from maskconver_mobile.benchmarks.host import worker
from maskconver_mobile.benchmarks.report.results import Report
from maskconver_mobile.cli.benchmark import command

pytestmark = pytest.mark.slow

QEMU = "qemu-aarch64-static"
TOOLS = "wc sha256sum cut chmod mv rm mkdir ls cat grep uname"


@pytest.fixture
def arm64(attach: Callable[..., Daemon]) -> Daemon:
    """A device of that user land; its only programs are dash, busybox and Python for ARM."""
    folder = os.environ.get("ARM64_ROOT", "")
    if shutil.which(QEMU) is None:
        pytest.skip(f"needs {QEMU} (Debian's qemu-user-static)")
    if not (Path(folder) / "complete").is_file():
        pytest.skip("needs ARM64_ROOT, the folder that tests/benchmarks/arm64_root.sh made")
    emulator = f"{shutil.which(QEMU)} -cpu cortex-a76 -L {folder}"
    python = f'PYTHONPATH={folder}/opt/packages exec {emulator} {folder}/usr/bin/python3.11 "$@"'
    tools = {name: f'exec {emulator} {folder}/bin/busybox {name} "$@"' for name in TOOLS.split()}
    daemon = attach(
        properties=PROPERTIES | {"ro.product.cpu.abi": "arm64-v8a"},
        programs={**tools, "python3": python, "sh": f'exec {emulator} {folder}/bin/dash "$@"'},
        interpreter=(*emulator.split(), f"{folder}/bin/dash", "-c"),
    )
    daemon.search_path = str(daemon.root / "bin")
    return daemon


@pytest.mark.parametrize("level", ["heads", "masks"])
def test_outputs_are_the_golden_tensors(arm64: Daemon, adb: Adb, data: Path, tmp_path: Path, level: str) -> None:
    from maskconver_mobile.converters.convert import convert
    from maskconver_mobile.converters.spec import GraphSpec

    golden = np.load(data / "tiny_96" / "golden.npz")
    model, inputs = tmp_path / "tiny_96.tflite", tmp_path / "inputs.npz"
    tiny = data / "tiny_96"
    spec = GraphSpec(level=level, input_type="float32")
    convert(tiny / "config.yaml", tiny / "ckpt-7", model, spec=spec, half_precision=False)
    (name,) = worker.open_model(str(model), 1).inputs
    np.savez(inputs, **{name: golden["images"][:1]})

    phone = Device(adb, arm64.serial)
    runner, remote, remote_inputs = (phone.push(path) for path in (pack_worker(tmp_path), model, inputs))
    outputs = f"{phone.folder}/outputs.npz"
    words = f"python3 {runner} {remote} --inputs {remote_inputs} --outputs {outputs} --json {phone.folder}/r.json"
    done = phone.shell_once(f"{words} --runs 1 --warmup 0", 300)
    assert done.code == 0, done.stdout + done.stderr
    phone.pull(outputs, tmp_path / "outputs.npz")
    found = {name.split(":")[0]: value[0] for name, value in np.load(tmp_path / "outputs.npz").items()}
    pairs = {
        "heads": [
            ("class_heatmap", "class_heatmaps"),
            ("mask_embedding_map", "mask_embeddings_dense"),
            ("pixel_embeddings", "per_pixel_embeddings"),
        ],
        "masks": [("classes", "classes"), ("scores", "confidence"), ("mask_logits", "mask_proposal_logits")],
    }
    for ours, theirs in pairs[level]:
        np.testing.assert_allclose(found[ours], golden[theirs][0], atol=2e-4, rtol=2e-4, err_msg=ours)


def test_a_benchmark_of_it_is_marked_emulated(
    arm64: Daemon, adb: Adb, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb_client, "find_adb", lambda: adb.path)
    arguments = [str(tiny), "--adb", "--runs", "4", "--threads", "1", "--output", str(tmp_path / "out")]
    CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    report = Report.load(tmp_path / "out" / "benchmark.json")
    assert [machine.emulated for machine in report.machines] == [True]
    assert report.machines[0].environment["machine"] == "aarch64"
    assert len(report.results[0].samples_ms) == 4
    page = (tmp_path / "out" / "benchmark.html").read_text()
    assert "its times are no latency" in page
    assert "<svg" not in page
