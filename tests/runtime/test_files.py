"""Files appear whole or not at all, whatever stands in their place."""

import os
import stat
import threading
from pathlib import Path

import pytest

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import (
    distinct_names,
    ensure_writable,
    read_json,
    read_model_bytes,
    refuse_own_input,
    replacing,
    write_atomically,
)


def test_the_umask_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to the whole process: another thread would write files that everybody may change."""

    def touched(mask: int) -> int:
        raise AssertionError("the umask was changed")

    monkeypatch.setattr(os, "umask", touched)
    write_atomically(tmp_path / "a", b"x")


def test_new_files_have_the_mode_of_new_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_many_threads_write_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    contents = [bytes([i]) * 100_000 for i in range(8)]

    def write(content: bytes) -> None:
        for _ in range(20):
            write_atomically(path, content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["a"]


def test_an_existing_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o600)
    write_atomically(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.parent.mkdir()
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "later")
    write_atomically(dangling, b"x")
    assert (tmp_path / "later").read_bytes() == b"x"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    path, received = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    ensure_writable(path)
    write_atomically(path, b"through")
    reader.join(10)
    assert received == [b"through"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    link = tmp_path / "nowhere"
    link.symlink_to("/dev/null")
    ensure_writable(link)
    write_atomically(link, b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert link.is_symlink()


def test_names_of_any_length_the_system_takes(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".bin")
    ensure_writable(path)
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"
    for act in (ensure_writable, lambda long: write_atomically(long, b"x")):
        with pytest.raises(MaskConverError, match="cannot be written"):
            act(tmp_path / ("n" * 300))


def test_asking_leaves_no_folder(tmp_path: Path) -> None:
    ensure_writable(tmp_path / "new" / "folder" / "file")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(MaskConverError, match="cannot be written"):
        ensure_writable(tmp_path / "file" / "below")
    with pytest.raises(MaskConverError, match="is a folder"):
        ensure_writable(tmp_path)


@pytest.mark.parametrize("failure", [MaskConverError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_no_folder(failure: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises((failure, MaskConverError)), replacing(tmp_path / "old" / "left" / "over" / "file"):
        raise failure
    assert os.listdir(tmp_path) == ["old"]
    assert not list((tmp_path / "old").iterdir())


def test_folders_made_for_a_file_stay_with_what_others_put_there(tmp_path: Path) -> None:

    def fail() -> None:
        (tmp_path / "new" / "other").touch()
        raise MaskConverError("no")

    with pytest.raises(MaskConverError), replacing(tmp_path / "new" / "folder" / "file"):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "other"]
    write_atomically(tmp_path / "new" / "folder" / "file", b"x")
    assert (tmp_path / "new" / "folder" / "file").read_bytes() == b"x"


def test_two_names_of_a_file_that_does_not_exist_yet_are_one(tmp_path: Path) -> None:
    output, link = tmp_path / "new" / "x.tflite", tmp_path / "link.json"
    link.symlink_to(output)
    (tmp_path / "here").symlink_to(tmp_path)
    for name in (link, tmp_path / "new" / ".." / "new" / "x.tflite", tmp_path / "here" / "new" / "x.tflite"):
        with pytest.raises(MaskConverError, match=r"is the same file as .*; give another file to write"):
            refuse_own_input(name, tmp_path / "other", output)
    refuse_own_input(link, tmp_path / "other")


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(MaskConverError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_json_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    assert read_json(path, 100, "something") == {"a": 1}
    with pytest.raises(MaskConverError, match=r"a\.json: has 8 bytes, more than the 7 that are read; give something"):
        read_json(path, 7, "something")
    path.write_text("[" * 100_000)
    with pytest.raises(MaskConverError, match=r"a\.json: is not JSON"):
        read_json(path, 1 << 20, "something")


@pytest.mark.parametrize("name", ["n" * 5000, "folder"])
def test_models_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(MaskConverError, match=r"cannot be read|is a folder"):
        read_model_bytes(tmp_path / name)


def test_names_are_as_long_as_it_takes_to_tell_them_apart() -> None:
    assert distinct_names(["a/m.tflite", "b/m.tflite", "b/n.tflite"]) == {
        "a/m.tflite": "a/m.tflite",
        "b/m.tflite": "b/m.tflite",
        "b/n.tflite": "n.tflite",
    }
    assert distinct_names(["/x/1/a/m", "/x/2/a/m", "m"]) == {"/x/1/a/m": "1/a/m", "/x/2/a/m": "2/a/m", "m": "m"}
    assert distinct_names(["m", "m"]) == {"m": "m"}
