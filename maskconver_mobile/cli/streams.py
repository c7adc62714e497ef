"""Standard output and standard error that cannot be written, as on a full disk; a closed pipe is not their affair."""

import io
from typing import Any, TextIO

from maskconver_mobile.errors import MaskConverError


class StandardOutput(io.FileIO):
    """Its errors are told from those of other files; after one, what still comes is dropped."""

    _failed = False

    def write(self, content: Any, /) -> int:
        """Write some of the bytes.

        Raises:
            MaskConverError: they cannot be written.
        """
        if self._failed:
            return len(content)
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._failed = True
            raise MaskConverError(f"standard output: cannot be written ({error.strerror})") from error


class StandardError(io.FileIO):
    """It takes messages, without which the work goes on: what cannot be written is dropped."""

    def write(self, content: Any, /) -> int:
        """Write some of the bytes, or drop them."""
        try:
            return super().write(content)
        except BrokenPipeError:
            raise
        except OSError:
            return len(content)


def as_text(raw: io.FileIO, encoding: str | None = None, line_buffering: bool = True) -> TextIO:
    """A stream that shows what it cannot encode as `?`."""
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "replace", line_buffering=line_buffering)


def guarded(stream: TextIO, kind: type[io.FileIO]) -> TextIO:
    """A stream of Python's as one of ours; those that are no files, such as consoles of Windows, stay what they are."""
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors="replace")
    if type(getattr(stream.buffer, "raw", stream.buffer)) is not io.FileIO:
        return stream
    return as_text(kind(stream.fileno(), "w", closefd=False), stream.encoding, stream.line_buffering)
