"""Model files: what they say of themselves, and hostile ones."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from maskconver_mobile import tflite_metadata
from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter
from maskconver_mobile.tflite_file import attach, pack, read_metadata, read_tflite


@pytest.fixture(scope="module")
def content() -> bytes:
    return DEFAULT_MODEL.read_bytes()


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return read_tflite(DEFAULT_MODEL).card


def refused(tmp_path: Path, content: bytes, message: str = "model.tflite") -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(MaskConverError, match=message) as caught:
        Segmenter(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_bundled_card(card: ModelCard) -> None:
    assert (card.level, card.input_type, card.input_size, card.num_instances) == ("masks", "pixels", (256, 256), 50)
    assert {c.id: c.name for c in card.categories}[1] == "person"
    assert len(card.categories) == 133
    assert len(card.source["sha256"]) == 64


def test_the_card_survives_a_round_trip(card: ModelCard) -> None:
    assert ModelCard.from_json(card.to_json(), "x") == card


def test_labels_are_where_the_usual_tools_look(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        labels = archive.read("labels.txt").decode().splitlines()
    assert len(labels) == 201
    assert (labels[0], labels[1], labels[12], labels[200]) == ("???", "person", "???", "rug-merged")


def test_the_standard_metadata_names_tensors_and_labels(content: bytes) -> None:
    """Read back by field number, as a reader generated from the published schema would."""
    buffer = read_metadata(content, "x")[tflite_metadata.KEY]
    assert buffer[4:8] == b"M001"
    root = flatbuffers.table.Table(buffer, flatbuffers.encode.Get(flatbuffers.packer.uoffset, buffer, 0))

    def field(table: flatbuffers.table.Table, number: int) -> int:
        return int(table.Offset(4 + 2 * number))

    def text(table: flatbuffers.table.Table, number: int) -> str:
        return str(table.String(table.Pos + field(table, number)).decode())

    def tables(table: flatbuffers.table.Table, number: int) -> list[flatbuffers.table.Table]:
        offset = field(table, number)
        if not offset:
            return []
        start = table.Vector(offset)
        return [flatbuffers.table.Table(buffer, table.Indirect(start + 4 * i)) for i in range(table.VectorLen(offset))]

    (subgraph,) = tables(root, 3)
    assert [text(t, 0) for t in tables(subgraph, 2)] == ["image"]
    outputs = {text(t, 0): t for t in tables(subgraph, 3)}
    assert outputs.keys() == {"classes", "scores", "mask_logits"}
    (file,) = tables(outputs["classes"], 6)
    assert text(file, 0) == "labels.txt"


def test_tensors_carry_the_public_names(content: bytes) -> None:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    assert [graph.tensors[i].name for i in graph.inputs] == [b"image"]
    assert {graph.tensors[i].name for i in graph.outputs} == {b"classes", b"scores", b"mask_logits"}


def test_buffers_are_aligned(content: bytes) -> None:
    """Kernels load constants with vector instructions."""
    model = schema.Model.GetRootAs(content, 0)
    tables = [model.Buffers(i) for i in range(model.BuffersLength())]
    starts = [t._tab.Vector(t._tab.Offset(4)) for t in tables if t.DataLength()]
    assert starts
    assert all(start % 16 == 0 for start in starts)


def test_attach_replaces_a_card(content: bytes, card: ModelCard) -> None:
    again = attach(content, replace(card, name="other"))
    metadata = read_metadata(again, "x")
    assert ModelCard.from_json(metadata["maskconver_card"], "x").name == "other"
    assert len(again) == pytest.approx(len(content), rel=0.01)
    assert zipfile.ZipFile(io.BytesIO(again)).namelist() == ["labels.txt"]


def test_foreign_model(tmp_path: Path, content: bytes) -> None:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.metadata = []
    refused(tmp_path, pack(model), "carries no model card")


@pytest.mark.parametrize("name", ["missing.tflite", "", "model.bin"])
def test_no_such_model(tmp_path: Path, name: str) -> None:
    if name == "model.bin":
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(MaskConverError, match=r"no such model file|is a folder|unknown model format") as caught:
        Segmenter(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0, 3, 100, 5000, 1_000_000])
def test_truncated(tmp_path: Path, content: bytes, length: int) -> None:
    refused(tmp_path, content[:length])


def test_random_bytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(10_000)
    refused(tmp_path, noise, "no TFLite model")
    refused(tmp_path, noise[:4] + b"TFL3" + noise[8:], "damaged TFLite model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 3}, "schema 3 and this version reads up to 2; upgrade"),
        ({"level": "boxes"}, "malformed"),
        ({"input_size": [256]}, "malformed"),
        ({"input_size": [1 << 20, 256]}, "malformed"),
        ({"std": [0, 1, 1]}, "malformed"),
        ({"categories": [{"id": 1}]}, "malformed"),
        ({"input_size": [96, 96]}, "its card says"),
        ({"level": "heads"}, "says level heads, its contents do not"),
    ],
)
def test_cards_that_cannot_be(
    tmp_path: Path, content: bytes, card: ModelCard, change: dict[str, object], message: str
) -> None:
    class Forged(ModelCard):
        def to_json(self) -> str:
            return json.dumps({**json.loads(super().to_json()), **change})

    refused(tmp_path, attach(content, Forged(**vars(card))), message)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"schema": 1}', "[" * 100_000])
def test_text_that_is_no_card(text: str) -> None:
    with pytest.raises(MaskConverError, match=r"m\.tflite: its model card is"):
        ModelCard.from_json(text, "m.tflite")
