"""The command line as a shell sees it: exit codes, one-line errors, files that appear whole."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from interrupts import interruptible
from models import DEMO_CONFIG, TINY
from PIL import Image
from terminals import on_terminal

from maskconver_mobile.cli import VERBS
from maskconver_mobile.evaluation.coco import read_ids
from maskconver_mobile.formats.tflite.file import attach, read_tflite
from maskconver_mobile.inference.batch import find_images, image_ids, result_names
from maskconver_mobile.segmenter import DEFAULT_MODEL

PHOTO = DEFAULT_MODEL.with_name("astronaut.jpg")
COMMAND = str(Path(sys.executable).with_name("maskconver-mobile"))
CONVERT = ("convert", "--config", str(TINY / "config.yaml"), "--checkpoint", str(TINY))
MEDIAPIPE = (*CONVERT, "--output", "x.tflite", "--level", "panoptic", "--target", "gpu", "--mediapipe")
QUANTIZE = ("quantize", "x.tflite", "--calibration", "x", "--output", "y.tflite")


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, check=False)


def fails(*arguments: object, message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
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
    for verb in VERBS:
        assert f"\n  {verb} " in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("inspect", DEFAULT_MODEL),
        ("inspect", DEFAULT_MODEL, "--json"),
        ("segment", PHOTO, "--output", "-"),
    ],
)
def test_a_full_standard_output_is_one_line(words: tuple[object, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [COMMAND, *map(str, words)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False
        )
    message = "error: standard output: cannot be written (No space left on device)\n"
    assert (done.returncode, done.stderr) == (2, message)


def test_a_full_standard_error_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("text")
    Image.open(PHOTO).save(tmp_path / "good.jpg")
    out = tmp_path / "out"
    for words, code in ((("segment", tmp_path / "*.jpg", "--output", out), 1), (("inspect", "none.tflite"), 2)):
        with open("/dev/full", "w") as full:
            command = [COMMAND, *map(str, words)]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, timeout=300, check=False)
        assert done.returncode == code
    assert (out / "good_overlay.png").exists()


def test_a_closed_pipe_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([COMMAND, "--help"], stdout=writer, stderr=subprocess.PIPE, timeout=300, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_shut_gate_is_told_from_a_mistake() -> None:
    code = (
        "from maskconver_mobile import cli, errors\n"
        "def work(**options): raise errors.GateShut('x.tflite: changes too much')\n"
        "cli.cli.main = work\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: x.tflite: changes too much\n")


def test_an_interrupt_while_the_command_is_imported_is_one_word() -> None:
    code = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from maskconver_mobile.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_the_bare_command_is_its_help() -> None:
    for words in ((), ("benchmark",)):
        done = run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("Usage: ")
        assert "Commands:" in done.stdout


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
    assert done.stdout.startswith("2 images, ")
    document = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [a["image_id"] for a in document["annotations"]] == [139, "other"]
    for annotation in document["annotations"]:
        ids = read_ids(tmp_path / "out" / "panoptic" / annotation["file_name"])
        assert set(np.unique(ids)) - {0} == {s["id"] for s in annotation["segments_info"]}


def test_ids_are_numbers_where_no_other_image_has_the_number(tmp_path: Path) -> None:
    names = ("12", "0012", "²", "7", "007x")
    found = image_ids([tmp_path / f"{name}.jpg" for name in names])
    assert list(found.values()) == ["12", "0012", "²", 7, "007x"]


def test_a_second_run_does_not_segment_its_own_results(tmp_path: Path) -> None:
    for name in ("a", "b_overlay"):
        Image.open(PHOTO).resize((60, 60)).save(tmp_path / f"{name}.png")
    for _ in range(2):
        done = run("segment", DEFAULT_MODEL, tmp_path / "**" / "*.png", "--output", tmp_path, "--json")
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [Path(line["image"]).name for line in lines] == ["a.png", "b_overlay.png"]
    document = json.loads((tmp_path / "panoptic.json").read_text())
    assert (
        [a["image_id"] for a in document["annotations"]] == [line["image_id"] for line in lines] == ["a", "b_overlay"]
    )


def test_images_that_differ_by_their_suffix_keep_it(tmp_path: Path) -> None:
    """As phones write IMG_1.HEIC beside IMG_1.JPG."""
    for name in ("7.png", "7.jpg", "8.png"):
        Image.open(PHOTO).resize((60, 60)).save(tmp_path / name)
    found = find_images([str(tmp_path)])
    assert result_names(found) == dict(zip(found, ("7.jpg", "7.png", "8"), strict=True))
    assert list(image_ids(found).values()) == ["7.jpg", "7.png", 8]
    Image.open(PHOTO).resize((60, 60)).save(tmp_path / "7.png.png")
    fails("segment", DEFAULT_MODEL, tmp_path, "--output", tmp_path / "out", message="would have the same name")


def test_names_of_others_are_shown_as_they_stand(tmp_path: Path) -> None:
    """A card's name and a file's are no markup, and draw nothing on the terminal."""
    model, photo = tmp_path / "m[red].tflite", tmp_path / "photo[red]x.jpg"
    content = attach(DEFAULT_MODEL.read_bytes(), replace(read_tflite(DEFAULT_MODEL).card, name="[/nope]\x1b[2J:boom:"))
    model.write_bytes(content)
    Image.open(PHOTO).save(photo)
    done = run("inspect", model)
    assert (done.returncode, done.stderr.count("error")) == (0, 0)
    assert "[/nope]?[2J:boom:" in done.stdout
    done = run("segment", model, photo, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "photo[red]x.jpg" in done.stdout
    fails("inspect", tmp_path / "\x1b[2J.tflite", message="[2J.tflite: no such model file")
    done = run("benchmark", model, "--runs", "1", "--output", tmp_path / "b")
    assert done.returncode == 0, done.stderr
    assert "m[red].tflite" in done.stdout


def test_inspection_fits_80_columns(tmp_path: Path) -> None:
    """With the whole of the checkpoint's name, and what a GPU would leave outside."""
    shown = on_terminal("inspect", DEFAULT_MODEL, columns=80)
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.split())
    assert "checkpoint maskconver_256_demo," in words
    assert "at most (shapes and drivers decide)" in words
    assert "of int32" in words
    assert "nothing" not in words


