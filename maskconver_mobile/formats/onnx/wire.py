"""What must be known of an .onnx file before anything loads it, read from its protobuf bytes alone.

ONNX Runtime resolves weights that are kept outside the file against the current folder, and some releases follow any
path. So a file that names such weights is refused before the runtime sees it. The field numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the encoding is https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator

MAX_DEPTH = 32
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
METADATA_PROPS, EXTERNAL_DATA, DATA_LOCATION = 14, 13, 14

# Message by message, the fields that lead to tensors.
_PATHS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def has_external_weights(content: bytes) -> bool:
    """Whether any tensor of a model, however deep, is kept in another file.

    Raises:
        ValueError: the bytes are no protobuf message, or are nested too deeply.
    """
    return _external(memoryview(content), "model", 0)


def read_metadata(content: bytes) -> dict[str, str]:
    """The metadata of a model, by key.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    entries = [dict(_fields(value)) for number, value in _fields(memoryview(content)) if number == METADATA_PROPS]
    return {_text(entry.get(1)): _text(entry.get(2)) for entry in entries}


def _external(data: memoryview, kind: str, depth: int) -> bool:
    if depth > MAX_DEPTH:
        raise ValueError("graphs are nested too deeply")
    if kind == "tensor":
        return any(n == EXTERNAL_DATA or (n == DATA_LOCATION and value == 1) for n, value in _fields(data))
    below = _PATHS[kind]
    return any(
        isinstance(value, memoryview) and _external(value, below[number], depth + 1)
        for number, value in _fields(data)
        if number in below
    )


def _text(value: "int | memoryview | None") -> str:
    return bytes(value).decode() if isinstance(value, memoryview) else ""


def _fields(data: "int | memoryview") -> "Iterator[tuple[int, int | memoryview]]":
    """Number and value of each field of a message; values of fixed size are left out."""
    if isinstance(data, int):
        raise ValueError("a number where a message belongs")
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif wire == BYTES:
            length, at = _varint(data, at)
            if at + length > end:
                raise ValueError("truncated")
            yield number, data[at : at + length]
            at += length
        elif wire in (FIXED32, FIXED64):
            at += 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {wire}")
    if at > end:
        raise ValueError("truncated")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise ValueError("truncated")
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number of more than ten bytes")
