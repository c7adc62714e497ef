"""Model files whose structure is damaged: refused in one line, before an interpreter ends the process over them."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from models import Models, golden_inputs

from maskconver_mobile.converters.backends.tflite.quantize import quantize
from maskconver_mobile.converters.quantization.recipes import RECIPES
from maskconver_mobile.formats.tflite.check import check
from maskconver_mobile.formats.tflite.file import pack, read_tflite
from maskconver_mobile.segmenter import DEFAULT_MODEL

ROUNDS = 150
SURVIVES = """
import sys
from pathlib import Path
import numpy as np
from maskconver_mobile.segmenter import Segmenter

image, refused = np.zeros((96, 96, 3), np.uint8), 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        Segmenter(path, num_threads=1).segment(image)
    except Exception as error:
        assert str(error)
        refused += 1
print(refused)
"""


@pytest.fixture(scope="module")
def integers(models: Models) -> bytes:
    """A model of integers."""
    file = read_tflite(models.get(input_type="uint8"))
    return quantize(file.content, file.card, "int8", calibration=golden_inputs())


@pytest.fixture(scope="module")
def floats(models: Models) -> bytes:
    return models.get("panoptic", "reference").read_bytes()


def operator(model: Any, kind: str, takes: int | None = None) -> Any:
    """The first operator of a kind, whose first input has this type."""
    graph, code = model.subgraphs[0], getattr(schema.BuiltinOperator, kind)
    kinds = [max(entry.builtinCode, entry.deprecatedBuiltinCode) for entry in model.operatorCodes]
    found = (op for op in graph.operators if kinds[op.opcodeIndex] == code)
    return next(op for op in found if takes in (None, graph.tensors[op.inputs[0]].type))


def integer_sum(model: Any) -> Any:
    """The output of a sum of integers."""
    return model.subgraphs[0].tensors[operator(model, "ADD", schema.TensorType.INT8).outputs[0]]


def set_scale(tensor: Any, scale: float) -> None:
    tensor.quantization.scale = np.array([scale], np.float32)


def make_float(tensor: Any) -> None:
    tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None


def set_first(owner: Any, name: str, value: int) -> None:
    setattr(owner, name, [value, *getattr(owner, name)[1:]])


def set_axes(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[operator(model, "MEAN").inputs[1]]
    model.buffers[tensor.buffer].data = np.array([1, 1 << 20], np.int32).view(np.uint8)


def set_option(model: Any, name: str, value: int) -> None:
    setattr(operator(model, "CONV_2D").builtinOptions, name, value)


def shorten_weights(model: Any) -> None:
    tensor = model.subgraphs[0].tensors[operator(model, "CONV_2D").inputs[1]]
    model.buffers[tensor.buffer].data = np.zeros(3, np.uint8)


def compare_integers(model: Any) -> None:
    code = model.operatorCodes[operator(model, "ADD", schema.TensorType.INT8).opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LESS


HARM: dict[str, tuple[Callable[[Any], object], str]] = {
    "a sum of a tiny scale": (lambda m: set_scale(integer_sum(m), 1e-18), "scales of a sum"),
    "a scale that is no number": (lambda m: set_scale(integer_sum(m), np.nan), "a scale of tensor"),
    "a sum that is not scaled": (lambda m: make_float(integer_sum(m)), "other numbers of scaled integers"),
    "compared integers": (compare_integers, "a comparison of scaled integers"),
    "an axis too many": (set_axes, "a reduction over the axes"),
    "no stride": (lambda m: set_option(m, "strideW", 0), "a window of"),
    "padding of no kind": (lambda m: set_option(m, "padding", 68), "a window with padding 68"),
    "an operator of nowhere": (lambda m: setattr(operator(m, "ADD"), "opcodeIndex", 99), "operator code 99"),
    "a tensor of nowhere": (lambda m: set_first(operator(m, "ADD"), "inputs", 9999), "a tensor that does not exist"),
    "an output of nobody": (lambda m: m.subgraphs[0].operators.pop(), "never written"),
    "a tensor of no end": (lambda m: set_first(m.subgraphs[0].tensors[1], "shape", 2**31 - 1), "too large|of data"),
    "weights of another size": (shorten_weights, "bytes of data"),
    "another signature": (lambda m: setattr(m.signatureDefs[0].inputs[0], "tensorIndex", 7), "beside the graph"),
}


@pytest.mark.parametrize("name", HARM)
def test_what_harms_an_interpreter_is_refused(integers: bytes, name: str) -> None:
    harm, words = HARM[name]
    model = schema.ModelT.InitFromPackedBuf(integers, 0)
    harm(model)
    with pytest.raises(ValueError, match=words):
        check(pack(model))


def test_models_of_every_recipe_pass(models: Models, floats: bytes) -> None:
    check(DEFAULT_MODEL.read_bytes())
    check(floats)
    file = read_tflite(models.get())
    for recipe in RECIPES:
        check(quantize(file.content, file.card, recipe, calibration=golden_inputs()))


def test_offsets_that_lead_to_the_same_place_again_and_again_take_no_time(integers: bytes) -> None:
    model = schema.ModelT.InitFromPackedBuf(integers, 0)
    tensor = model.subgraphs[0].tensors[0]
    tensor.shape = np.ones(1 << 16, np.int32)
    model.subgraphs[0].tensors += [tensor] * 4
    start = time.monotonic()
    with pytest.raises(ValueError, match="shape of tensor 0"):
        check(pack(model))
    assert time.monotonic() - start < 60


def mutations(content: bytes) -> list[bytes]:
    """The file with one to three bytes changed, any but those of weights and texts."""
    model, rng = schema.Model.GetRootAs(content, 0), np.random.default_rng(5)
    free = np.ones(len(content), bool)
    for table in map(model.Buffers, range(model.BuffersLength())):
        if table.DataLength() > 64:
            start = table._tab.Vector(table._tab.Offset(4))
            free[start : start + table.DataLength()] = False
    places, found = np.flatnonzero(free), []
    for _ in range(ROUNDS):
        changed = bytearray(content)
        for place in rng.choice(places, rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        found.append(bytes(changed))
    return found


@pytest.mark.parametrize("kind", ["integers", "floats"])
def test_overwritten_bytes_never_bring_the_process_down(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for i, content in enumerate(mutations(request.getfixturevalue(kind))):
        (tmp_path / f"{i:04}.tflite").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", SURVIVES, str(tmp_path)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert ROUNDS / 10 < int(done.stdout) < ROUNDS
