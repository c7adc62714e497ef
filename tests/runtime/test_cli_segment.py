"""`segment` as people use it: one photograph, folders of strange names, pipes, a second try."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from interrupts import interruptible
from PIL import Image
from terminals import on_terminal

from maskconver_mobile import Segmenter
from maskconver_mobile.cli.terminal import shorten
from maskconver_mobile.inference.batch import find_images, image_ids, result_names
from maskconver_mobile.segmenter import DEFAULT_MODEL

PHOTO = DEFAULT_MODEL.with_name("astronaut.jpg")
COMMAND = str(Path(sys.executable).with_name("maskconver-mobile"))


def run(
    *arguments: object, cwd: Path, input: bytes | None = None, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    command = [COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, timeout=120, cwd=cwd, check=False, input=input, env=os.environ | environment
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder of four pictures, two of them in a folder of their own."""
    folder = tmp_path / "small"
    (folder / "deep").mkdir(parents=True)
    picture = Image.open(PHOTO).resize((64, 48))
    for name in ("a.png", "b.jpg", "deep/a.png", "deep/12.png"):
        picture.save(folder / name)
    return folder


def test_a_photograph_is_all_it_needs(tmp_path: Path) -> None:
    done = run("segment", PHOTO, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("astronaut.jpg 512x512: table-merged 0.")
    assert lines[0].endswith(" ms: out/astronaut_overlay.png")
    assert sorted(os.listdir(tmp_path / "out")) == ["astronaut_overlay.png", "panoptic", "panoptic.json"]
    assert not run("segment", PHOTO, "-q", cwd=tmp_path).stdout
    verbose = run("segment", PHOTO, "-v", cwd=tmp_path).stdout.decode()
    assert "\nperson\tthing\t0." in verbose


def test_a_model_is_known_by_its_suffix(tmp_path: Path, small: Path) -> None:
    done = run("segment", DEFAULT_MODEL, small / "a.png", "--no-overlay", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "out")) == ["panoptic", "panoptic.json"]
    done = run("segment", DEFAULT_MODEL, cwd=tmp_path)
    assert done.returncode == 2
    assert b"give images to segment behind the model" in done.stderr


def test_options_reach_the_work(tmp_path: Path, small: Path) -> None:
    assert not run("segment", PHOTO, "--threshold", "0.2", "--format", "jpg", "--threads", "1", cwd=tmp_path).stderr
    document = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    expected = Segmenter(object_mask_threshold=0.2)(PHOTO)
    assert [s["id"] for s in document["annotations"][0]["segments_info"]] == expected.ids.tolist()
    with Image.open(tmp_path / "out" / "astronaut_overlay.jpg") as overlay:
        assert (overlay.format, overlay.size) == ("JPEG", (512, 512))


def test_folders_in_folders(tmp_path: Path, small: Path) -> None:
    assert run("segment", small, "--output", "flat", cwd=tmp_path).returncode == 0
    assert sorted(os.listdir(tmp_path / "flat" / "panoptic")) == ["a.png", "b.png"]
    assert run("segment", "-r", small, cwd=tmp_path).returncode == 0
    document = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    found = {annotation["file_name"]: annotation["image_id"] for annotation in document["annotations"]}
    assert found == {"small/a.png": "small/a", "b.png": "b", "deep/a.png": "deep/a", "12.png": 12}
    for name in found:
        assert (tmp_path / "out" / "panoptic" / name).is_file()
    assert (tmp_path / "out" / "deep" / "a_overlay.png").is_file()


def test_names_never_leave_the_folder_of_the_results() -> None:
    names = result_names([Path("/a.jpg"), Path("/b/a.jpg"), Path("../../x.jpg"), Path("../x.jpg"), Path("x.jpg")])
    assert all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in names.values())
    assert len(set(names.values())) == 5


def test_from_standard_input_to_standard_output(tmp_path: Path) -> None:
    done = run("segment", "-", "--output", "-", cwd=tmp_path, input=PHOTO.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(done.stdout))), Segmenter()(PHOTO).overlay())
    assert not list(tmp_path.iterdir())
    done = run("segment", "-", "--json", "-", cwd=tmp_path, input=PHOTO.read_bytes())
    assert json.loads(done.stdout)["image"] == "stdin"
    assert (tmp_path / "out" / "stdin_overlay.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-", "x.jpg"), "- stands for one image; give no other with it"),
        (("-", "--output", "-", "--json", "-"), "overlay and JSON cannot both go to standard output"),
        (("-", "--output", "-", "--no-overlay"), "--no-overlay leaves nothing to write"),
        (("-", "-v", "-q"), "--verbose and --quiet contradict each other"),
        (("x.jpg", "--json", "y.jpg"), "'y.jpg': name it *.json, or give - for standard output"),
        (("-",), "image stream: is no image of a known format"),
    ],
)
def test_what_cannot_be(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg")
    done = run("segment", *arguments, cwd=tmp_path, input=b"text")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, b"", 1)
    assert message.replace("image stream", "<stdin>") in done.stderr.decode()
    assert os.listdir(tmp_path) == ["x.jpg"]


def test_json_in_a_file(tmp_path: Path, small: Path) -> None:
    done = run("segment", small, "--json", "found.jsonl", cwd=tmp_path)
    assert done.stdout.startswith(b"2 images, ")
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [Path(line["image"]).name for line in lines] == ["a.png", "b.jpg"]


