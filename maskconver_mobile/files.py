"""Reading with bounds, and writing whole files or none."""

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maskconver_mobile.errors import MaskConverError

MAX_MODEL_BYTES = 1 << 30


def read_model_bytes(path: Path) -> bytes:
    """The bytes of a model file.

    Raises:
        MaskConverError: it is missing, a folder, unreadable, empty or larger than 1 GiB.
    """
    try:
        if path.is_dir():
            raise MaskConverError(f"{path}: is a folder; expected a model file")
        size = path.stat().st_size
        if not 0 < size <= MAX_MODEL_BYTES:
            raise MaskConverError(f"{path}: has {size} bytes; expected a model file of up to {MAX_MODEL_BYTES} bytes")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MaskConverError(f"{path}: no such model file; make one with `maskconver-mobile convert`") from error
    except OSError as error:
        raise MaskConverError(f"{path}: cannot be read ({error.strerror})") from error


def read_json(path: Path, max_bytes: int, expected: str) -> Any:
    """What a JSON file holds; `expected` names, for errors, what should be in it.

    Raises:
        MaskConverError: it is missing, unreadable, larger than `max_bytes` or no JSON.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise MaskConverError(f"{path}: has {size} bytes, more than the {max_bytes} that are read; give {expected}")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise MaskConverError(f"{path}: cannot be read ({error.strerror}); give {expected}") from error
    except (ValueError, RecursionError) as error:
        raise MaskConverError(f"{path}: is not JSON ({error}); give {expected}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file that becomes `path` on success and is removed otherwise, as are folders made for it.

    A symbolic link stays one: what it names is written. An existing file keeps its mode. A device or a pipe is written
    to and not replaced.

    Raises:
        MaskConverError: it cannot be written.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = _mode(target, path)
        special = mode is not None and not stat.S_ISREG(mode)
        with _temporary(Path(tempfile.gettempdir()) if special else target.parent, path.suffix) as temporary:
            yield temporary
            if special:
                with temporary.open("rb") as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                return
            if mode is not None:
                temporary.chmod(stat.S_IMODE(mode))
            temporary.replace(target)
    except OSError as error:
        raise _unwritable(path, error) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        MaskConverError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def ensure_writable(path: Path) -> None:
    """Fail now rather than after the work; leaves nothing behind.

    Raises:
        MaskConverError: `path` could not be written.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = _mode(target, path)
        if mode is not None and not stat.S_ISREG(mode):
            if not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        with _temporary(next(folder for folder in target.parents if folder.exists()), path.suffix):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def refuse_own_input(output: Path, *inputs: Path) -> None:
    """Refuse to write over a file that is read or written besides, by whatever name, though neither may exist yet.

    Raises:
        MaskConverError: `output` is one of `inputs`.
    """
    for source in inputs:
        if _same_file(output, source):
            raise MaskConverError(f"{output}: is the same file as {source}; give another file to write")


def distinct_names(paths: Sequence[str]) -> dict[str, str]:
    """Short names of files by path: the file's name, with as many of its folders as tell it from the others."""
    parts = {path: Path(path).parts for path in paths}
    names = {}
    for path, own in parts.items():
        others = [other for name, other in parts.items() if name != path]
        length = next((n for n in range(1, len(own)) if all(o[-n:] != own[-n:] for o in others)), len(own))
        names[path] = str(Path(*own[-length:]))
    return names


def in_clone(path: Path) -> Path | None:
    """A file of the clone around the current folder, by its path in the clone; None where there is none."""
    here = Path.cwd()
    return next((folder / path for folder in (here, *here.parents) if (folder / path).is_file()), None)


def _mode(target: Path, path: Path) -> int | None:
    """Type and mode of what is there; None where nothing is."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise MaskConverError(f"{path}: is a folder; give a file name")
    return mode


def _same_file(a: Path, b: Path) -> bool:
    if os.path.realpath(a) == os.path.realpath(b):
        return True
    try:
        return os.path.samefile(a, b)
    except OSError:
        return False


@contextmanager
def _temporary(folder: Path, suffix: str) -> Iterator[Path]:
    """An empty file of a name that nobody has, with the mode that the system gives to new files.

    It is removed afterwards, and so is what is made of the folder and its parents if nothing came to stay there.
    """
    path = folder / f".{secrets.token_hex(8)}{suffix}"
    made = [parent for parent in path.parents if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield path
    finally:
        for remove in (path.unlink, *(parent.rmdir for parent in made)):
            with contextlib.suppress(OSError):
                remove()


def _unwritable(path: Path, error: OSError) -> MaskConverError:
    return MaskConverError(f"{path}: cannot be written ({error.strerror}); choose another place")
