"""The analysis of both formats: it names the layer that was spoiled, and what layers cost."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import Models
from PIL import Image

from maskconver_mobile.converters.backends.onnx.float_graph import OnnxFloatGraph
from maskconver_mobile.converters.backends.onnx.graph import checked
from maskconver_mobile.converters.backends.registry import backend_of
from maskconver_mobile.converters.backends.tflite.float_graph import FlatbufferGraph
from maskconver_mobile.converters.quantization.calibration import CalibrationSet, read_calibration
from maskconver_mobile.converters.quantization.float_graph import Array, FloatGraph
from maskconver_mobile.converters.quantization.quantize_file import analyse_file
from maskconver_mobile.converters.quantization.recipes import find_recipe
from maskconver_mobile.converters.quantization.sensitivity import SAVED, HeadNoise, layer_costs
from maskconver_mobile.converters.quantization.static_model import StaticModel, Wires, until_heads
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats.onnx.file import attach, read_onnx
from maskconver_mobile.formats.tflite.file import attach as attach_tflite
from maskconver_mobile.formats.tflite.file import read_tflite
from maskconver_mobile.inference.image import load_image
from maskconver_mobile.segmenter import DEFAULT_MODEL

SPOILED, READER = "backbone/layer_with_weights-3/_conv0", "backbone/layer_with_weights-3/_conv1"
LAYERS = [SPOILED, READER, "backbone/layer_with_weights-9/_conv2", "class_head/_convs/1"]
BACKENDS = "maskconver_mobile.converters.backends"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three crops of a photograph."""
    folder = tmp_path_factory.mktemp("photos")
    pixels = load_image(DEFAULT_MODEL.with_name("astronaut.jpg"))
    for i in range(3):
        Image.fromarray(pixels[40 * i : 40 * i + 200, 30 * i : 30 * i + 240]).save(folder / f"{i}.png")
    return folder


def ready(path: Path, photos: Path) -> tuple[StaticModel, CalibrationSet]:
    recipe, backend = find_recipe("int8"), backend_of(path)
    content, card = backend.read(path, recipe, ())
    data = read_calibration(sorted(photos.iterdir()), card)
    made = backend.ready(content, card, recipe, calibration=data.inputs, keep_float=(), on_image=lambda: None)
    return made, data


def spoil(graph: FloatGraph) -> None:
    """Let one channel of a map reach a thousand times as far, and nothing read it: bytes lose all other channels."""
    conv = next(each for each in graph.convolutions() if each.layer == SPOILED)
    scale = np.where(np.arange(len(conv.bias)) == 0, 1000, 1).astype(np.float32)
    graph.replace(conv, conv.kernel * scale, np.abs(conv.bias) * scale + (scale > 1))
    for each in (each for each in graph.convolutions() if each.source == conv.output):
        assert each.layer == READER
        graph.replace(each, each.kernel * (scale == 1), each.bias)


def spoiled(path: Path, folder: Path) -> Path:
    """A copy of a model whose layer is spoiled."""
    copy = folder / path.name
    if path.suffix == ".onnx":
        model = checked(onnx.load(path))
        spoil(OnnxFloatGraph(model))
        copy.write_bytes(attach(checked(model), read_onnx(path).card))
    else:
        file = read_tflite(path)
        graph = FlatbufferGraph(file.content)
        spoil(graph)
        copy.write_bytes(attach_tflite(graph.content, file.card))
    return copy


