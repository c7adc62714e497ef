"""Tables and vectors of a flatbuffer that nobody vouches for, read with bounds."""

import struct
from collections.abc import Callable, Sequence
from typing import Any

_read = {kind: struct.Struct(f"<{kind}").unpack_from for kind in "bHiIQ"}
MAX_ITEMS = 1 << 22
"""Of all vectors together: offsets may lead to the same vector again and again."""


class Buffer:
    """The bytes of a flatbuffer. Reading outside of them raises `struct.error` or IndexError."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._left = MAX_ITEMS

    def root(self) -> "Table":
        """The table that the file is about."""
        return Table(self, self.follow(0))

    def read(self, kind: str, at: int) -> int:
        """A number of a `struct` kind."""
        number: int = _read[kind](self.content, at)[0]
        return number

    def follow(self, at: int) -> int:
        """Where the offset at a place leads."""
        return self.inside(at + self.read("I", at))

    def inside(self, at: int) -> int:
        """The place itself, if there is one."""
        if not 0 <= at < len(self.content):
            raise IndexError(f"offset {at}")
        return at

    def spend(self, count: int) -> int:
        """Count items of a vector that is going to be read."""
        self._left -= count
        if self._left < 0:
            raise IndexError(f"{count} items")
        return count


class Table:
    """One table; its fields go by their number in the schema, and absent ones have the default."""

    __slots__ = ("_at", "_buffer", "_fields", "_size")

    def __init__(self, buffer: Buffer, at: int) -> None:
        self._buffer, self._at = buffer, at
        self._fields = buffer.inside(at - buffer.read("i", at))
        self._size = buffer.read("H", self._fields)

    def _place(self, slot: int) -> int:
        """Place of a field, or 0 where it has its default."""
        entry = 4 + 2 * slot
        offset = self._buffer.read("H", self._fields + entry) if entry + 2 <= self._size else 0
        return self._at + offset if offset else 0

    def has(self, slot: int) -> bool:
        """Whether the field is there."""
        return self._place(slot) != 0

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        """A number: kind `b` for bytes, `i` for int32 and `Q` for uint64."""
        place = self._place(slot)
        return self._buffer.read(kind, place) if place else default

    def table(self, slot: int) -> "Table | None":
        """A table, or None."""
        place = self._place(slot)
        return Table(self._buffer, self._buffer.follow(place)) if place else None

    def tables(self, slot: int) -> list["Table"]:
        """A vector of tables."""
        start, count = self._vector(slot, 4)
        follow: Callable[[int], int] = self._buffer.follow
        return [Table(self._buffer, follow(start + 4 * i)) for i in range(self._buffer.spend(count))]

    def numbers(self, slot: int, kind: str) -> Sequence[Any]:
        """A vector of numbers of a `struct` kind: `i`, `f` or `q`."""
        start, count = self._vector(slot, struct.calcsize(f"<{kind}"))
        return struct.unpack_from(f"<{self._buffer.spend(count)}{kind}", self._buffer.content, start)

    def data(self, slot: int) -> memoryview:
        """A vector of bytes, not copied."""
        start, count = self._vector(slot, 1)
        return memoryview(self._buffer.content)[start : start + count]

    def _vector(self, slot: int, item_size: int) -> tuple[int, int]:
        place = self._place(slot)
        if not place:
            return 0, 0
        start = self._buffer.follow(place)
        count = self._buffer.read("I", start)
        if start + 4 + count * item_size > len(self._buffer.content):
            raise IndexError(f"{count} items")
        return start + 4, count
