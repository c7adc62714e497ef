import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupts import interruptible
from tiny import SHAPE, write_onnx

from maskconver_mobile.benchmarks.android.pack_worker import pack_worker
from maskconver_mobile.benchmarks.host import latency as host
from maskconver_mobile.benchmarks.host import worker
from maskconver_mobile.benchmarks.host.operator_times import profile
from maskconver_mobile.benchmarks.host.process import WorkerProcess, module_command
from maskconver_mobile.benchmarks.photos import PreparedPhotos, find_photos
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats import engines, runtimes
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter


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
    with pytest.raises(MaskConverError, match=r"broken\.tflite: ai-edge-litert cannot load it"):
        host.measure([broken])
    with pytest.raises(MaskConverError, match="no such model file"):
        host.measure([tmp_path / "missing.tflite"])


def test_photographs_take_turns() -> None:
    """Two photographs through two models: whole passes, and every timing with its photograph."""
    photos = find_photos()[:2]
    found = host.measure([DEFAULT_MODEL, DEFAULT_MODEL], threads=1, runs=3, warmup=0, photos=photos)
    assert found.rounds == 4
    for timing in found.models:
        assert [photo.photo for photo in timing.photos] == ["astronaut.jpg", "apollo11_crew.jpg"]
        assert [photo.samples_ms for photo in timing.photos] == [timing.samples_ms[::2], timing.samples_ms[1::2]]
        assert timing.spread is not None
        assert timing.spread.worst == max(photo.invoke.typical for photo in timing.photos)


def test_a_photograph_is_what_the_model_sees(tmp_path: Path) -> None:
    """The worker's raw input gives the outputs that the runtime computes of the same photograph."""
    photo, segmenter = find_photos()[3], Segmenter(DEFAULT_MODEL)
    outputs = tmp_path / "outputs.npz"
    with PreparedPhotos([photo]) as prepared:
        (file,) = prepared.inputs(segmenter.card)
        words = [
            str(DEFAULT_MODEL),
            "--inputs",
            str(file),
            "--outputs",
            str(outputs),
            "--json",
            str(tmp_path / "r.json"),
        ]
        subprocess.run([*module_command(worker.__name__), *words, "--runs", "1"], check=True)
    assert not file.exists()
    expected = segmenter.run(photo)
    assert any(np.array_equal(value, expected["classes"]) for value in np.load(outputs).values())


def test_what_is_timed_is_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark's worker and `Segmenter` open models by the same call."""
    opened: list[tuple[object, ...]] = []
    original = engines.open_engine

    def watched(*arguments: Any, **options: Any) -> Any:
        opened.append((*arguments, options))
        return original(*arguments, **options)

    monkeypatch.setattr(worker, "open_engine", watched)
    monkeypatch.setattr(runtimes, "open_engine", watched)
    worker.open_model(str(DEFAULT_MODEL), 2)
    Segmenter(DEFAULT_MODEL, num_threads=2)
    assert opened[0] == opened[1]


def test_a_missing_runtime_says_how_to_get_it(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MaskConverError, match=r"\.tflite files need ai-edge-litert; install"):
        worker.load(str(tiny), 1, [])


def test_memory_is_left_out_where_nothing_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    monkeypatch.setitem(sys.modules, "resource", None)
    assert worker.peak_rss_kib() is None


def test_the_worker_of_devices_stands_alone(tiny: Path, tmp_path: Path) -> None:
    """One file, the same every time, run by a Python that has no other part of this package."""
    (tmp_path / "other").mkdir()
    packed = pack_worker(tmp_path)
    assert packed.read_bytes() == pack_worker(tmp_path / "other").read_bytes()
    code = (
        "import runpy, sys; packed, *sys.argv[1:] = sys.argv[1:]\n"
        "runpy.run_path(packed, run_name='packed')['main']()\n"
        "assert 'worker.pyz' in sys.modules['maskconver_mobile.formats.engines'].__file__"
    )
    words = [str(packed), str(tiny), "--json", str(tmp_path / "r.json"), "--runs", "2", "--warmup", "0"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads((tmp_path / "r.json").read_text())["samples_ms"]) == 2


def test_a_model_without_a_card_runs_on_noise_or_on_another_card(tiny: Path) -> None:
    assert host.measure([tiny], runs=1).models[0].photos == ()
    card = replace(Segmenter(DEFAULT_MODEL).card, input_size=SHAPE[1:3], input_type="float32")
    (found,) = host.measure([tiny], runs=1, cards={tiny: card}).models
    assert len(found.photos) == len(find_photos())


def test_inputs_that_do_not_fit(tiny: Path, tmp_path: Path) -> None:
    runner = worker.open_model(str(tiny), 1)
    short, other = tmp_path / "short.raw", tmp_path / "other.npz"
    short.write_bytes(bytes(8))
    np.savez(other, z=np.zeros(SHAPE, np.float32), x=np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"holds 2 values and input 'x' takes float32 \[1, 8, 8, 3\]"):
        worker.Feeder(runner, [str(short)]).feed(0)
    with pytest.raises(ValueError, match=r"input 'x' is float32 \[2\] and the model takes"):
        worker.Feeder(runner, [str(other)]).feed(0)
    with pytest.raises(ValueError, match="input 'x' is missing"):
        worker.checked({"z": np.zeros(SHAPE, np.float32)}, runner.inputs)


def test_input_files_take_turns(tiny: Path, tmp_path: Path) -> None:
    values = [np.full(SHAPE, v, np.float32) for v in (0, 50)]
    for i, value in enumerate(values):
        (tmp_path / f"{i}.raw").write_bytes(value.tobytes())
    runner = worker.open_model(str(tiny), 1)
    feeder = worker.Feeder(runner, [str(tmp_path / "0.raw"), str(tmp_path / "1.raw")])
    for turn, expected in enumerate((0.5, 1.0, 0.5)):
        feeder.feed(turn)
        runner.invoke()
        assert runner.results()["y"].mean() == pytest.approx(expected)


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
        runner = worker.open_model(str(path), 1)
        runner.feed(worker.noise(runner.inputs))
        runner.invoke()
        outputs.append(runner.results()["y"])
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
