"""Each rewrite alone gives the reference's answer, and the structure that it is there for."""

import json
from dataclasses import replace
from importlib import import_module
from itertools import chain
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from checkpoints import random_weights
from models import DEMO_CHECKPOINT, DEMO_CONFIG, TINY, Models, run_tflite

from maskconver_mobile.converters.backends.onnx.export import to_onnx
from maskconver_mobile.converters.backends.tflite.export import to_tflite
from maskconver_mobile.converters.backends.tflite.ops import TensorFlowOps
from maskconver_mobile.converters.checkpoint import read_checkpoint
from maskconver_mobile.converters.compiler import compile_graph
from maskconver_mobile.converters.config import read_config
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.passes import (
    PIPELINES,
    PLAIN,
    Pass,
    block_sums,
    crop_kernels,
    fold_pooled_branch,
    fold_unit_depthwise,
    join_branches,
    lower_panoptic,
    lower_proposals,
    pick_few_windows,
    pick_levels,
    pick_windows,
    sink_picks,
    sum_projection,
    sum_upsampled,
)
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats.inspection import ModelInfo, inspect_model
from maskconver_mobile.formats.tflite.partitions import gpu_partitions, xnnpack_partitions

IMAGE = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(models: Models) -> dict[str, np.ndarray]:
    return run_tflite(models.get("panoptic", "reference", "uint8").read_bytes(), IMAGE) | run_tflite(
        models.get("masks", "reference", "uint8").read_bytes(), IMAGE
    )


def alone(pass_: Pass) -> tuple[Pass, ...]:
    """A pipeline with what the pass needs before it, and the plain forms of what it leaves."""
    needs = {sum_projection: (fold_pooled_branch,), pick_windows: (sink_picks,), pick_few_windows: (sink_picks,)}
    return (*PLAIN, *needs.get(pass_, ()), pass_, lower_proposals, lower_panoptic)


ALL = [each for each in dict.fromkeys(chain(*PIPELINES.values())) if each not in PLAIN]
NOT_HERE = {
    *(join_branches, pick_few_windows, block_sums, fold_unit_depthwise),
    *(crop_kernels, pick_levels, sum_upsampled),
}
"""Passes that find nothing in the tiny network: its branches read maps of their own, it has no levels, all is small."""


