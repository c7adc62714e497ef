"""The command line as a shell sees it: exit codes, one-line errors, files that appear whole."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from interrupts import interruptible
from models import TINY
from PIL import Image

from maskconver_mobile.coco import read_ids
from maskconver_mobile.segmenter import DEFAULT_MODEL

PHOTO = DEFAULT_MODEL.with_name("astronaut.jpg")
COMMAND = str(Path(sys.executable).with_name("maskconver-mobile"))
CONVERT = ("convert", "--config", str(TINY / "config.yaml"), "--checkpoint", str(TINY))


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, check=False)


def fails(*arguments: object, message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("INFO:", "skipped:"))]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_help_never_loads_a_framework(tmp_path: Path) -> None:
    code = (
        "import sys; from maskconver_mobile.cli import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'numpy', 'cv2', 'PIL', 'ai_edge_litert', 'onnxruntime', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for verb in ("convert", "segment", "inspect", "evaluate", "compare", "benchmark", "demo", "web"):
        assert verb in done.stdout


def test_convert_inspect_segment(tmp_path: Path) -> None:
    model = tmp_path / "tiny.tflite"
    done = run(*CONVERT, "--output", model, "--level", "panoptic", "--input-size", "64x96", "--output-size", "32x48")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "level panoptic" in done.stdout
    assert os.listdir(tmp_path) == ["tiny.tflite"]

    shown = json.loads(run("inspect", model, "--json").stdout)
    assert shown["card"]["input_size"] == [64, 96]
    assert {t["name"]: t["shape"] for t in shown["outputs"]}["category_map"] == [1, 32, 48]
    assert shown["card"]["small_area_threshold"] == 16 * (32 * 48) / (96 * 96)
    table = run("inspect", model).stdout
    assert "CONV_2D" in table
    assert "multiply-adds" in table

    out = tmp_path / "out"
    done = run("segment", model, PHOTO, "--output", out, "--json")
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert line["image"] == str(PHOTO)
    assert (out / "astronaut_overlay.png").exists()


def test_segment_writes_the_coco_format(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.open(PHOTO).save(images / "000000000139.jpg")
    Image.open(PHOTO).resize((200, 120)).save(images / "other.png")
    (images / "notes.txt").write_text("no image")
    done = run("segment", DEFAULT_MODEL, images, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "person" in done.stdout
    document = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [a["image_id"] for a in document["annotations"]] == [139, "other"]
    for annotation in document["annotations"]:
        ids = read_ids(tmp_path / "out" / "panoptic" / annotation["file_name"])
        assert set(np.unique(ids)) - {0} == {s["id"] for s in annotation["segments_info"]}


def test_a_bad_image_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("text")
    Image.open(PHOTO).save(tmp_path / "good.jpg")
    fails_with = "1 of 2 images could not be segmented"
    done = run("segment", DEFAULT_MODEL, tmp_path / "*.jpg", "--output", tmp_path / "out", "--json")
    assert done.returncode == 2
    assert fails_with in done.stderr
    assert f"skipped: {tmp_path / 'bad.jpg'}" in done.stderr
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("convert",), "Missing option '--config'"),
        (("nonsense",), "No such command 'nonsense'"),
        ((*CONVERT, "--output", "/proc/x.tflite"), "/proc/x.tflite: cannot be written"),
        ((*CONVERT, "--output", "x.bin"), "x.bin: unknown model format"),
        ((*CONVERT, "--output", "x.tflite", "--input-size", "big"), "write HEIGHTxWIDTH"),
        ((*CONVERT, "--output", "x.tflite", "--input-size", "8x8"), "each side must be from 32"),
        ((*CONVERT, "--output", "x.tflite", "--output-size", "64"), "belongs to level panoptic"),
        (("convert", "--config", "no.yaml", "--checkpoint", "x", "--output", "x.tflite"), "no.yaml: cannot be read"),
        (("inspect", "none.tflite"), "none.tflite: no such model file"),
        (("inspect", __file__), "no TFLite model"),
        (("segment", "none.tflite", str(PHOTO), "--output", "o"), "none.tflite: no such model file"),
        (("segment", str(DEFAULT_MODEL), "none-*.jpg", "--output", "o"), "none-*.jpg: no such image"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fails(*arguments, message=message)
    assert not list(tmp_path.iterdir())


def test_mistakes_in_the_checkpoint_leave_nothing(tmp_path: Path) -> None:
    output = tmp_path / "x.tflite"
    config = DEFAULT_MODEL.with_suffix(".yaml")
    fails("convert", "--config", config, "--checkpoint", TINY, "--output", output, message="wanted")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_conversion_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    command = [COMMAND, *CONVERT, "--output", str(tmp_path / "x.tflite")]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible
    )
    maps = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + 60
    while "tensorflow" not in maps.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert (process.returncode, errors.strip()) == (130, "interrupted")
    else:
        assert process.returncode == -signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_demo(tmp_path: Path) -> None:
    done = run("demo", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "person" in done.stdout
    assert (tmp_path / "astronaut_overlay.png").exists()


def test_the_other_format(tmp_path: Path) -> None:
    model = tmp_path / "tiny.onnx"
    done = run(*CONVERT, "--output", model, "--format", "onnx")
    assert done.returncode == 0, done.stderr
    shown = json.loads(run("inspect", model, "--json").stdout)
    assert shown["inputs"] == [{"name": "image", "dtype": "float32", "shape": [1, 96, 96, 3], "constant": False}]
    done = run("segment", model, PHOTO, "--output", tmp_path / "out", "--json", "--providers", "CPUExecutionProvider")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["image"] == str(PHOTO)
    fails("segment", model, PHOTO, "--output", "o", "--providers", "NoProvider", message="provider NoProvider is not")
    fails(*CONVERT, "--output", tmp_path / "x.tflite", "--format", "onnx", message="format onnx ends in .onnx")
