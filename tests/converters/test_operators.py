"""Activations and squeeze-excitation come out as operators that runtimes have kernels for."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
from checkpoints import random_weights
from models import SHARED

from maskconver_mobile.converters.backends.onnx.export import to_onnx
from maskconver_mobile.converters.backends.tflite.export import to_tflite
from maskconver_mobile.converters.config import read_config
from maskconver_mobile.converters.describe import make_card
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.formats.inspection import ModelInfo, inspect_model

HERE = Path(__file__).parents[1] / "data" / "families"


Models = Callable[[str, str], ModelInfo]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A family's network of level masks with random weights, for CPUs, by name and suffix; each is made once."""
    return cache(partial(converted, tmp_path_factory.mktemp("operators")))


def converted(to_folder: Path, name: str, suffix: str) -> ModelInfo:
    from maskconver_mobile.converters.backends.onnx.export import finish_onnx
    from maskconver_mobile.converters.backends.tflite.export import finish_tflite

    folder = HERE / name if (HERE / name).is_dir() else SHARED / "golden" / name
    config, weights, spec = read_config(folder / "config.yaml"), random_weights(), GraphSpec("masks")
    writers: dict[str, tuple[Callable[..., bytes], Callable[..., bytes]]] = {
        ".tflite": (to_tflite, finish_tflite),
        ".onnx": (to_onnx, finish_onnx),
    }
    to, finish = writers[suffix]
    path = to_folder / f"{name}{suffix}"
    content = to(config, weights, spec)
    weights.origin, weights.sha256 = "random", "0" * 64
    path.write_bytes(finish(content, make_card(config, weights, spec, "float32", "m", ()), config, weights))
    return inspect_model(path)


def test_hard_swish_is_one_operator(model: Models) -> None:
    counts = model("v3small_96", ".tflite").operator_counts
    assert counts["HARD_SWISH"] >= 15
    assert counts["MEAN"] >= 9  # squeeze-excitation of nine blocks
    assert not {kind for kind in counts if kind.startswith(("Flex", "CUSTOM"))}
    assert model("v3small_96", ".onnx").operator_counts["HardSwish"] >= 15


def test_gelu_is_one_operator(model: Models) -> None:
    counts = model("resnetunet_128", ".tflite").operator_counts
    assert counts["GELU"] >= 60
    assert not {kind for kind in counts if kind.startswith(("Flex", "CUSTOM")) or kind in ("ERF", "TANH")}
    # The factors of the ConvNeXt blocks' channels are in their convolutions; what multiplies is squeeze-excitation.
    assert counts["MEAN"] >= 20
    assert model("resnetunet_128", ".onnx").operator_counts["Erf"] >= 20


@pytest.mark.parametrize("name", ["v3small_96", "resnetunet_128"])
def test_no_map_has_five_axes(name: str, model: Models) -> None:
    assert max(len(tensor.shape) for op in model(name, ".tflite").operators for tensor in op.outputs) <= 4
