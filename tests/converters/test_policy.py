"""What may turn integer is decided once, on the graph, and is the same in both formats."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from models import TINY, Models

from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.backends.onnx.graph import checked
from maskconver_mobile.converters.backends.onnx.quantize import find_operations, quantize_onnx
from maskconver_mobile.converters.backends.registry import backend_of
from maskconver_mobile.converters.backends.tflite.quantize import operations, quantize
from maskconver_mobile.converters.checkpoint import read_checkpoint
from maskconver_mobile.converters.compiler import compile_graph
from maskconver_mobile.converters.config import read_config
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.quantization.policy import layer_roles
from maskconver_mobile.converters.quantization.recipes import RECIPES, select
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats.onnx.file import read_onnx
from maskconver_mobile.formats.tflite.file import read_tflite

FAMILIES = TINY.parent / "families"


def roles(folder: Path, level: str = "masks") -> dict[str, str]:
    weights = read_checkpoint(next(folder.glob("*.index")).with_suffix(""))
    graph, _ = compile_graph(read_config(folder / "config.yaml"), weights, GraphSpec(level), "onnx")
    return dict(layer_roles(graph))


def test_the_network_is_integer_up_to_its_classifiers() -> None:
    found = roles(TINY)
    assert found["backbone/layer_with_weights-0/_conv0"] == "integer"
    assert found["class_head"] == "integer"
    assert {role for layer, role in found.items() if layer.endswith("_classifier")} == {"weights"}
    assert {role for layer, role in found.items() if layer.startswith("mlp")} == {"weights"}


def test_what_follows_the_choice_is_not() -> None:
    """The last layers of the mask embeddings run on the proposals' windows alone, but whole at level `heads`."""
    chosen, whole = roles(TINY), roles(TINY, "heads")
    moved = {layer for layer, role in whole.items() if role == "integer" and chosen.get(layer) == "weights"}
    assert moved
    assert all(layer.startswith("embedding_head/_convs") for layer in moved)


def test_norms_keep_their_squares_in_float() -> None:
    grouped, layered = roles(FAMILIES / "resnet50_fpn_64"), roles(FAMILIES / "resnetunet_128")
    assert "weights" in {role for layer, role in grouped.items() if "_panoptic_fpn_fusion" in layer}
    assert "convolutions" in layered.values()


@pytest.mark.parametrize("name", ["tiny_96", "families/v3small_96", "families/resnet50_fpn_64"])
def test_both_formats_find_the_same_layers(name: str, tmp_path: Path) -> None:
    """But for branches of the decoder that on small maps are folded and joined in ONNX (`fold_center_tap`)."""
    folder = TINY.parent / name
    checkpoint = next(folder.glob("*.index")).with_suffix("")
    flat, plain = tmp_path / "model.tflite", tmp_path / "model.onnx"
    cards = [convert(folder / "config.yaml", checkpoint, path, spec=GraphSpec("heads")) for path in (flat, plain)]
    found = [
        operations(read_tflite(flat).content, cards[0].roles),
        find_operations(checked(onnx.load(plain)), cards[1].roles),
    ]
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "Conv")
    layers = [{op.layer for op in each if op.integer and op.kind in kinds} for each in found]
    assert layers[1] <= layers[0]
    assert all(layer.startswith("decoder/aspp/aspp_layers/") for layer in layers[0] - layers[1])
    assert len(layers[1]) > 10


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_a_file_that_does_not_say(format: str, models: Models, onnx_models: Models) -> None:
    file = read_tflite(models.get()) if format == "tflite" else read_onnx(onnx_models.get("masks"))
    silent: ModelCard = replace(file.card, roles={})
    with pytest.raises(MaskConverError, match="does not say which of its layers may be integers"):
        (quantize if format == "tflite" else quantize_onnx)(file.content, silent, "dynamic")


@pytest.mark.parametrize(
    ("suffix", "recipe", "pattern", "kept"),
    [
        (".onnx", "float16", "decoder/aspp/aspp_layers/2/*", "decoder/aspp/aspp_layers/0/layer_with_weights-0"),
        (".tflite", "dynamic", "per_pixel_embeddings_head/_classifier", "mlp/dense/1"),
    ],
)
def test_a_pattern_keeps_what_its_layer_was_joined_to(
    suffix: str, recipe: str, pattern: str, kept: str, tmp_path: Path
) -> None:
    """Branches of the decoder are one convolution in ONNX; the pixels' last layer is in the mask kernels everywhere."""
    plain = Models(tmp_path, suffix).get()
    backend = backend_of(plain)
    content, card = backend.read(plain, RECIPES[recipe], [pattern])
    onnx_model = suffix == ".onnx"
    found = find_operations(onnx.load(plain), card.roles) if onnx_model else operations(content, card.roles)
    left = {op.layer for op in select(found, [pattern], RECIPES[recipe], card.joined)}
    assert {op.layer for op in found} - left == {kept}
    assert ModelCard.from_json(card.to_json(), "x").joined == card.joined
    with pytest.raises(MaskConverError, match="matches no layer"):
        select(found, [pattern], RECIPES[recipe])
    whole, part = (
        backend.quantize(content, card, recipe, calibration=(), keep_float=keep, on_image=lambda: None)[0]
        for keep in ((), (pattern,))
    )
    assert len(part) > len(whole)