@pytest.mark.parametrize("format", ["tflite", "onnx"])
@pytest.mark.parametrize("pass_", ALL, ids=[each.__name__ for each in ALL])
def test_a_pass_alone(
    pass_: Pass, format: str, expected: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PIPELINES, ("cpu", format), alone(pass_))
    level = "panoptic" if pass_.__name__.startswith("lower_panoptic") else "masks"
    inputs = read_config(TINY / "config.yaml"), read_checkpoint(TINY), GraphSpec(level=level, input_type="uint8")
    _, done = compile_graph(*inputs, format)
    places = max(applied.places for applied in done if applied.name == pass_.__name__)
    assert (places > 0) == (pass_ not in NOT_HERE)
    if format == "tflite":
        found = run_tflite(to_tflite(*inputs), IMAGE)
    else:
        session = onnxruntime.InferenceSession(to_onnx(*inputs), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        found = dict(zip(names, session.run(names, {"image": IMAGE}), strict=True))
    np.testing.assert_array_equal(found["classes"], expected["classes"])
    np.testing.assert_allclose(found["scores"], expected["scores"], atol=1e-5)
    if level == "masks":
        magnitude = np.abs(expected["mask_logits"]).max()
        np.testing.assert_allclose(found["mask_logits"], expected["mask_logits"], atol=1e-4 * magnitude, rtol=0)
    else:
        for key in ("category_map", "instance_map"):
            assert (found[key] == expected[key]).mean() >= 0.999


def proposals(form: object, heatmap: np.ndarray, k: int, part: np.ndarray | None = None) -> list[np.ndarray]:
    module = import_module("maskconver_mobile.converters.passes.lower_proposals")
    find = module.fast_proposals if form == "fast" else module.proposals
    options = {} if part is None else {"parts": [tf.constant(part[None])]}
    return [np.asarray(v) for v in find(TensorFlowOps(), tf.constant(heatmap[None]), k=k, **options)]


@pytest.mark.parametrize("seed", range(20))
def test_proposals_without_ties(seed: int) -> None:
    heatmap = np.random.default_rng(seed).normal(-2, 2, (9, 7, 11)).astype(np.float32)
    for plain, rewritten in zip(proposals("plain", heatmap, 8), proposals("fast", heatmap, 8), strict=True):
        np.testing.assert_allclose(rewritten, plain, rtol=1e-6)


def test_ties_change_no_score() -> None:
    """Equal logits may come in another order; the set of scores is the same."""
    heatmap = np.round(np.random.default_rng(0).normal(-1, 1, (8, 8, 5)) * 2).astype(np.float32)
    np.testing.assert_allclose(proposals("fast", heatmap, 6)[2], proposals("plain", heatmap, 6)[2], rtol=1e-6)


def test_a_part_decides_between_equal_neighbors() -> None:
    """Of two peaks side by side one stays, wherever else the part is larger; of one color, all."""
    heatmap = np.full((7, 7, 2), -3, np.float32)
    heatmap[2, 2:4, 0] = heatmap[5, 5, 1] = 1.0
    part = np.zeros_like(heatmap)
    part[2, 2, 0], part[1, 3, 0], part[5, 4, 1] = 0.001, 5.0, 5.0
    classes, locations, scores = proposals("fast", heatmap, 2, part)
    assert sorted(zip(classes.tolist(), locations.tolist(), strict=True)) == [(0, 16), (1, 40)]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-1)), rtol=1e-6)
    plateau = np.full((3, 3, 1), -2, np.float32)
    for given in (None, np.ones_like(plateau)):
        np.testing.assert_allclose(proposals("fast", plateau, 9, given)[2], 1 / (1 + np.exp(2)), rtol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_a_part_changes_nothing_without_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heatmap, part = (rng.normal(-2, 2, (9, 7, 11)).astype(np.float32) for _ in range(2))
    for plain, decided in zip(proposals("fast", heatmap, 8), proposals("fast", heatmap, 8, part), strict=True):
        np.testing.assert_array_equal(decided, plain)


def test_more_proposals_than_locations() -> None:
    heatmap = np.random.default_rng(0).normal(size=(2, 2, 9)).astype(np.float32)
    classes, locations, scores = proposals("fast", heatmap, 6)
    plain = proposals("plain", heatmap, 6)
    peaks = plain[2] > 0
    np.testing.assert_array_equal(classes[peaks], plain[0][peaks])
    np.testing.assert_array_equal(locations[peaks], plain[1][peaks])
    assert (scores[~peaks] == 0).all()


@pytest.fixture(scope="module")
def full(models: Models) -> dict[str, Path]:
    """The full-size network, converted from the bundled checkpoint."""
    return {
        target: models.get("masks", target, "uint8", config=DEMO_CONFIG, checkpoint=DEMO_CHECKPOINT)
        for target in ("reference", "cpu")
    }


def kernel_taps(info: ModelInfo) -> int:
    kernels = [op.inputs[1].shape for op in info.operators if op.kind == "DEPTHWISE_CONV_2D"]
    return max(rows * columns for _, rows, columns, _ in kernels)


@pytest.mark.slow
def test_the_cpu_graph_keeps_its_gains(full: dict[str, Path]) -> None:
    plain, rewritten = (inspect_model(full[target]) for target in ("reference", "cpu"))
    assert kernel_taps(plain) == 49
    assert kernel_taps(rewritten) <= 25
    assert rewritten.multiply_adds <= 0.9 * plain.multiply_adds
    assert not rewritten.operator_counts.keys() & {"WHILE", "PAD", "SLICE", "STRIDED_SLICE", "SPLIT_V"}
    assert not plain.operator_counts.keys() & {"WHILE", "GATHER_ND"}


@pytest.mark.slow
def test_the_network_is_one_partition(full: dict[str, Path]) -> None:
    content = full["cpu"].read_bytes()
    partitions = xnnpack_partitions(content)
    info = inspect_model(full["cpu"])
    convolutions = sum(info.operator_counts[kind] for kind in ("CONV_2D", "DEPTHWISE_CONV_2D"))
    assert partitions.largest >= convolutions
    assert partitions.count <= 3
    # XNNPACK takes no operator of whole numbers; of those in float32 it leaves the ones that pick proposals, no other.
    whole = [op.kind for op in info.operators if any(t.dtype != "float32" for t in op.outputs)]
    left = {kind for kind, count in partitions.outside.items() if count > whole.count(kind)}
    assert left <= {"GATHER", "GATHER_ND", "CAST"}


@pytest.mark.parametrize("level", ["heads", "masks"])
def test_a_gpu_graph_has_no_foreign_operator(level: str, models: Models) -> None:
    content = models.get(level, "gpu", "float32").read_bytes()
    found = gpu_partitions(content)
    assert all(kind.endswith((" of int32", " of bool")) for kind in found.outside)  # which proposals are the best
    if level == "heads":
        assert (found.count, found.outside) == (1, {})


@pytest.mark.parametrize("level", ["masks", "panoptic"])
@pytest.mark.parametrize("target", ["cpu", "arm", "gpu", "reference"])
def test_no_loops_and_gathers_in_place_on_the_cpu_alone(level: str, target: str, models: Models) -> None:
    counts = inspect_model(models.get(level, target)).operator_counts
    assert "WHILE" not in counts
    assert ("GATHER_ND" in counts) == (target in ("cpu", "arm"))


@pytest.mark.parametrize("layer_norm", [False, True])
def test_windows_where_they_pay(layer_norm: bool) -> None:
    """Few proposals on a large map: the last convolutions of the mask embedding head run around them only."""
    config = read_config(TINY / "config.yaml").with_input_size((224, 160))
    head = replace(config.mask_embedding_head, use_layer_norm=layer_norm, kernel_size=5)
    config = replace(config, mask_embedding_head=head, num_instances=9)
    weights = random_weights()
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 160, 3), np.uint8)
    plain, lazy = (
        to_tflite(config, weights, GraphSpec(target=target, input_type="uint8")) for target in ("reference", "cpu")
    )
    expected, found = run_tflite(plain, image), run_tflite(lazy, image)
    np.testing.assert_array_equal(found["classes"], expected["classes"])
    magnitude = np.abs(expected["mask_logits"]).max()
    np.testing.assert_allclose(found["mask_logits"], expected["mask_logits"], atol=1e-4 * magnitude, rtol=0)
    shapes = {tuple(tensor["shape"]) for tensor in Interpreter(model_content=lazy).get_tensor_details()}
    assert (9 * 5 * 5, 24) in shapes


