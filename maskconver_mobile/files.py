"""Reading with bounds, and writing whole files or none."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, moved over it on success and removed otherwise.

    Raises:
        MaskConverError: the folder cannot be written.
    """
    temporary = _temporary(path)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        MaskConverError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def ensure_writable(path: Path) -> None:
    """Fail now rather than after the work.

    Raises:
        MaskConverError: `path` could not be written.
    """
    _temporary(path).unlink()


def _temporary(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise MaskConverError(f"{path}: is a folder; give a file name")
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    os.close(handle)
    return Path(name)


def _unwritable(path: Path, error: OSError) -> MaskConverError:
    return MaskConverError(f"{path}: cannot be written ({error.strerror}); choose another place")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
