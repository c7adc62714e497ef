"""What a converter must refuse in one line, and what must hold whatever is asked of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from checkpoints import random_weights
from models import TINY, Models, run_tflite
from PIL import Image

from maskconver_mobile.converters.backends.onnx.export import to_onnx
from maskconver_mobile.converters.backends.onnx.float_graph import OnnxFloatGraph
from maskconver_mobile.converters.backends.onnx.graph import OnnxGraph
from maskconver_mobile.converters.backends.onnx.tensor import OnnxTensor
from maskconver_mobile.converters.backends.tflite.export import to_tflite
from maskconver_mobile.converters.checkpoint import Weights, read_checkpoint
from maskconver_mobile.converters.compiler import plain_graph
from maskconver_mobile.converters.config import read_config
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.quantization.half_precision import halve_weights
from maskconver_mobile.converters.quantization.quantize_file import analyse_file, convert_quantized, quantize_file
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.errors import MaskConverError

CONFIG = TINY / "config.yaml"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (96, 96, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level": "mask"}, "unknown level 'mask'; known ones: heads, masks, panoptic"),
        ({"target": "tpu"}, "unknown target 'tpu'; known ones: cpu, arm, gpu, reference"),
        ({"input_type": "int8"}, "unknown input type 'int8'"),
        ({"output_size": (64, 64)}, "an output size belongs to level panoptic"),
    ],
)
def test_a_graph_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MaskConverError, match=message):
        GraphSpec(**changes)


def test_an_unknown_precision(tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match="unknown precision 'bfloat16'; known ones: float32, float16"):
        convert(CONFIG, TINY, tmp_path / "x.tflite", precision="bfloat16")
    assert not list(tmp_path.iterdir())


def test_more_proposals_than_cells() -> None:
    config = replace(read_config(CONFIG).with_input_size((32, 32)), num_instances=1000)
    with pytest.raises(MaskConverError, match=r"num_instances 1000 is more than the class map has cells \(320 at"):
        plain_graph(config, random_weights(), GraphSpec())


def test_pooling_windows_beyond_the_map() -> None:
    config = read_config(CONFIG)
    config = replace(config, decoder=replace(config.decoder, pool_kernel_size=(96, 512)))
    with pytest.raises(MaskConverError, match=r"pool_kernel_size \[96, 512\] is larger than the image"):
        plain_graph(config, random_weights(), GraphSpec())


def changed(name: str, change: Callable[[Any], Any]) -> Weights:
    weights = read_checkpoint(TINY)

    def lookup(path: str) -> Any:
        array = weights._lookup(path)
        return change(array.copy()) if path == name else array

    return Weights(lookup)


def test_a_negative_variance() -> None:
    name = "backbone/layer_with_weights-0/_norm0/moving_variance"
    with pytest.raises(MaskConverError, match=f"{name}: has negative values"):
        plain_graph(read_config(CONFIG), changed(name, lambda array: array - 10), GraphSpec())


def test_a_variable_of_text() -> None:
    name = "backbone/layer_with_weights-0/_conv0/kernel"
    weights = changed(name, lambda array: np.full(array.shape, b"x", object))
    with pytest.raises(MaskConverError, match=f"{name} holds object, not numbers"):
        plain_graph(read_config(CONFIG), weights, GraphSpec())


@pytest.mark.parametrize("write", [to_tflite, to_onnx])
def test_weights_beyond_float16(write: Callable[..., bytes]) -> None:
    weights = changed("decoder/aspp/projection/layer_with_weights-0/kernel", lambda array: array * np.float32(1e8))
    with pytest.raises(MaskConverError, match=r"holds weights up to \d+, and float16 ends at 65504"):
        write(read_config(CONFIG), weights, GraphSpec(target="reference"), "float16")


def test_half_precision_of_onnx_keeps_layers_and_the_merge(tmp_path: Path) -> None:
    plain = tmp_path / "plain.onnx"
    convert(CONFIG, TINY, plain, spec=GraphSpec("panoptic"))

    def halves(keep: tuple[str, ...]) -> set[str]:
        path = tmp_path / "half.onnx"
        quantize_file(plain, path, "float16", keep_float=keep)
        graph = onnx.load(path).graph
        stored = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
        cast = {node.output[0] for node in graph.node if node.op_type == "Cast" and node.input[0] in stored}
        return {node.name for node in graph.node if not cast.isdisjoint(node.input)}

    everything, others = halves(()), halves(("class_head/*",))
    assert everything
    assert all("/" in name for name in everything)
    assert others == {name for name in everything if not name.startswith("class_head/")} < everything
    with pytest.raises(MaskConverError, match="matches no layer"):
        halves(("klass_head/*",))


def test_ort_files_store_what_onnx_files_store(tmp_path: Path) -> None:
    sizes = {}
    for precision in ("float32", "float16"):
        for suffix in (".onnx", ".ort"):
            path = tmp_path / f"{precision}{suffix}"
            convert(CONFIG, TINY, path, precision=precision)
            sizes[precision, suffix] = path.stat().st_size
    saved = sizes["float32", ".onnx"] - sizes["float16", ".onnx"]
    assert saved > 0
    assert sizes["float32", ".ort"] - sizes["float16", ".ort"] >= 0.8 * saved


def test_the_first_layer_may_stay_float(models: Models, photos: Path, tmp_path: Path) -> None:
    for pattern in ("backbone/layer_with_weights-0/*", "backbone/*"):
        path = tmp_path / "int8.tflite"
        done = quantize_file(models.get(input_type="uint8"), path, "int8", calibration=photos, keep_float=(pattern,))
        image = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8)
        outputs = run_tflite(path.read_bytes(), image)
        assert done.card.input_type == "uint8"
        assert np.isfinite(outputs["scores"]).all()


def test_layers_with_layer_norm_are_analysed(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = CONFIG.read_text().replace("use_depthwise_convolution: true\n", "use_depthwise_convolution: true\n", 1)
    config = tmp_path / "config.yaml"
    config.write_text(text)
    settings = read_config(config)
    heads = {
        name: replace(getattr(settings, name), use_layer_norm=True)
        for name in ("class_head", "mask_embedding_head", "per_pixel_embedding_head")
    }
    settings = replace(settings, **heads)
    monkeypatch.setattr("maskconver_mobile.converters.convert.read_config", lambda *_: settings)
    monkeypatch.setattr("maskconver_mobile.converters.convert.read_checkpoint", lambda *_: random_weights())
    plain = tmp_path / "plain.tflite"
    convert(config, TINY, plain)
    layers = ["class_head/_convs/1", "backbone/layer_with_weights-1/_conv0"]
    monkeypatch.setattr("maskconver_mobile.converters.quantization.static_model.StaticModel.layers", layers)
    report, _ = analyse_file(plain, "int8", calibration=photos)
    assert {layer.layer for layer in report.layers} == set(layers)


def test_labels_say_what_a_thing_is_in_the_graph_too(models: Models, tmp_path: Path) -> None:
    labels = [{"id": i, "name": f"class {i}", "isthing": 0} for i in range(1, 20)]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    path = tmp_path / "x.tflite"
    convert(CONFIG, TINY, path, spec=GraphSpec("panoptic", input_type="float32"), labels=tmp_path / "labels.json")
    image = np.load(TINY / "golden.npz")["images"][:1]
    outputs = run_tflite(path.read_bytes(), image)
    is_thing_of_the_configuration = (outputs["category_map"] > 0) & (outputs["category_map"] < 9)
    assert is_thing_of_the_configuration.any()
    assert not outputs["instance_map"].any()


def test_a_copied_folder_means_its_own_checkpoint(tmp_path: Path) -> None:
    for name in ("old", "new"):
        tf.train.Checkpoint(x=tf.Variable(1.0)).write(str(tmp_path / name / "ckpt-9"))
    (tmp_path / "new" / "checkpoint").write_text(f'model_checkpoint_path: "{tmp_path / "old" / "ckpt-9"}"\n')
    with pytest.raises(MaskConverError, match=str(tmp_path / "new" / "ckpt-9")):
        read_checkpoint(tmp_path / "new")


def test_a_checkpoint_file_that_is_no_text(tmp_path: Path) -> None:
    for file in TINY.glob("ckpt*"):
        shutil.copy(file, tmp_path)
    (tmp_path / "checkpoint").write_bytes(b"\xff\xfe model_checkpoint_path")
    assert read_checkpoint(tmp_path).origin == str(tmp_path / "ckpt-7")


def test_a_quantized_file_carries_one_card_and_one_tail(models: Models, tmp_path: Path) -> None:
    path = tmp_path / "half.tflite"
    quantize_file(models.get("heads"), path, "float16")
    content = path.read_bytes()
    assert content.count(b'"num_instances"') == 1
    assert content.count(b"class_embeddings.npy") == 2  # in the local header and the directory of one archive


def test_requests_are_refused_before_any_work(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match=r"recipe int16x8 is not for .onnx files"):
        convert_quantized("int16x8", CONFIG, tmp_path / "nothing", tmp_path / "x.onnx", calibration=photos)
    with pytest.raises(MaskConverError, match="ORT format cannot be quantized"):
        quantize_file(tmp_path / "model.ort", tmp_path / "out.onnx", "dynamic")


def test_halved_weights_have_an_operator_that_takes_them(models: Models) -> None:
    halved = halve_weights(models.get().read_bytes())
    interpreter = Interpreter(model_content=halved)
    interpreter.allocate_tensors()
    from maskconver_mobile.converters.backends.tflite.flatbuffer import Flatbuffer

    codes = Flatbuffer(halved).model.operatorCodes
    assert [code.version for code in codes if max(code.builtinCode, code.deprecatedBuiltinCode) == 6] == [3]


def test_whole_quotients_of_floats() -> None:
    graph = OnnxGraph()
    x = OnnxTensor(graph, "x", (3,), np.dtype(np.float32))
    (x // 2.0).stored()
    assert [node.op_type for node in graph._nodes] == ["Div", "Floor"]


def test_outputs_are_not_rescaled() -> None:
    """A tensor that is an output keeps its scale, whatever else reads it."""
    weights = np.ones((1, 1, 1, 1), np.float32)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["y"], name="a"),
        onnx.helper.make_node("Conv", ["y", "w"], ["z"], name="b"),
    ]

    def links(outputs: list[str]) -> set[str]:
        float_type = onnx.TensorProto.FLOAT
        values = [onnx.helper.make_tensor_value_info(name, float_type, [1, 1, 2, 2]) for name in outputs]
        image = onnx.helper.make_tensor_value_info("x", float_type, [1, 1, 2, 2])
        constant = onnx.numpy_helper.from_array(weights, "w")
        model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [image], values, [constant]))
        graph = OnnxFloatGraph(model)
        return {each.output for each in graph.convolutions() if graph.readers(each.output)}

    assert links(["z"]) == {"y"}
    assert links(["y", "z"]) == set()
