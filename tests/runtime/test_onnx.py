"""Running and reading .onnx files, and what is said of those that cannot be."""

import builtins
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from models import TINY, Models
from onnx import numpy_helper

from maskconver_mobile.card import KEY
from maskconver_mobile.cli.inspect_model import command as inspect_command
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.quantization.quantize_file import convert_quantized, quantize_file
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats.engines import Optimization
from maskconver_mobile.formats.inspection import OperatorInfo, TensorInfo, inspect_model
from maskconver_mobile.formats.onnx.wire import has_external_weights, read_metadata
from maskconver_mobile.inference.tail import TAIL_KEY
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

Edit = Callable[[onnx.ModelProto], None]


@pytest.fixture
def model(onnx_models: Models) -> Path:
    return onnx_models.get("masks", "cpu", "uint8")


def edited(path: Path, folder: Path, edit: Edit) -> Path:
    proto = onnx.load(path)
    edit(proto)
    result = folder / "edited.onnx"
    result.write_bytes(proto.SerializeToString())
    return result


def image() -> "np.typing.NDArray[np.uint8]":
    return np.random.default_rng(1).integers(0, 256, (60, 90, 3)).astype(np.uint8)


@pytest.mark.parametrize("level", ["heads", "masks", "panoptic"])
def test_segments_like_the_other_format(level: Any, models: Models, onnx_models: Models) -> None:
    ours, theirs = (Segmenter(m.get(level, "cpu", "uint8")).segment(image()) for m in (onnx_models, models))
    assert ours.panoptic_map.shape == (60, 90)
    assert (ours.panoptic_map == theirs.panoptic_map).mean() >= 0.999
    assert [s.category_id for s in ours.segments] == [s.category_id for s in theirs.segments]


def test_options_of_the_runtime(model: Path) -> None:
    plain = Segmenter(model).segment(image())
    for level in get_args(Optimization):
        segmenter = Segmenter(model, num_threads=1, providers=["CPUExecutionProvider"], graph_optimization=level)
        assert (segmenter.segment(image()).panoptic_map == plain.panoptic_map).mean() >= 0.999