def test_dropping_unlabelled_classes(tmp_path: Path, models: Models) -> None:
    """What is left has the same scores and masks; the classes that went make room for further proposals."""
    labels = [{"id": i, "name": f"class {i}", "isthing": int(i < 9)} for i in (1, 3, 4, 7, 10, 11, 12)]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    path = tmp_path / "few.tflite"
    spec = GraphSpec(input_type="uint8")
    convert(TINY / "config.yaml", TINY, path, spec=spec, labels=tmp_path / "labels.json", drop_unlabelled=True)
    expected = run_tflite(models.get("masks", "cpu", "uint8").read_bytes(), IMAGE)
    found = run_tflite(path.read_bytes(), IMAGE)
    ids = {entry["id"] for entry in labels}
    kept = [i for i, c in enumerate(expected["classes"][0]) if c in ids]
    assert 0 < len(kept) < 12
    assert set(found["classes"][0]) <= ids
    np.testing.assert_array_equal(found["classes"][0, : len(kept)], expected["classes"][0, kept])
    np.testing.assert_allclose(found["scores"][0, : len(kept)], expected["scores"][0, kept], atol=1e-6)
    magnitude = np.abs(expected["mask_logits"]).max()
    np.testing.assert_allclose(
        found["mask_logits"][..., : len(kept)], expected["mask_logits"][..., kept], atol=1e-4 * magnitude, rtol=0
    )


def test_the_class_map_keeps_its_channels(tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match="level heads has the class map of all classes"):
        convert(TINY / "config.yaml", TINY, tmp_path / "x.tflite", spec=GraphSpec("heads"), drop_unlabelled=True)
