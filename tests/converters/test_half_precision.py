"""Graphs hold in float16: every constant, every value on the way, and the answer."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from models import DEMO_CHECKPOINT, DEMO_CONFIG, TINY, run_tflite
from numpy.typing import NDArray

from maskconver_mobile.card import Level
from maskconver_mobile.converters.backends.onnx.export import to_onnx
from maskconver_mobile.converters.backends.tflite.export import to_tflite
from maskconver_mobile.converters.backends.tflite.flatbuffer import FLOAT32, Flatbuffer
from maskconver_mobile.converters.backends.tflite.ops import TensorFlowOps
from maskconver_mobile.converters.checkpoint import read_checkpoint
from maskconver_mobile.converters.config import read_config
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.describe import make_card
from maskconver_mobile.converters.spec import GraphSpec, Target
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats.tflite.file import HALF_PRECISION, read_metadata, without_half_precision
from maskconver_mobile.inference.image import load_image, preprocess
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

LARGEST = float(np.finfo(np.float16).max)
FIXTURES = ("config.yaml", "config_hw.yaml")
PHOTOS = DEFAULT_MODEL.parent / "photos"


def constants(content: bytes) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """All float constants of all subgraphs, by tensor name."""
    model = Flatbuffer(content).model
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if tensor.type == FLOAT32 and data is not None and len(data):
                yield tensor.name.decode(), np.frombuffer(bytes(data), np.float32)


def lost(name: str, value: NDArray[np.float32]) -> bool:
    """Whether float16 has no such number. Weights may round to 0; what stands alone, a threshold or an epsilon, not."""
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    return not np.isfinite(half).all() or (value.size == 1 and bool((half == 0) & (value != 0)))


@pytest.mark.parametrize("level", ["heads", "masks", "panoptic"])
@pytest.mark.parametrize("target", ["cpu", "gpu"])
@pytest.mark.parametrize("config", FIXTURES)
def test_no_constant_is_outside_float16(config: str, target: Target, level: Level) -> None:
    content = to_tflite(read_config(TINY / config), read_checkpoint(TINY), GraphSpec(level, target))
    found = list(constants(content))
    assert len(found) > 30
    assert [name for name, value in found if lost(name, value)] == []


@pytest.mark.parametrize("level", ["heads", "masks", "panoptic"])
@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_no_onnx_constant_is_outside_float16(target: Target, level: Level) -> None:
    """Core ML, NNAPI and WebGPU may compute an ONNX graph in float16."""
    content = to_onnx(read_config(TINY / "config.yaml"), read_checkpoint(TINY), GraphSpec(level, target))
    tensors = onnx.load_model_from_string(content).graph.initializer
    found = [(t.name, onnx.numpy_helper.to_array(t)) for t in tensors if t.data_type == onnx.TensorProto.FLOAT]
    assert len(found) > 30
    assert [name for name, value in found if lost(name, value)] == []


def test_the_guard_sees_what_float16_cannot_hold() -> None:
    assert lost("infinite", np.array([1e30], np.float32))
    assert lost("epsilon", np.array([1e-9], np.float32))
    assert not lost("epsilon", np.array([1e-6], np.float32))
    assert not lost("weights", np.array([1e-9, 1], np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("branch", [0, 1], ids=["small plan, few segments", "dense, all segments"])
@pytest.mark.parametrize("level", ["masks", "panoptic"])
@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_no_value_leaves_float16(target: Target, level: Level, branch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every tensor of the bundled checkpoint's graph on photographs, with one branch of each condition in its place.

    The small fixtures cannot serve here: their weights are random, and their networks' own maps exceed float16.
    """

    def cond(_: TensorFlowOps, condition: Any, *branches: Callable[[], Any]) -> Any:
        return branches[branch]()

    monkeypatch.setattr(TensorFlowOps, "cond", cond)
    spec = GraphSpec(level, target)
    config, weights = read_config(DEMO_CONFIG), read_checkpoint(DEMO_CHECKPOINT)
    interpreter = Interpreter(
        model_content=to_tflite(config, weights, spec),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    largest: dict[str, float] = {}
    card = make_card(config, weights, spec, "float32", "model", ())
    for photo in sorted(PHOTOS.glob("*.jpg"))[:2]:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], preprocess(load_image(photo), card)[0])
        interpreter.invoke()
        for tensor in interpreter.get_tensor_details():
            if tensor["dtype"] == np.float32 and tensor["name"] and "scratch" not in tensor["name"]:
                value = np.abs(interpreter.get_tensor(tensor["index"])).max(initial=0)
                largest[tensor["name"]] = max(largest.get(tensor["name"], 0.0), float(value))
    assert len(largest) > 50
    assert {name: value for name, value in largest.items() if not value <= LARGEST} == {}


