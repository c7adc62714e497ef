"""ONNX files: the tensors of the original implementation, and a graph that is what it claims to be."""

import base64
import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import TINY, Models
from parity import TARGETS, full_cases

from maskconver_mobile.card import KEY, ModelCard
from maskconver_mobile.converters.backends.onnx.graph import IR_VERSION, OPSET
from maskconver_mobile.converters.backends.onnx.ops import OnnxOps
from maskconver_mobile.converters.backends.tflite.ops import TensorFlowOps
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.passes import PIPELINES, split_depthwise
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.inference.tail import TAIL_KEY, Tail
from maskconver_mobile.segmenter import Segmenter

LEVELS = ("heads", "masks", "panoptic")
INPUT_TYPES = ("uint8", "float32")
OUTPUTS = {
    "heads": ["class_heatmap", "mask_embedding_map", "pixel_embeddings"],
    "masks": ["classes", "scores", "mask_logits"],
    "panoptic": ["category_map", "instance_map", "classes", "scores"],
}


@pytest.mark.parametrize("target", [*TARGETS, "arm"])
@pytest.mark.parametrize("level", LEVELS)
def test_both_formats_see_the_same_in_pixels(level: Any, target: Any, models: Models, onnx_models: Models) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype(np.uint8)
    ours, theirs = (Segmenter(m.get(level, target, "uint8")).run_tensor(pixels) for m in (onnx_models, models))
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        assert ours[name].dtype == values.dtype
        if values.dtype == np.int32:
            assert (ours[name] == values).mean() >= 0.999
        else:
            np.testing.assert_allclose(ours[name], values, atol=1e-4 * np.abs(values).max())


@pytest.mark.slow
def test_photographs_as_in_the_other_format(models: Models, onnx_models: Models, shared: Path) -> None:
    case = full_cases()[0]
    settings: dict[str, Any] = {"config": case.config, "checkpoint": case.checkpoint}
    segmenters = [Segmenter(m.get("masks", "cpu", "uint8", **settings)) for m in (onnx_models, models)]
    photos = np.load(case.golden[0].with_name("photos.npz"))
    agreements = []
    for name in sorted({key.split("/")[0] for key in photos}):
        a, b = (segmenter.segment(photos[f"{name}/image"]) for segmenter in segmenters)
        agreements.append((a.panoptic_map == b.panoptic_map).mean())
    assert np.mean(agreements) >= 0.999


def model_of(models: Models, *what: Any) -> onnx.ModelProto:
    return onnx.load(models.get(*what))


@pytest.mark.parametrize("input_type", INPUT_TYPES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("level", LEVELS)
def test_structure(level: Any, target: Any, input_type: Any, onnx_models: Models) -> None:
    model = model_of(onnx_models, level, target, input_type)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert model.ir_version == IR_VERSION
    image = model.graph.input[0]
    assert [i.name for i in model.graph.input] == ["image"]
    assert dims(image) == [1, 96, 96, 3]
    assert onnx.helper.tensor_dtype_to_np_dtype(image.type.tensor_type.elem_type) == input_type
    assert [o.name for o in model.graph.output] == OUTPUTS[level]
    assert all(min(dims(v)) > 0 for v in (*model.graph.value_info, *model.graph.output) if dims(v))
    assert not [t.name for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]


def dims(value: onnx.ValueInfoProto) -> list[int]:
    return [d.dim_value for d in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_maps_change_their_layout_at_the_edges_alone(target: Any, onnx_models: Models) -> None:
    graph = model_of(onnx_models, "heads", target, "uint8").graph
    transposes = [node for node in graph.node if node.op_type == "Transpose"]
    assert [n.output[0] for n in transposes if n.input[0] != "image"] == OUTPUTS["heads"]
    assert len(transposes) == (3 if target == "cpu" else 4)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_rows_are_laid_out_behind_the_network(target: Any, onnx_models: Models) -> None:
    """Where all locations are read as rows; there the runtime merges the Transpose with its own change of layout."""
    graph = model_of(onnx_models, "masks", target, "uint8").graph
    (transposed,) = (n for n in graph.node if n.op_type == "Transpose" and n.input[0] != "image")
    assert transposed.input[0].startswith("per_pixel_embeddings_head/")
    assert {n.op_type for n in graph.node if transposed.output[0] in n.input} == {"Reshape"}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("target", TARGETS)
def test_no_graph_moves_more_than_its_edges_ask_for(level: Any, target: Any, onnx_models: Models) -> None:
    graph = model_of(onnx_models, level, target, "uint8").graph
    counts = Counter(node.op_type for node in graph.node)
    of_image = sum(node.op_type == "Transpose" and node.input[0] == "image" for node in graph.node)
    assert of_image == (0 if target == "cpu" else 1)
    assert counts["Transpose"] - of_image <= len(OUTPUTS[level])
    assert counts["Identity"] == 0


def test_casts_are_of_pixels_and_of_indices(onnx_models: Models) -> None:
    graph = model_of(onnx_models, "masks", "cpu", "uint8").graph
    casts = [node for node in graph.node if node.op_type == "Cast"]
    assert [n.output[0] for n in casts if n.output[0] in OUTPUTS["masks"]] == ["classes"]
    assert len(casts) == 2


def test_convolutions_keep_their_layers_names(onnx_models: Models) -> None:
    graph = model_of(onnx_models, "masks", "cpu", "uint8").graph
    names = [node.name for node in graph.node if node.op_type == "Conv"]
    assert all(name.startswith(("backbone/", "decoder/", "class_head/", "embedding_head/", "per_p")) for name in names)
    assert len(set(names)) == len(names)


def test_half_precision_is_in_the_weights_alone(onnx_models: Models) -> None:
    full, half = (onnx_models.get("masks", "cpu", "uint8", p) for p in ("float32", "float16"))
    assert half.stat().st_size < 0.75 * full.stat().st_size
    graph = onnx.load(half).graph
    halves = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    readers = [node for node in graph.node if halves.intersection(node.input)]
    assert len(halves) > 10
    assert {node.op_type for node in readers} == {"Cast"}


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path: Path, onnx_models: Models) -> None:
    first = onnx_models.get("masks", "cpu", "uint8")
    second = tmp_path / first.name
    convert(TINY / "config.yaml", TINY, second, spec=GraphSpec(input_type="uint8"))
    assert second.read_bytes() == first.read_bytes()


def test_card_and_tail_are_inside(onnx_models: Models) -> None:
    for level in LEVELS:
        path = onnx_models.get(level, "cpu", "uint8")
        metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        card = ModelCard.from_json(metadata[KEY], str(path))
        assert (card.level, card.target, card.input_type) == (level, "cpu", "uint8")
        assert set(card.tools) == {"maskconver-mobile", "tensorflow", "onnx"}
        assert (TAIL_KEY in metadata) == (level == "heads")
    metadata = {e.key: e.value for e in onnx.load(onnx_models.get("heads", "cpu", "uint8")).metadata_props}
    tail = Tail.from_bytes(base64.b64decode(metadata[TAIL_KEY]), "heads", 20)
    assert tail.class_embeddings.shape == (20, 24)


def test_both_vocabularies_are_one() -> None:
    def methods(cls: type) -> dict[str, list[tuple[str, Any, Any]]]:
        return {
            name: [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(OnnxOps) == methods(TensorFlowOps)


def test_depthwise_kernels_stay_whole() -> None:
    assert split_depthwise in PIPELINES["cpu", "tflite"]
    assert split_depthwise not in PIPELINES["cpu", "onnx"]