def test_inspection_of_what_litert_refuses_is_one_line(with_custom_operator: Path) -> None:
    fails("inspect", with_custom_operator, message="LiteRT cannot load its graph")


def test_a_terminated_command_removes_its_unfinished_file(tmp_path: Path) -> None:
    """Stopped while it writes."""
    code = (
        "import time; from pathlib import Path; from maskconver_mobile import cli\n"
        "from maskconver_mobile.files import replacing\n"
        "def work(**options):\n"
        "    with replacing(Path('result')) as temporary:\n"
        "        temporary.write_bytes(b'half'); print('writing', flush=True); time.sleep(60)\n"
        "cli.cli.main = work\n"
        "cli.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    assert len(list(tmp_path.iterdir())) == 1
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_a_bad_image_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("text")
    Image.open(PHOTO).save(tmp_path / "good.jpg")
    fails_with = "1 of 2 images could not be segmented"
    done = run("segment", DEFAULT_MODEL, tmp_path / "*.jpg", "--output", tmp_path / "out", "--json")
    assert done.returncode == 1
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
        (("inspect", __file__), "unknown model format '.py'"),
        (("segment", "none.tflite", str(PHOTO), "--output", "o"), "none.tflite: no such model file"),
        (("segment", str(DEFAULT_MODEL), "none-*.jpg", "--output", "o"), "none-*.jpg: no such image"),
        (("segment", str(DEFAULT_MODEL), "x" * 5000, "--output", "o"), "cannot be looked for (File name too long)"),
        ((*MEDIAPIPE, "./x.tflite"), "x.tflite: is the same file as x.tflite; give another file to write"),
        ((*MEDIAPIPE, "new/../x.tflite"), "is the same file as x.tflite"),
        ((*MEDIAPIPE, "x.onnx"), "x.onnx: --mediapipe takes and writes .tflite files"),
        ((*MEDIAPIPE, "y.tflite", "--output", "x.onnx"), "x.onnx: --mediapipe takes and writes .tflite files"),
        ((*MEDIAPIPE, "/proc/y.tflite"), "/proc/y.tflite: cannot be written"),
        ((*MEDIAPIPE, "y.tflite", "--level", "masks"), "x.tflite: is of level masks; MediaPipe needs --level panoptic"),
        ((*CONVERT, "--output", "x.tflite", "--max-loss", "0.5"), "--max-loss needs --quantize dynamic, int8"),
        ((*CONVERT, "--output", "x.tflite", "--num-calibration", "5"), "--num-calibration needs --quantize"),
        ((*CONVERT, "--output", "x.tflite", "--quantize", "int8", "--max-loss", "0.5"), "--max-loss needs --gate"),
        (
            (*CONVERT, "--output", "x.tflite", "--quantize", "dynamic", "--calibration", "x"),
            "--calibration is for recipes int8, int8-balanced, int16x8; leave it out",
        ),
        (("quantize", "x.tflite", "--analyse", "--keep-float", "x"), "--keep-float is for writing a model"),
        (("quantize", "x.tflite", "--analyse", "--output", "x"), "--output is for writing a model"),
        (
            ("quantize", "x.tflite", "--analyse", "--target-agreement", "0.9"),
            "--target-agreement is for writing a model",
        ),
        ((*QUANTIZE, "--target-agreement", "1.2"), "'--target-agreement': 1.2 is not in the range 0<x<=1"),
        ((*QUANTIZE, "--target-agreement", "0"), "'--target-agreement': 0.0 is not in the range 0<x<=1"),
        (
            (*QUANTIZE, "--target-agreement", "0.9", "--recipe", "dynamic"),
            "--target-agreement is for recipes int8, int8-balanced, int16x8; choose int8",
        ),
        (
            (*QUANTIZE, "--target-agreement", "0.9", "--gate", "x", "--max-loss", "0.1"),
            "--max-loss is a gate of its own; leave it out with --target-agreement",
        ),
        ((*QUANTIZE, "--json", "x"), "'x': name it *.json, or give - for standard output"),
        ((*CONVERT, "--output", "x.tflite", "--target-agreement", "0.9"), "--target-agreement needs --quantize"),
        (
            ("quantize", "x.tflite", "--output", "y.tflite", "--recipe", "dynamic", "--max-loss", "0.1"),
            "--max-loss needs --gate",
        ),
        (
            ("evaluate", "x", "--stable", "--images", "x", "--annotations", "x", "--panoptic-dir", "x"),
            "--stable compares with the first of several models",
        ),
        (("benchmark", str(DEFAULT_MODEL), "--cool-down", "5"), "--cool-down is for devices; add --adb"),
        (("benchmark", str(DEFAULT_MODEL), "--timeout", "5"), "--timeout is for devices; add --adb"),
        (("benchmark", str(DEFAULT_MODEL), "--adb", "--min-stable-agreement", "0.5"), "needs --verify"),
        (("demo", "--adb", "--output", "x"), "--output is for this machine; leave --adb out"),
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
    config = DEMO_CONFIG
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
    assert "training images of the demo model. On 50 unseen COCO images it reaches a PQ of 4.5" in done.stdout
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.width == 1800
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 9
    assert "training images" in page
    assert len(list(tmp_path.glob("*_overlay.png"))) == 9
    assert (tmp_path / DEFAULT_MODEL.name).exists()


def test_demo_outside_a_clone(tmp_path: Path) -> None:
    done = run("demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Segmenting with the bundled model. Converting is shown in a clone" in done.stdout
    written = os.listdir(tmp_path / "out")
    assert {"contact_sheet.png", "index.html", "astronaut_overlay.png", "panoptic", "panoptic.json"} <= set(written)


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
