"""What a .tflite file holds besides its graph: metadata buffers, names, and the zip of labels at its end."""

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from maskconver_mobile.card import KEY, ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import read_model_bytes
from maskconver_mobile.formats.tflite import check as tflite_check
from maskconver_mobile.formats.tflite import metadata as tflite_metadata

IDENTIFIER = b"TFL3"
MAX_ENTRIES, MAX_NAME = 1000, 4096
NAME_SLOT = 4
"""Where a metadata entry's table has its name."""
HALF_PRECISION = {"reduced_precision_support": b"fp16accfp16"}
"""The metadata entry by which XNNPACK computes in float16 where the processor can (ARMv8.2 and later)."""


@dataclass(frozen=True)
class TfliteFile:
    """A parsed model file.

    Attributes:
        content: the bytes, as an interpreter takes them.
        card: the model card.
        metadata: further buffers by name.
    """

    content: bytes
    card: ModelCard
    metadata: Mapping[str, bytes]


def read_tflite(path: Path) -> TfliteFile:
    """Read a model of ours.

    Raises:
        MaskConverError: it is missing, no TFLite flatbuffer, damaged, or carries no model card.
    """
    return parse_tflite(read_model_bytes(path), path)


def parse_tflite(content: bytes, path: Path) -> TfliteFile:
    """As `read_tflite`, of the file's bytes."""
    if content[4:8] != IDENTIFIER:
        raise MaskConverError(f"{path}: is no TFLite model (no {IDENTIFIER.decode()} identifier)")
    try:
        tflite_check.check(content)
    except ValueError as error:
        raise MaskConverError(f"{path}: is a damaged TFLite model ({error}); copy it again") from error
    metadata = read_metadata(content, str(path))
    if KEY not in metadata:
        raise MaskConverError(f"{path}: carries no model card; convert the checkpoint with `maskconver-mobile convert`")
    return TfliteFile(content, ModelCard.from_json(metadata[KEY], str(path)), metadata)


def read_metadata(content: bytes, name: str) -> dict[str, bytes]:
    """The named metadata buffers of a flatbuffer; `name` stands for it in errors.

    Entries may share one buffer, so that a small file could become large in memory: what is copied is bounded by the
    file's own size.

    Raises:
        MaskConverError: the flatbuffer is damaged, or its entries are longer together than the file.
    """
    try:
        model = schema.Model.GetRootAs(content, 0)
        found, left = {}, len(content)
        for entry, key in _entries(model):
            buffer = model.Buffers(entry.Buffer())
            left -= buffer.DataLength()
            if left < 0:
                raise ValueError("longer than the file")
            if buffer.DataLength():
                found[key] = bytes(buffer.DataAsNumpy())
        return found
    except Exception as error:  # a damaged flatbuffer sends its generated reader anywhere
        raise MaskConverError(f"{name}: is a damaged TFLite model, truncated or overwritten") from error


def _entries(model: Any) -> Iterator[tuple[Any, str]]:
    """The metadata entries of a flatbuffer with their names."""
    if model.MetadataLength() > MAX_ENTRIES:
        raise ValueError(f"{model.MetadataLength()} metadata entries")
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        yield entry, text_of(entry, NAME_SLOT)


def text_of(table: Any, slot: int) -> str:
    """A text field of a flatbuffer's table. Tables may share a long text, so that only short ones are copied.

    Raises:
        ValueError: it is longer than 4096 bytes.
    """
    offset = table._tab.Offset(slot)
    if not offset:
        return ""
    length = table._tab.VectorLen(offset)
    if length > MAX_NAME:
        raise ValueError(f"a name of {length} bytes")
    start = table._tab.Vector(offset)
    return bytes(table._tab.Bytes[start : start + length]).decode(errors="replace")


def without_half_precision(content: bytes) -> bytes:
    """A copy whose metadata does not permit float16 arithmetic: the entry gets a name that no runtime knows."""
    changed = bytearray(content)
    for entry, name in _entries(schema.Model.GetRootAs(content, 0)):
        if name in HALF_PRECISION:
            changed[entry._tab.Vector(entry._tab.Offset(NAME_SLOT))] = ord("-")
    return bytes(changed)


def attach(
    content: bytes, card: ModelCard, extra: Mapping[str, bytes] | None = None, *, axis_labels: bool = False
) -> bytes:
    """Put card, labels and public tensor names into a converted flatbuffer.

    The tensors of the signature are renamed to the signature's own names. Labels go where the TFLite metadata tools
    look for them: a `TFLITE_METADATA` buffer that names `labels.txt`, which stands in a zip behind the flatbuffer.
    The entry that permits half precision is there if the card says so.

    Args:
        content: the flatbuffer.
        card: replaces a card that is already there.
        extra: further metadata buffers by name.
        axis_labels: the labels are those of an output's last axis, for MediaPipe; such a file gets no card, as its
            outputs are not those of ours.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    buffers = {tflite_metadata.KEY: tflite_metadata.build(card, _rename(model), axis_labels=axis_labels)}
    buffers.update({} if axis_labels else {KEY: card.to_json().encode()})
    buffers.update(extra or {})
    stale = {KEY, *buffers, *HALF_PRECISION}
    gone = [entry for entry in model.metadata or [] if entry.name.decode() in stale]
    model.metadata = [entry for entry in model.metadata or [] if entry.name.decode() not in stale]
    used = {entry.buffer for entry in model.metadata} | {t.buffer for g in model.subgraphs for t in g.tensors}
    for entry in gone:
        if entry.buffer not in used:
            model.buffers[entry.buffer].data = None
    buffers.update(HALF_PRECISION if card.half_precision else {})
    for name, data in buffers.items():
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)
        model.buffers.append(buffer)
        model.metadata.append(entry)
    return pack(model) + _zip({tflite_metadata.LABELS: tflite_metadata.labels(card)})


def pack(model: Any) -> bytes:
    """Serialise a model object with its buffers 16-byte aligned, as the schema demands."""
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """The generated class aligns to one byte; kernels load these buffers with vector instructions."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802
        data = None
        if self.data is not None and len(self.data):
            builder.StartVector(1, len(self.data), 16)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = bytes(self.data)
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def _rename(model: Any) -> tuple[list[str], list[str]]:
    """Give the tensors of the signature its names; returns input and output names in the graph's order."""
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    for entry in (*signature.inputs, *signature.outputs):
        graph.tensors[entry.tensorIndex].name = entry.name
    names = [[graph.tensors[i].name for i in indices] for indices in (graph.inputs, graph.outputs)]
    inputs, outputs = ([n.decode() if isinstance(n, bytes) else n for n in group] for group in names)
    return inputs, outputs


def _zip(files: Mapping[str, str]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
        for name, text in files.items():
            zipped.writestr(zipfile.ZipInfo(name), text)
    return archive.getvalue()