def test_files_permit_it_unless_told_otherwise(tmp_path: Path) -> None:
    def permits(name: str, level: Level = "masks", target: Target = "cpu", **options: Any) -> bool:
        path = tmp_path / name
        card = convert(TINY / "config.yaml", TINY, path, spec=GraphSpec(level, target), **options)
        assert Segmenter(path).card.half_precision == card.half_precision
        if path.suffix == ".tflite":
            assert (HALF_PRECISION.keys() <= read_metadata(path.read_bytes(), name).keys()) == card.half_precision
        return card.half_precision

    assert permits("a.tflite")
    assert permits("b.tflite", "panoptic", "gpu")
    assert permits("c.tflite", precision="float16")
    assert permits("d.tflite", "heads", half_precision=True)
    assert not permits("e.tflite", "heads")
    assert not permits("f.tflite", half_precision=False)
    assert not permits("g.tflite", target="reference")
    assert not permits("h.onnx")
    with pytest.raises(MaskConverError, match=r"i\.onnx: only \.tflite files can permit half precision"):
        permits("i.onnx", half_precision=True)
    with pytest.raises(MaskConverError, match="the reference graph does not hold in half precision"):
        permits("j.tflite", target="reference", half_precision=True)


def test_a_segmenter_can_forbid_it(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    convert(TINY / "config.yaml", TINY, path)
    content = path.read_bytes()
    forbidden = without_half_precision(content)
    assert not HALF_PRECISION.keys() & read_metadata(forbidden, "a").keys()
    assert sum(a != b for a, b in zip(content, forbidden, strict=True)) == 1
    image = np.zeros((40, 60, 3), np.uint8)
    a, b = (Segmenter(path, half_precision=allowed).segment(image) for allowed in (True, False))
    np.testing.assert_array_equal(
        a.panoptic_map, b.panoptic_map
    )  # no processor of the tests computes in float16 unasked


def in_float16(content: Path, images: list[NDArray[Any]]) -> list[dict[str, NDArray[Any]]]:
    """Outputs of XNNPACK where it is forced to compute in float16, which x86 processors can emulate."""
    compiled = pytest.importorskip("ai_edge_litert.compiled_model")
    if not hasattr(compiled, "CpuOptions"):
        pytest.skip("needs a LiteRT whose CpuOptions take XNNPACK's flags")
    options = compiled.Options(
        hardware_accelerators=compiled.HardwareAccelerator.CPU,
        cpu_options=compiled.CpuOptions(num_threads=1, xnnpack_flags=4),
    )
    model = compiled.CompiledModel.from_file(str(content), options=options)
    signature = model.get_signature_by_index(0)
    details = model.get_output_tensor_details(signature["key"])
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    results = []
    for image in images:
        inputs[0].write(np.ascontiguousarray(image))
        model.run_by_index(0, inputs, outputs)
        result = {}
        for name, buffer in zip(signature["outputs"], outputs, strict=True):
            shape, dtype = tuple(details[name]["shape"]), np.dtype(details[name]["dtype"])
            result[name] = buffer.read(int(np.prod(shape)), dtype).reshape(shape)
        results.append(result)
    return results


def test_the_classifier_s_bias_joins_before_the_other_blocks() -> None:
    """And the last block decides between neighbors that are equal all the same."""
    content = to_tflite(read_config(DEMO_CONFIG), read_checkpoint(DEMO_CHECKPOINT), GraphSpec("masks"))
    flatbuffer = Flatbuffer(content)
    sums = [
        [flatbuffer.is_constant(int(tensor)) for tensor in operator.inputs]
        for operator in flatbuffer.graph.operators
        if flatbuffer.kind(operator) == "ADD"
        and flatbuffer.name(int(operator.outputs[0])).startswith("class_head/_classifier")
    ]
    assert sums == [[False, True], *[[False, False]] * 3]
    assert [flatbuffer.kind(operator) for operator in flatbuffer.graph.operators].count("MAX_POOL_2D") == 2


@pytest.mark.slow
@pytest.mark.parametrize("level", ["masks", "panoptic"])
@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_answer_in_float16(target: Target, level: Level, tmp_path: Path) -> None:
    """Of the bundled checkpoint on photographs; x86 adds up in float32, so that this shows broken graphs alone."""
    path = tmp_path / "model.tflite"
    spec = GraphSpec(level, target)
    convert(DEMO_CONFIG, DEMO_CHECKPOINT, path, spec=spec)
    segmenter = Segmenter(path)
    photos = [load_image(photo) for photo in sorted(PHOTOS.glob("*.jpg"))]
    prepared = [preprocess(photo, segmenter.card) for photo in photos]
    halves = in_float16(path, [tensor for tensor, _ in prepared])
    agreements = []
    for (tensor, letterbox), half in zip(prepared, halves, strict=True):
        full = run_tflite(path.read_bytes(), tensor)
        maps = [segmenter.category_map(outputs, letterbox) for outputs in (full, half)]
        agreements.append((maps[0] == maps[1]).mean())
        assert np.abs(full["scores"] - half["scores"]).max() < 0.03
    assert len(agreements) >= 6
    assert np.mean(agreements) >= 0.97
    assert np.median(agreements) >= 0.99
