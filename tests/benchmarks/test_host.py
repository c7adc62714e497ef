import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from interrupts import interruptible
from tiny import SHAPE, write_onnx

from maskconver_mobile.benchmarks import host, worker
from maskconver_mobile.benchmarks.process import WorkerProcess
from maskconver_mobile.benchmarks.profile import profile
from maskconver_mobile.errors import MaskConverError


def test_measures_every_model_once_a_round(tiny: Path) -> None:
    seen = []
    found = host.measure([tiny, tiny], threads=1, runs=4, warmup=1, progress=lambda *step: seen.append(step))
    assert found.rounds == 4
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    first, second = found.models
    assert first.ratio_to_first is None
    assert second.ratio_to_first is not None
    assert second.ratio_to_first.p25 <= second.ratio_to_first.median <= second.ratio_to_first.p75
    assert len(first.samples_ms) == first.invoke.count == 4
    assert first.invoke.min <= first.invoke.typical <= first.invoke.max
    assert first.peak_rss_kib > first.rss_before_load_kib > 1000
    assert first.runtime == "litert"


def test_goes_on_for_min_seconds(tiny: Path) -> None:
    assert host.measure([tiny], threads=1, runs=1, min_seconds=0.3).rounds > 1


@pytest.mark.parametrize("bad", [{"runs": 0}, {"threads": 0}, {"warmup": -1}, {"min_seconds": -1.0}])
def test_refuses_numbers_out_of_range(tiny: Path, bad: dict[str, int]) -> None:
    with pytest.raises(MaskConverError, match="expected at least one model"):
        host.measure([tiny], **bad)


def test_names_a_file_that_is_no_model(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    with pytest.raises(MaskConverError, match=r"broken\.tflite: litert cannot load it"):
        host.measure([broken])
    with pytest.raises(MaskConverError, match="no such model file"):
        host.measure([tmp_path / "missing.tflite"])


def test_runs_on_given_inputs(tiny: Path) -> None:
    with pytest.raises(MaskConverError, match=r"input 'x' is float32 \[2\] and the model takes"):
        host.measure([tiny], inputs={tiny: {"x": np.zeros(2, np.float32)}})
    with pytest.raises(MaskConverError, match="input 'x' is missing"):
        host.measure([tiny], inputs={tiny: {"z": np.zeros(SHAPE, np.float32)}})
    host.measure([tiny], runs=1, inputs={tiny: {"x": np.zeros(SHAPE, np.float32)}})


def test_a_worker_that_dies_is_told_and_reaped(tiny: Path) -> None:
    with WorkerProcess(tiny, 1) as process:
        pid = process._process.pid
        os.kill(pid, signal.SIGSEGV)
        with pytest.raises(MaskConverError, match="was killed by SIGSEGV"):
            process.turn(1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_worker_survives_an_error_in_another(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tflite").write_bytes(b"no model")
    with pytest.raises(MaskConverError):
        host.measure([tiny, tmp_path / "b.tflite"])
    time.sleep(0.05)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    assert "worker" not in "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in children.split())


def test_outputs_of_both_runtimes_agree(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
    pytest.importorskip("onnx", reason="needs the package onnx")
    model = write_onnx(tmp_path / "tiny.onnx")
    outputs = []
    for path in (tiny, model):
        runner = worker.open_runner(str(path), 1)
        runner.invoke()
        outputs.append(runner.outputs()["y"])
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-6)
    assert [m.runtime for m in host.measure([tiny, model], runs=1).models] == ["litert", "onnxruntime"]
    operators = profile(model, threads=1, runs=5).operators
    assert [(op.type, op.count) for op in operators] == [("Sigmoid", pytest.approx(1))]


def test_random_inputs_are_the_same_every_time() -> None:
    for kind in ("float32", "uint8", "int8", "bool"):
        first, second = (worker.random_array((3, 4), kind) for _ in range(2))
        assert first.dtype == kind
        np.testing.assert_array_equal(first, second)
        assert len(np.unique(first)) > 1


def test_interrupt_ends_every_process_and_exits_130(tiny: Path, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("maskconver-mobile")), "benchmark", str(tiny), "--min-seconds", "60"]
    process = subprocess.Popen(
        [*command, "--output", str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=interruptible,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 30
    while not children.read_text().split() and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [int(pid) for pid in children.read_text().split()]
    assert workers
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "interrupted"
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not list(tmp_path.glob("out/*"))