def test_a_second_try_goes_on_where_the_first_ended(tmp_path: Path, small: Path) -> None:
    broken = small / "c.png"
    broken.write_text("text")
    first = run("segment", small, cwd=tmp_path)
    assert (first.returncode, first.stderr.count(b"\n")) == (1, 2)
    document = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [one["file_name"] for one in document["failed"]] == [str(broken)]
    shutil.copy(small / "a.png", broken)
    (tmp_path / "out" / "b_overlay.png").unlink()
    second = run("segment", small, "--resume", "--json", cwd=tmp_path)
    assert [Path(json.loads(line)["image"]).name for line in second.stdout.splitlines()] == ["b.jpg", "c.png"]
    third = run("segment", small, "--resume", cwd=tmp_path)
    assert third.stdout.startswith(b"0 images, 0 segments in ")
    assert b"3 were done before" in third.stdout
    document = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert sorted(a["file_name"] for a in document["annotations"]) == ["a.png", "b.png", "c.png"]
    assert "failed" not in document


def test_if_nothing_could_be_segmented_it_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("text")
    done = run("segment", "a.jpg", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_keeps_what_is_done(tmp_path: Path, small: Path, number: signal.Signals) -> None:
    for index in range(60):
        shutil.copy(PHOTO, small / f"x{index:03}.jpg")
    process = subprocess.Popen(
        [COMMAND, "segment", str(small)], cwd=tmp_path, stderr=subprocess.PIPE, preexec_fn=interruptible
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "panoptic" / "b.png").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert (process.returncode, errors.strip()) == (130, b"interrupted")
    else:
        assert process.returncode == -signal.SIGTERM
    document = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert 2 <= len(document["annotations"]) < 62


def test_no_verb_writes_over_what_it_reads(tmp_path: Path) -> None:
    for name in ("report.json", "model.tflite"):
        shutil.copy(DEFAULT_MODEL, tmp_path / name)
    for words in (
        ("quantize", "model.tflite", "--recipe", "float16", "--output", "./model.tflite"),
        (
            "evaluate",
            "m",
            "--images",
            "i",
            "--annotations",
            "report.json",
            "--panoptic-dir",
            "p",
            "--json",
            "report.json",
        ),
        ("benchmark", "report", "report.json", "--output", "report.json"),
    ):
        done = run(*words, cwd=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert b"is the same file as" in done.stderr
    for path in tmp_path.iterdir():
        assert path.read_bytes() == DEFAULT_MODEL.read_bytes()


# Names


def test_strange_names(tmp_path: Path, data: Path) -> None:
    names = data / "inputs" / "names"
    done = run("segment", names, "--json", cwd=tmp_path, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, b"")
    ids = [json.loads(line)["image_id"] for line in done.stdout.splitlines()]
    assert ids == ["0007", "7", "[red]x", "photo [final]", "Ünïcode 日本", "①"]
    document = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [annotation["image_id"] for annotation in document["annotations"]] == ids
    for path in names.iterdir():
        done = run("segment", path, "-v", cwd=tmp_path, PYTHONIOENCODING="cp1252")
        assert (done.returncode, done.stderr) == (0, b"")
        assert path.name.encode("cp1252", "replace") in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    os.rename(tmp_path / "x.png", os.fsencode(tmp_path) + b"/\xff.png")
    done = run("segment", tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out" / "panoptic.json").is_file()


# Pictures


def test_which_files_of_a_folder_are_pictures(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(data / "inputs" / "images", folder)
    (folder / "folder.jpg").mkdir()
    (folder / "notes.txt").write_text("text")
    found = [path.name for path in find_images([str(folder)])]
    assert found == sorted(path.name for path in (data / "inputs" / "images").iterdir() if path.name != "._plain.jpg")
    assert image_ids(find_images([str(folder / "plain.jpg")])) == {folder / "plain.jpg": "plain"}


def test_phone_pictures_are_read_or_refused_with_one_line_each(tmp_path: Path, data: Path) -> None:
    done = run("segment", data / "inputs" / "images", cwd=tmp_path)
    assert done.returncode == 1
    lines = [line.replace(str(data / "inputs" / "images") + "/", "") for line in done.stderr.decode().splitlines()]
    notes = [line for line in lines if line.startswith("note: ")]
    assert notes == ["note: missing_2_bytes.jpg: lacks its last bytes; read without them"]
    skipped = [line.split(":")[1].strip() for line in lines if line.startswith("skipped: ")]
    assert skipped == ["html.jpg", "iphone.heic", "iphone_heic_named.jpg", "truncated.jpg"]
    assert len(lines) == len(notes) + len(skipped) + 1


# The terminal


def test_tables_fit_a_terminal_of_80_columns() -> None:
    for words in (("inspect", DEFAULT_MODEL), ("doctor",)):
        assert max(map(len, on_terminal(*words).splitlines())) <= 80


def test_a_long_name_loses_its_middle_on_a_terminal_alone(tmp_path: Path, data: Path) -> None:
    """Both models and images of `compare` and `evaluate`."""
    photo = tmp_path / f"{'holiday_' * 8}last.jpg"
    shutil.copy(data / "inputs" / "images" / "plain.jpg", photo)
    words = ("compare", DEFAULT_MODEL, DEFAULT_MODEL, "--images", tmp_path)
    shown = on_terminal(*words)
    assert max(len(line) for line in shown.splitlines() if line.startswith(("│", "┃"))) <= 80
    assert shorten(photo.name, 20) in shown
    assert photo.name in run(*words, cwd=tmp_path).stdout.decode()
    assert shorten("abcdefghij", 7) == "ab…ghij"
    assert shorten("abc", 3) == "abc"


def test_a_bar_is_for_people(tmp_path: Path, small: Path) -> None:
    assert "Segmenting" in on_terminal("segment", small, "--output", tmp_path / "out")
    assert not run("segment", small, cwd=tmp_path).stderr