def test_the_spoiled_layer_is_found(
    either_models: Models, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels are not evened out, which would mend it; its map is coarse for what makes it and for what reads it."""
    path = either_models.get(input_type="uint8")
    monkeypatch.setattr(f"{BACKENDS}.{path.suffix[1:]}.quantize.equalize", lambda *_: None)
    monkeypatch.setattr(StaticModel, "layers", LAYERS)
    report, data = analyse_file(spoiled(path, tmp_path), "int8", calibration=photos)
    assert len(data.inputs) == 3
    found = {one.layer: one for one in report.layers}
    assert set(found) == set(LAYERS)
    worst = sorted(found, key=lambda layer: found[layer].alone)
    assert set(worst[:2]) == {SPOILED, READER}
    assert found[worst[2]].alone > max(found[SPOILED].alone, found[READER].alone) + 10
    assert [one.saves for one in report.layers] == sorted((one.saves for one in report.layers), reverse=True)
    assert report.total < 15
    assert sum(one.work for one in report.layers) == pytest.approx(1)
    assert sum(one.size for one in report.layers) == pytest.approx(1)


@pytest.mark.parametrize("level", ["heads", "masks", "panoptic"])
def test_the_heads_are_three_maps(level: Any, either_models: Models, photos: Path) -> None:
    """Of the classes, the mask embeddings and the pixel embeddings, however much of the method follows them."""
    model, data = ready(either_models.get(level), photos)
    heads = model.heads()
    (maps,) = heads.run((), data.inputs[:1])
    assert [values.ndim for values in maps] == [4, 4, 4]
    assert len({values.shape[:3] for values in maps}) <= 2
    noise = HeadNoise(heads, data)
    np.testing.assert_array_equal(noise(()), 0)
    assert (noise(heads.operations) > 1e-6).all()
    assert {op.layer for op in heads.operations} <= set(model.layers)
    assert not any(layer.startswith("mlp") for layer in heads.layers)


def test_a_layer_costs_its_products_and_its_weights(either_models: Models, photos: Path) -> None:
    model, data = ready(either_models.get(), photos)
    graph = model.float_graph()
    costs = layer_costs(graph, data.inputs[0], model.heads().layers)
    sides: dict[str, tuple[int, ...]] = {}

    def look(name: str, values: Array) -> None:
        sides[name] = values.shape

    conv = next(each for each in graph.convolutions() if each.layer == "backbone/layer_with_weights-1/_conv0")
    graph.observe([conv.output], data.inputs[:1], look)
    (_, height, width, channels) = sides[conv.output]
    assert (height, width) == (48, 48)
    assert channels == conv.kernel.shape[3]
    found = costs[conv.layer]
    assert found.multiply_adds == height * width * conv.kernel.size
    assert found.bytes == SAVED * conv.kernel.size
    assert costs["class_head"].multiply_adds == costs["class_head"].bytes == 0


def test_both_formats_count_the_same_work(models: Models, onnx_models: Models, photos: Path) -> None:
    counted = []
    for made in (models, onnx_models):
        model, data = ready(made.get(), photos)
        counted.append(layer_costs(model.float_graph(), data.inputs[0], model.heads().layers))
    same = [layer for layer in counted[0] if layer.startswith("backbone") and layer in counted[1]]
    assert len(same) > 40
    assert [counted[0][layer] for layer in same] == [counted[1][layer] for layer in same]


def test_what_follows_a_choice_is_cut_off() -> None:
    graph = [
        Wires("backbone/a", ["image"], ["a"], chooses=False),
        Wires("class_head/b", ["a"], ["b"], chooses=False),
        Wires("top", ["b"], ["values", "places"], chooses=True),
        Wires("embedding_head/c", ["a"], ["c"], chooses=False),
        Wires("embedding_head/d", ["c", "places"], ["d"], chooses=False),
        Wires("scale", ["c"], ["e"], chooses=False),
    ]
    assert until_heads(graph) == ([0, 1, 3], ["b", "c"])


def test_what_cannot_be_analysed(models: Models, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match="recipe dynamic has no integer activations to analyse; choose int8"):
        analyse_file(models.get(), "dynamic", calibration=photos)
    with pytest.raises(MaskConverError, match=r"recipe int8 needs calibration images; .* with --calibration"):
        analyse_file(models.get(), "int8")
    with pytest.raises(MaskConverError, match="ORT format cannot be quantized"):
        analyse_file(tmp_path / "model.ort", "int8", calibration=photos)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("name", ["v3small_96", "resnet50_fpn_64", "semantic_96"])
def test_families_are_analysed(
    name: str, suffix: str, data: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Squeeze-excitation, group norms, pyramids, and no proposals: whatever turns integer has a sensitivity."""
    from maskconver_mobile.converters.convert import convert
    from maskconver_mobile.converters.spec import GraphSpec

    folder, plain = data / "families" / name, tmp_path / f"plain{suffix}"
    convert(folder / "config.yaml", next(folder.glob("*.index")), plain, spec=GraphSpec(input_type="uint8"))
    heads = ready(plain, photos)[0].heads()
    layers = [heads.layers[0], heads.layers[len(heads.layers) // 2], heads.layers[-1]]
    monkeypatch.setattr(StaticModel, "layers", layers)
    report, _ = analyse_file(plain, "int8", calibration=photos)
    assert {one.layer for one in report.layers} == set(layers)
    assert 3 < report.total < 60
    assert all(one.alone > report.total - 1 for one in report.layers)
