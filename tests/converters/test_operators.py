"""Activations and squeeze-excitation come out as operators that runtimes have kernels for."""

from collections.abc import Callable
from pathlib import Path

import pytest
from checkpoints import random_weights
from models import SHARED

from maskconver_mobile.converters.backends.onnx.export import to_onnx
from maskconver_mobile.converters.backends.tflite.export import to_tflite
from maskconver_mobile.converters.config import read_config
from maskconver_mobile.converters.describe import make_card
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.formats.inspection import inspect_model

HERE = Path(__file__).parents[1] / "data" / "families"


def operators(name: str, tmp_path: Path, suffix: str) -> dict[str, int]:
    """Of a family's network of level masks with random weights, for CPUs."""
    from maskconver_mobile.converters.backends.onnx.export import finish_onnx
    from maskconver_mobile.converters.backends.tflite.export import finish_tflite

    folder = HERE / name if (HERE / name).is_dir() else SHARED / "golden" / name
    config, weights, spec = read_config(folder / "config.yaml"), random_weights(), GraphSpec("masks")
    writers: dict[str, tuple[Callable[..., bytes], Callable[..., bytes]]] = {
        ".tflite": (to_tflite, finish_tflite),
        ".onnx": (to_onnx, finish_onnx),
    }
    to, finish = writers[suffix]
    path = tmp_path / f"model{suffix}"
    content = to(config, weights, spec)
    weights.origin, weights.sha256 = "random", "0" * 64
    path.write_bytes(finish(content, make_card(config, weights, spec, "float32", "m", ()), config, weights))
    return inspect_model(path).operator_counts


def test_hard_swish_is_one_operator(tmp_path: Path) -> None:
    counts = operators("v3small_96", tmp_path, ".tflite")
    assert counts["HARD_SWISH"] >= 15
    assert counts["MEAN"] >= 9  # squeeze-excitation of nine blocks
    assert not {kind for kind in counts if kind.startswith(("Flex", "CUSTOM"))}
    assert operators("v3small_96", tmp_path, ".onnx")["HardSwish"] >= 15


def test_gelu_is_one_operator(tmp_path: Path) -> None:
    counts = operators("resnetunet_128", tmp_path, ".tflite")
    assert counts["GELU"] >= 60
    assert not {kind for kind in counts if kind.startswith(("Flex", "CUSTOM")) or kind in ("ERF", "TANH")}
    # The factors of the ConvNeXt blocks' channels are in their convolutions; what multiplies is squeeze-excitation.
    assert counts["MEAN"] >= 20
    assert operators("resnetunet_128", tmp_path, ".onnx")["Erf"] >= 20


@pytest.mark.parametrize("name", ["v3small_96", "resnetunet_128"])
def test_no_map_has_five_axes(name: str, tmp_path: Path) -> None:
    operators(name, tmp_path, ".tflite")
    info = inspect_model(tmp_path / "model.tflite")
    assert max(len(tensor.shape) for op in info.operators for tensor in op.outputs) <= 4
