"""The examples of docs/architecture.md, and its picture."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from checkpoints import random_weights
from command_line import run
from models import TINY

from maskconver_mobile.converters.compiler import compile_graph
from maskconver_mobile.converters.config import read_config
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.evaluator import evaluate
from maskconver_mobile.converters.network.mobilenet import TABLES
from maskconver_mobile.converters.passes import PIPELINES
from maskconver_mobile.converters.spec import GraphSpec

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def examples() -> Any:
    """What the page defines; the registries are as before afterwards."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "architecture.md").read_text(), re.S)
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    with patch.dict(PIPELINES), patch.dict(TABLES):
        for block in blocks:
            exec(block, names)  # noqa: S102
        yield names


def test_a_pass_of_the_page(examples: dict[str, Any]) -> None:
    builder = GraphBuilder()
    x = builder.input("x", (1, 4, 4, 3), np.float32)
    builder.graph.outputs = {"y": builder.relu(builder.relu(x))}
    image = np.random.default_rng(0).normal(size=(1, 4, 4, 3))
    assert examples["drop_second_relu"](builder) == 1
    assert len(builder.graph.nodes) == 1
    np.testing.assert_array_equal(evaluate(builder.graph, {"x": image})["y"], np.maximum(image, 0))
    assert PIPELINES["cpu", "onnx"][0] is examples["drop_second_relu"]
    assert examples["drop_second_relu"] not in PIPELINES["cpu", "tflite"]


def test_a_backbone_and_a_backend_of_the_page(examples: dict[str, Any]) -> None:
    config = read_config(TINY / "config.yaml")
    config = replace(config, backbone=replace(config.backbone, model_id="MobileNetTiny"))
    graph, done = compile_graph(config, random_weights(), GraphSpec("masks", "cpu", "float32"), "onnx")
    counter = examples["CountingOps"]()
    outputs = examples["emit"](graph, counter, {"image": np.zeros((1, 96, 96, 3))})
    assert outputs["mask_logits"].shape == (1, 12, 12, 12)
    assert counter.convolutions[(3, 3)] == 1
    assert counter.convolutions[(1, 1)] > 10
    assert done[1].name == "drop_second_relu"


def test_the_registries_are_as_before() -> None:
    assert "MobileNetTiny" not in TABLES


def test_the_picture_is_that_of_the_code() -> None:
    names: dict[str, Any] = {"__name__": "flow"}
    exec((DOCS / "flow.py").read_text(), names)  # noqa: S102
    assert names["flow"]() == (DOCS / "flow.svg").read_text(), "python docs/flow.py docs/flow.svg"


def test_a_model_says_what_was_done_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    path = tmp_path / "x.onnx"
    request = ("convert", "--config", TINY / "config.yaml", "--checkpoint", TINY, "--output", path, "--explain")
    assert run(monkeypatch, *request) == 0
    explained = capfd.readouterr().out
    for words in ("fold_batch_norm", "71", "sink_picks", "found nothing to do"):
        assert words in explained
    assert run(monkeypatch, "inspect", path, "--graph") == 0
    shown = capfd.readouterr().out
    assert "fold_batch_norm" in shown
    assert "backbone/layer_with_weights-0/_conv0" in shown