def test_ort_format(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.ort"
    card = convert(TINY / "config.yaml", TINY, path, spec=GraphSpec(input_type="uint8"), format="ort")
    segmenter = Segmenter(path)
    assert segmenter.card == card
    wanted = Segmenter(model).segment(image()).panoptic_map
    assert (segmenter.segment(image()).panoptic_map == wanted).mean() >= 0.999
    with pytest.raises(MaskConverError, match=r"inspect the \.onnx model it was made from"):
        inspect_model(path)


def test_quantized_ort_format(model: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.ort", tmp_path / "second.ort"
    convert_quantized("dynamic", TINY / "config.yaml", TINY, first, spec=GraphSpec(input_type="uint8"))
    quantize_file(model, second, "dynamic")
    maps = [Segmenter(path).segment(image()).panoptic_map for path in (first, second)]
    np.testing.assert_array_equal(*maps)
    assert Segmenter(first).card.recipe == "dynamic"
    with pytest.raises(MaskConverError, match=r"name it \*\.onnx or \*\.ort"):
        quantize_file(model, tmp_path / "third.tflite", "dynamic")


def test_one_segmenter_serves_many_threads(model: Path) -> None:
    segmenter = Segmenter(model, num_threads=1)
    wanted = segmenter.segment(image()).panoptic_map
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(np.array_equal(segmenter.segment(image()).panoptic_map, wanted)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


def test_inspection(model: Path, models: Models) -> None:
    info, other = inspect_model(model), inspect_model(models.get("masks", "cpu", "uint8"))
    assert info.card.level == "masks"
    assert info.size == model.stat().st_size
    assert [(t.name, t.dtype, t.shape) for t in info.inputs] == [("image", "uint8", (1, 96, 96, 3))]
    assert {(t.name, t.dtype, t.shape) for t in info.outputs} == {(t.name, t.dtype, t.shape) for t in other.outputs}
    assert info.operator_counts["Conv"] > 60
    assert info.multiply_adds == pytest.approx(other.multiply_adds, rel=0.02)


@pytest.mark.parametrize(
    ("kind", "left", "right"),
    [
        ("Gemm", (7, 5), (5, 3)),
        ("Gemm", (7, 5), (3, 5)),
        ("Gemm", (5, 7), (5, 3)),
        ("MatMul", (2, 7, 5), (5, 3)),
        ("BATCH_MATMUL", (2, 7, 5), (2, 3, 5)),
    ],
)
def test_matrix_products_are_counted_whichever_side_is_transposed(
    kind: str, left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    batch = left[:-2]
    a, b, y = (TensorInfo("", "float32", shape) for shape in (left, right, (*batch, 7, 3)))
    assert OperatorInfo(kind, (a, b), (y,)).multiply_adds == np.prod(batch, dtype=int) * 7 * 5 * 3


def test_inspect_shows_it(model: Path) -> None:
    shown = json.loads(CliRunner().invoke(inspect_command, [str(model), "--json"]).output)
    assert shown["card"]["target"] == "cpu"
    table = CliRunner().invoke(inspect_command, [str(model)])
    assert table.exit_code == 0
    assert "Conv" in table.output


def damage(proto: onnx.ModelProto, key: str, value: str | None) -> None:
    kept = [(e.key, e.value) for e in proto.metadata_props if e.key != key]
    del proto.metadata_props[:]
    for entry in kept if value is None else [*kept, (key, value)]:
        proto.metadata_props.add(key=entry[0], value=entry[1])


def newer_schema(proto: onnx.ModelProto) -> None:
    card = json.loads(next(e.value for e in proto.metadata_props if e.key == KEY))
    damage(proto, KEY, json.dumps({**card, "schema": 99}))


def external(proto: onnx.ModelProto, dtype: int) -> None:
    tensor = next(t for t in proto.graph.initializer if t.data_type == dtype)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    tensor.ClearField("raw_data")


def other_input(proto: onnx.ModelProto) -> None:
    card = json.loads(next(e.value for e in proto.metadata_props if e.key == KEY))
    damage(proto, KEY, json.dumps({**card, "input_size": [64, 64]}))


def other_count(proto: onnx.ModelProto) -> None:
    card = json.loads(next(e.value for e in proto.metadata_props if e.key == KEY))
    damage(proto, KEY, json.dumps({**card, "num_instances": 7}))


def external_in_a_node(proto: onnx.ModelProto) -> None:
    """A constant behind an attribute of a node in the branch of a node."""
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "x")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    constant = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
    branch = onnx.helper.make_graph([constant], "branch", [], [])
    proto.graph.node.append(onnx.helper.make_node("If", ["none"], [], then_branch=branch, else_branch=branch))


def unknown_operator(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].op_type = "Nonsense"


def set_opset(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 999


def set_ir_version(proto: onnx.ModelProto) -> None:
    proto.ir_version = 999


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: damage(m, KEY, None), "carries no model card; convert the checkpoint"),
        (lambda m: damage(m, KEY, "{"), "its model card is not readable"),
        (newer_schema, "has schema 99 and this version reads up to 2; upgrade"),
        (other_input, "its card says"),
        (other_count, r"its classes is int32 \[1, 12\], its card says \[1, 7\]"),
        (lambda m: damage(m, TAIL_KEY, "AAAA"), "its card says level masks"),
        (set_opset, "upgrade onnxruntime"),
        (set_ir_version, "upgrade onnxruntime"),
        (lambda m: external(m, onnx.TensorProto.FLOAT), "keeps weights in another file"),
        (lambda m: external(m, onnx.TensorProto.INT64), "keeps weights in another file"),
        (external_in_a_node, "keeps weights in another file"),
        (unknown_operator, "onnxruntime cannot load it"),
    ],
)
def test_files_that_are_not_ours_or_damaged(edit: Edit, message: str, model: Path, tmp_path: Path) -> None:
    path = edited(model, tmp_path, edit)
    with pytest.raises(MaskConverError, match=message) as caught:
        Segmenter(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["@@@", "AAAA"])
def test_a_damaged_tail(value: str, onnx_models: Models, tmp_path: Path) -> None:
    path = edited(onnx_models.get("heads", "cpu", "uint8"), tmp_path, lambda m: damage(m, TAIL_KEY, value))
    with pytest.raises(MaskConverError, match="the weights behind its heads are damaged"):
        Segmenter(path)


@pytest.mark.parametrize("suffix", [".onnx", ".ort"])
@pytest.mark.parametrize("content", [b"", b"no model at all", b"\0" * 4096, "half", "foreign"])
def test_bytes_that_are_no_model(content: bytes | str, suffix: str, model: Path, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    if content == "half":
        content = model.read_bytes()[: model.stat().st_size // 2]
    elif content == "foreign":
        content = DEFAULT_MODEL.read_bytes()
    assert isinstance(content, bytes)
    path.write_bytes(content)
    with pytest.raises(MaskConverError, match=f"{path}: ") as caught:
        Segmenter(path)
    assert "\n" not in str(caught.value)
    if suffix == ".onnx":
        with pytest.raises(MaskConverError, match=f"{path}: "):
            inspect_model(path)


def test_inspection_refuses_weights_elsewhere(model: Path, tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match="keeps weights in another file"):
        inspect_model(edited(model, tmp_path, lambda m: external(m, onnx.TensorProto.FLOAT)))


def test_inspection_refuses_tensors_without_shape(model: Path, tmp_path: Path) -> None:
    def forget(proto: onnx.ModelProto) -> None:
        del proto.graph.value_info[:]

    with pytest.raises(MaskConverError, match="has no shape; convert it again"):
        inspect_model(edited(model, tmp_path, forget))


def test_inspection_names_types_that_numpy_lacks_and_convolutions_without_weights(model: Path, tmp_path: Path) -> None:
    def odd(proto: onnx.ModelProto) -> None:
        proto.graph.output[0].type.tensor_type.elem_type = 999
        next(node for node in proto.graph.node if node.op_type == "Conv").input[:] = ["image"]

    info = inspect_model(edited(model, tmp_path, odd))
    assert info.outputs[0].dtype == "type 999"
    assert info.multiply_adds < inspect_model(model).multiply_adds


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match="no such model file"):
        Segmenter(tmp_path / "none.onnx")


def test_a_provider_that_is_not_there(model: Path) -> None:
    with pytest.raises(MaskConverError, match=r"NonsenseProvider is not in this ONNX Runtime; choose from .*CPU"):
        Segmenter(model, providers=["NonsenseProvider"])


@pytest.mark.parametrize("options", [{"providers": ["CPUExecutionProvider"]}, {"graph_optimization": "all"}])
def test_options_of_one_runtime_do_not_suit_the_other(options: dict[str, Any]) -> None:
    with pytest.raises(MaskConverError, match=r"are for \.onnx and \.ort files"):
        Segmenter(DEFAULT_MODEL, **options)


@pytest.mark.parametrize("package", ["onnxruntime", "onnx"])
def test_a_missing_package_says_how_to_get_it(package: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    act = Segmenter if package == "onnxruntime" else inspect_model
    with pytest.raises(MaskConverError, match=r"pip install 'maskconver-mobile\[onnx\]'"):
        act(model)


def test_running_needs_no_onnx_package(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def guarded(name: str, *rest: Any) -> Any:
        assert name.split(".")[0] != "onnx", "the runtime imports onnx"
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", guarded)
    assert Segmenter(model).segment(image()).panoptic_map.shape == (60, 90)


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin"])
def test_weights_in_the_current_folder_are_not_taken(
    location: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime would look for them there, and give another answer in another folder."""
    proto = onnx.load(model)
    tensor = next(t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    here = tmp_path / "here"
    here.mkdir()
    (here / location).write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = here / "edited.onnx"
    path.write_bytes(proto.SerializeToString())
    monkeypatch.chdir(here)
    with pytest.raises(MaskConverError, match="keeps weights in another file"):
        Segmenter(path)


def test_weights_are_in_the_file(model: Path) -> None:
    content = model.read_bytes()
    assert not has_external_weights(content)
    proto = onnx.load_from_string(content)
    external(proto, onnx.TensorProto.FLOAT)
    assert has_external_weights(proto.SerializeToString())
    assert read_metadata(content) == {entry.key: entry.value for entry in proto.metadata_props}


@pytest.mark.parametrize("content", [b"\x0b", b"\x3a\x05\x00", b"\x80" * 20, b"\x3d\x00", b"\x3a\x02\x2a\x09"])
def test_bytes_that_are_no_message(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"truncated|unknown wire type|more than ten bytes"):
        has_external_weights(content)


def test_graphs_may_not_nest_without_end() -> None:
    content = b""
    for _ in range(40):  # an attribute's graph in a node in a graph
        for tag in (0x32, 0x2A, 0x0A):
            length = len(content)
            content = bytes([tag, length & 127 | 128, length >> 7]) + content
    with pytest.raises(ValueError, match="nested too deeply"):
        has_external_weights(b"\x3a" + bytes([len(content) & 127 | 128, len(content) >> 7]) + content)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime would compute on the CPU and say nothing."""
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider", "CUDAExecutionProvider"]
    )
    with pytest.raises(MaskConverError, match=r"CUDAExecutionProvider (does not work on this machine|is not)"):
        Segmenter(model, providers=["CUDAExecutionProvider"])
