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

from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats.inspection import inspect_model
from maskconver_mobile.formats.tflite import metadata as tflite_metadata
from maskconver_mobile.formats.tflite.file import attach, pack, read_metadata, read_tflite
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

BOLT = {"id": 1, "name": "bolt", "is_thing": True, "color": [1, 2, 3]}


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
        ({"input_size": [96, 96]}, "takes image .*, its card says"),
        ({"level": "panoptic"}, "its outputs and those that its card says differ"),
        ({"num_instances": 7}, r"its classes is int32 \[1, 50\], its card says \[1, 7\]"),
        ({"num_classes": 200}, r"malformed \(id is 200; expected a whole number in 0\.\.199"),
        ({"num_classes": True}, "num_classes is True"),
        ({"schema": True}, "schema True and this version"),
        ({"schema": [2]}, "schema .* and this version"),
        ({"object_mask_threshold": "x"}, "object_mask_threshold is 'x'; expected a number"),
        ({"overlap_threshold": None}, "overlap_threshold is None"),
        ({"overlap_threshold": 1.5}, "overlap_threshold: expected a number from 0 to 1"),
        ({"small_area_threshold": float("nan")}, "small_area_threshold is nan"),
        ({"small_area_threshold": -1}, "small_area_threshold: expected"),
        ({"mean": ["a", 1, 2]}, r"mean\[0\] is 'a'"),
        ({"mean": [1e9, 0, 0]}, "mean: expected three numbers from 0 to 255"),
        ({"mean": [1, 2]}, "mean is .*; expected a list of 3"),
        ({"std": [1e-30, 1, 1]}, "std: expected"),
        ({"source": []}, r"source is \[\]; expected an object"),
        ({"source": {"a": 1}}, "source.*expected text"),
        ({"tools": {"a": "x" * 1000}}, "tools: expected a few short texts"),
        ({"name": {}}, "name is {}; expected text"),
        ({"name": "x" * 1000}, "name: expected text of up to 300"),
        ({"target": 3}, "target is 3"),
        ({"hard_sigmoid": "no"}, "hard_sigmoid is 'no'"),
        ({"half_precision": "no"}, "half_precision is 'no'"),
        ({"output_size": [16384, 16384]}, "output_size: expected sides"),
        ({"categories": {}}, "categories is {}"),
        ({"categories": [BOLT, BOLT]}, "categories: expected every id once"),
        ({"categories": [BOLT | {"id": 30_000_000}]}, "id is 30000000"),
        ({"categories": [BOLT | {"id": -1}]}, "id is -1"),
        ({"categories": [BOLT | {"id": 0}]}, "no things beside id 0"),
        ({"categories": [BOLT | {"color": "a"}]}, r"categories\[0\].color is 'a'"),
        ({"categories": [BOLT | {"color": [300, 0, 0]}]}, r"color is \[300, 0, 0\]"),
        ({"categories": [BOLT | {"name": 3}]}, r"categories\[0\].name is 3"),
        ({"categories": [BOLT | {"is_thing": "0"}]}, r"is_thing is '0'"),
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


@pytest.mark.parametrize("key", ["name", "categories", "half_precision", "mean"])
def test_cards_that_lack_something(tmp_path: Path, content: bytes, card: ModelCard, key: str) -> None:
    class Forged(ModelCard):
        def to_json(self) -> str:
            return json.dumps({k: v for k, v in json.loads(super().to_json()).items() if k != key})

    refused(tmp_path, attach(content, Forged(**vars(card))), f"malformed .*{key}.* is missing")


def test_entries_that_share_a_buffer_are_not_copied_one_by_one(tmp_path: Path, content: bytes) -> None:
    """300 entries of one buffer of 9 MB would be 2.7 GB."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    large = max(
        range(len(model.buffers)), key=lambda i: 0 if model.buffers[i].data is None else len(model.buffers[i].data)
    )
    for i in range(300):
        entry = schema.MetadataT()
        entry.name, entry.buffer = f"entry {i}", large
        model.metadata.append(entry)
    refused(tmp_path, pack(model), "damaged TFLite model")


def test_too_many_entries(tmp_path: Path, content: bytes) -> None:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.metadata = model.metadata * 500
    refused(tmp_path, pack(model), "damaged TFLite model")


def test_long_names_are_not_read(tmp_path: Path, content: bytes) -> None:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.metadata[0].name = "x" * 1_000_000
    refused(tmp_path, pack(model), "damaged TFLite model")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    model.subgraphs[0].tensors[0].name = "x" * 1_000_000
    path = tmp_path / "long.tflite"
    path.write_bytes(pack(model))
    with pytest.raises(MaskConverError, match="damaged TFLite model"):
        inspect_model(path)


def test_a_graph_that_cannot_run_is_refused_when_it_is_loaded(with_custom_operator: Path) -> None:
    with pytest.raises(MaskConverError, match=r"custom\.tflite: ai-edge-litert cannot load it: .*Nonsense") as caught:
        Segmenter(with_custom_operator)
    assert "\n" not in str(caught.value)


def test_a_runtime_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = Segmenter(DEFAULT_MODEL)

    def broken() -> None:
        raise RuntimeError("node number 3\nfailed to invoke")

    monkeypatch.setattr(segmenter._runtime._engine, "invoke", broken)
    with pytest.raises(MaskConverError, match=r"cannot be run \(node number 3 failed to invoke\)"):
        segmenter.segment(np.zeros((4, 4, 3), np.uint8))


def test_classes_that_the_card_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = Segmenter(DEFAULT_MODEL)
    original = segmenter._runtime.run
    monkeypatch.setattr(segmenter._runtime, "run", lambda image: {**original(image), "classes": np.full((1, 50), 999)})
    with pytest.raises(MaskConverError, match=r"puts out classes beyond 0\.\.200"):
        segmenter.segment(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"schema": 1}', "[" * 100_000])
def test_text_that_is_no_card(text: str) -> None:
    with pytest.raises(MaskConverError, match=r"m\.tflite: its model card is"):
        ModelCard.from_json(text, "m.tflite")
