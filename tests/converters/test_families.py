"""Every published family against what the original implementation computes."""

import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from models import SHARED, run_tflite
from numpy.typing import NDArray
from parity import GOLDEN_NAMES

from maskconver_mobile.card import Level
from maskconver_mobile.converters.backends.onnx.export import to_onnx
from maskconver_mobile.converters.backends.tflite.export import to_tflite
from maskconver_mobile.converters.checkpoint import Weights, read_checkpoint
from maskconver_mobile.converters.compiler import plain_graph
from maskconver_mobile.converters.config import ModelConfig, read_config
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.graph.evaluator import evaluate
from maskconver_mobile.converters.passes import lower_panoptic, lower_proposals, run
from maskconver_mobile.converters.spec import GraphSpec, Target
from maskconver_mobile.segmenter import Segmenter

HERE = Path(__file__).parents[1] / "data" / "families"
PUBLIC = (
    *("v1_96", "v2_112", "v2_os32_96", "v2_os8_96", "v3small_96", "v3large_128", "v3edge_96", "v4small_128"),
    *("v4medium_112", "v4mediumseg_96", "multimax_96", "multiavg_112", "semantic_96"),
    *("resnet50_fpn_128", "resnet50_fpn_64", "resnet50_plainfpn_128", "resnet50_sepfpn_128", "resnetunet_128"),
)
ILL_CONDITIONED = {"semantic_96": 2e-5, "v3edge_96": 2e-5}
"""Random networks that magnify rounding: the original's own scores are 4e-6 from those of a float64 evaluation."""
Floats = NDArray[np.float32]


def folder(name: str) -> Path:
    found = HERE / name
    if not found.is_dir():
        found = SHARED / "golden" / name
    if not found.is_dir():
        pytest.skip(f"the golden tensors of {name} are not at hand")
    return found


def load(name: str) -> tuple[ModelConfig, Weights, dict[str, Floats]]:
    path = folder(name)
    named = re.match(r"# experiment: (\S+)", (path / "config.yaml").read_text())
    config = read_config(path / "config.yaml", named[1] if named else None)
    with np.load(path / "golden.npz") as arrays:
        golden = {key: arrays[key][:1] for key in ("images", *GOLDEN_NAMES.values())}
    return config, read_checkpoint(next(path.glob("*.index"))), golden


def check(found: dict[str, Floats], golden: dict[str, Floats], tolerance: float, score_tolerance: float = 1e-5) -> None:
    for key, tensor in found.items():
        expected = golden[GOLDEN_NAMES[key]]
        values = np.asarray(tensor).reshape(expected.shape)
        if key.endswith("_map") and expected.dtype.kind == "i":
            assert (values == expected).mean() >= 0.999, key
        elif key == "classes":
            np.testing.assert_array_equal(values, expected)
        else:
            scale = 1.0 if key == "scores" else np.abs(expected).max()
            limit = min(tolerance, score_tolerance) if key == "scores" else tolerance
            np.testing.assert_allclose(values, expected, rtol=0, atol=limit * scale, err_msg=key)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_network_is_the_original(name: str) -> None:
    """Evaluated in float64, what differs is the original's own rounding."""
    config, weights, golden = load(name)
    for level in ("heads", "masks", "panoptic"):
        builder = plain_graph(config, weights, GraphSpec(level, "reference", "float32"))
        run(builder, (lower_proposals, lower_panoptic))
        check(evaluate(builder.graph, {"image": golden["images"]}), golden, 5e-5)


Case = tuple[str, Target, Level]
LEVELS: tuple[Level, ...] = ("heads", "masks", "panoptic")
OTHERS: list[Case] = [
    (name, target, LEVELS[(i + j) % 3])
    for i, name in enumerate(PUBLIC)
    for j, target in enumerate(("gpu", "reference"))
]
"""A level for each network and target: these graphs differ less by level than those for `cpu` do."""


@pytest.mark.parametrize(
    ("name", "target", "level"), [*((name, "cpu", level) for name in PUBLIC for level in LEVELS), *OTHERS]
)
def test_onnx(name: str, target: Target, level: Level) -> None:
    config, weights, golden = load(name)
    content = to_onnx(config, weights, GraphSpec(level, target, "float32"))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"image": golden["images"]}), strict=True))
    check(found, golden, 1e-4, ILL_CONDITIONED.get(name, 1e-5))


@pytest.mark.parametrize("name", ["v1_96", "resnet50_fpn_64", "resnetunet_128"])
def test_heads_are_finished_on_the_host(name: str, tmp_path: Path) -> None:
    config, _, golden = load(name)
    path, source = tmp_path / "heads.onnx", folder(name)
    convert(source / "config.yaml", source, path, spec=GraphSpec("heads", input_type="float32"))
    segmenter = Segmenter(path)
    found = segmenter.run_tensor(golden["images"])
    check({key: found[key] for key in ("classes", "scores", "mask_logits")}, golden, 1e-4)
    assert segmenter.card.heads.levels == config.level_sizes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "target", "level"),
    [
        *((name, "cpu", "masks") for name in PUBLIC),
        *((name, "cpu", "panoptic") for name in ("semantic_96", "resnet50_fpn_64")),
        *(case for case in OTHERS if case[0] != "resnet50_sepfpn_128"),
    ],
)
def test_tflite(name: str, target: Target, level: Level) -> None:
    config, weights, golden = load(name)
    found = run_tflite(to_tflite(config, weights, GraphSpec(level, target, "float32")), golden["images"])
    check(found, golden, 1e-4, ILL_CONDITIONED.get(name, 1e-5))
