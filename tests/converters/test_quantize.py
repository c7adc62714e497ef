"""Recipes on the tiny network: what turns integer and what must not, how much of the answer is kept, and bad input."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from command_line import run
from models import TINY, Models, golden_inputs, run_tflite
from numpy.typing import NDArray
from PIL import Image

from maskconver_mobile import extras, verbs
from maskconver_mobile.cli.quantize import RECIPES as RECIPE_CHOICES
from maskconver_mobile.converters.backends.tflite.flatbuffer import Flatbuffer
from maskconver_mobile.converters.backends.tflite.pixel_input import fold_normalisation
from maskconver_mobile.converters.backends.tflite.quantize import operations, quantize
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.quantization.calibration import best_range, choose_images, read_calibration, sample
from maskconver_mobile.converters.quantization.half_precision import LARGE
from maskconver_mobile.converters.quantization.quantize_file import quantize_file
from maskconver_mobile.converters.quantization.recipes import RECIPES
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.comparison import match_proposals
from maskconver_mobile.formats.tflite.file import read_tflite
from maskconver_mobile.inference.image import load_image
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

PHOTO = DEFAULT_MODEL.with_name("astronaut.jpg")
FLOAT32, INT8, UINT8 = schema.TensorType.FLOAT32, schema.TensorType.INT8, schema.TensorType.UINT8
SIZE = {"float16": 0.75, "dynamic": 0.62, "int8": 0.62, "int8-balanced": 0.8, "int16x8": 0.62}
KEPT = {"float16": 12, "dynamic": 10, "int8": 8, "int8-balanced": 9, "int16x8": 10}

Tensor = NDArray[np.generic]


@pytest.fixture(scope="module")
def golden() -> list[Tensor]:
    return golden_inputs()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six crops of a photograph."""
    folder = tmp_path_factory.mktemp("photos")
    pixels = load_image(PHOTO)
    for i in range(6):
        Image.fromarray(pixels[40 * i : 40 * i + 200, 30 * i : 30 * i + 240]).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def plain(models: Models) -> Path:
    return models.get(input_type="uint8")


@pytest.fixture(scope="module")
def integer(plain: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("int8") / "int8.tflite"
    quantize_file(plain, output, "int8", calibration=photos)
    return output


def types(flatbuffer: Flatbuffer, tensors: Tensor) -> set[int]:
    return {flatbuffer.graph.tensors[t].type for t in tensors if t >= 0}


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_keeps_the_top_proposals(models: Models, golden: list[Tensor], recipe: str) -> None:
    file = read_tflite(models.get())
    quantized = quantize(file.content, file.card, recipe, calibration=golden)
    for image in golden:
        expected, found = run_tflite(file.content, image), run_tflite(quantized, image)
        pairs = match_proposals(expected, found)
        assert pairs is not None
        assert len(pairs) >= KEPT[recipe]
        assert len(np.unique(found["scores"])) == found["scores"].size
        assert {t.dtype.name for t in found.values()} == {"int32", "float32"}
    assert len(quantized) < SIZE[recipe] * len(file.content)


@pytest.mark.parametrize("recipe", ["float16", "dynamic", "int8"])
def test_a_panoptic_graph_keeps_the_branches_of_its_condition(
    models: Models, golden: list[Tensor], recipe: str
) -> None:
    file = read_tflite(models.get("panoptic", output_size=(192, 192)))
    assert len(Flatbuffer(file.content).model.subgraphs) > 1
    quantized = quantize(file.content, file.card, recipe, calibration=golden)
    for image in golden:
        found = run_tflite(quantized, image)
        assert found["category_map"].shape == (1, 192, 192)
        assert set(np.unique(found["category_map"])) <= {0, *found["classes"].ravel()}
        if recipe == "float16":
            expected = run_tflite(file.content, image)["category_map"]
            assert (found["category_map"] == expected).mean() > 0.99


def test_float16_halves_large_weights_alone(plain: Path) -> None:
    file = read_tflite(plain)
    half = Flatbuffer(quantize(file.content, file.card, "float16", keep_float=["class_head/*"]))
    sizes: dict[int, list[int]] = {}
    for op in half.graph.operators:
        if half.kind(op) in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            kept = half.is_constant(int(op.inputs[1]))
            sizes.setdefault(kept, []).append(int(np.prod(half.shape(int(op.inputs[1])))))
            assert kept or not half.name(int(op.outputs[0])).startswith("class_head/")
    assert min(sizes[False]) > LARGE
    assert min(sizes[True]) <= LARGE


def test_the_network_is_integer_and_its_surroundings_are_not(integer: Path) -> None:
    flatbuffer = Flatbuffer(read_tflite(integer).content)
    operators = flatbuffer.graph.operators
    assert types(flatbuffer, flatbuffer.graph.inputs) == {UINT8}
    assert [flatbuffer.kind(op) for op in operators[:4]] == ["QUANTIZE", "CONCATENATION", "CONCATENATION", "CONV_2D"]
    kinds = {flatbuffer.kind(op): [] for op in operators}
    for op in operators:
        kinds[flatbuffer.kind(op)].append(op)
    assert all(UINT8 not in types(flatbuffer, op.inputs) for op in kinds.get("CAST", []))
    for kind in ("DEPTHWISE_CONV_2D", "CONCATENATION", "RESIZE_BILINEAR"):
        assert all(types(flatbuffer, op.outputs) == {INT8} for op in kinds[kind])
    for kind in ("MAX_POOL_2D", "TOPK_V2", "RSQRT", "BATCH_MATMUL", "FULLY_CONNECTED", "LOGISTIC"):
        assert all(FLOAT32 in types(flatbuffer, op.outputs) for op in kinds[kind])
        assert all(FLOAT32 in types(flatbuffer, op.inputs) for op in kinds[kind])
    assert [
        flatbuffer.name(op.outputs[0]).split("/")[1]
        for op in kinds["CONV_2D"]
        if INT8 not in types(flatbuffer, op.outputs)
    ] == ["_classifier"]


def test_weights_are_quantized_per_channel(integer: Path) -> None:
    flatbuffer = Flatbuffer(read_tflite(integer).content)
    for op in flatbuffer.graph.operators:
        if flatbuffer.kind(op) in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kernel = flatbuffer.graph.tensors[op.inputs[1]]
            assert kernel.type == INT8
            assert len(kernel.quantization.scale) == flatbuffer.shape(op.outputs[0])[-1]


def test_uint8_image_meets_the_integers_without_rounding(plain: Path, integer: Path) -> None:
    flatbuffer = Flatbuffer(read_tflite(integer).content)
    first = flatbuffer.graph.operators[0]
    scales = [flatbuffer.graph.tensors[t].quantization for t in (first.inputs[0], first.outputs[0])]
    assert [(q.scale[0], q.zeroPoint[0]) for q in scales] == [(1, 0), (1, -128)]


def test_pixels_straight_into_the_first_convolution(plain: Path, models: Models) -> None:
    for path in (plain, models.get(input_type="uint8", target="reference")):
        content = read_tflite(path).content
        image = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), np.uint8)
        expected = run_tflite(content, image)
        found = run_tflite(fold_normalisation(content), image.astype(np.float32))
        np.testing.assert_array_equal(found["classes"], expected["classes"])
        np.testing.assert_allclose(found["scores"], expected["scores"], atol=2e-3)
        scale = np.abs(expected["mask_logits"]).max()
        np.testing.assert_allclose(found["mask_logits"], expected["mask_logits"], atol=0.01 * scale)


def test_plain_graph_survives_too(models: Models, photos: Path, tmp_path: Path) -> None:
    """Peaks by comparison, top-K over the whole map and a class map in one piece: int8 ties or zeroes them all."""
    path, output = models.get(target="reference", input_type="uint8"), tmp_path / "int8.tflite"
    quantize_file(path, output, "int8", calibration=photos)
    scores = Segmenter(output).run(PHOTO)["scores"]
    assert np.isfinite(scores).all()
    assert (scores > 0).all()
    assert len(np.unique(scores)) == scores.size


def test_heads_keep_the_weights_behind_them(models: Models, photos: Path, tmp_path: Path) -> None:
    path, output = models.get(level="heads", input_type="uint8"), tmp_path / "int8.tflite"
    quantize_file(path, output, "int8", calibration=photos)
    found = Segmenter(output).run(PHOTO)
    assert {t.dtype.name for t in found.values()} == {"float32"}
    assert Segmenter(output).segment(PHOTO).segments is not None


def test_keep_float(plain: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "mixed.tflite"
    quantize_file(plain, output, "int8", calibration=photos, keep_float=["class_head/*", "decoder/aspp/projection/*"])
    flatbuffer = Flatbuffer(read_tflite(output).content)
    for op in flatbuffer.graph.operators:
        name = flatbuffer.name(int(op.outputs[0]))
        if flatbuffer.kind(op) == "CONV_2D":
            kept = name.startswith(("class_head/", "decoder/aspp/projection/"))
            assert (types(flatbuffer, op.inputs[1:2]) == {FLOAT32}) == kept


def test_layers_bear_the_names_of_the_checkpoint(plain: Path) -> None:
    file = read_tflite(plain)
    found = operations(file.content, file.card.roles)
    layers = {op.layer for op in found}
    assert {"backbone/layer_with_weights-0/_conv0", "class_head/_convs/0", "class_head/_classifier"} <= layers
    assert not any(op.integer for op in found if op.layer.endswith("_classifier") or op.layer.startswith("mlp"))


def test_the_same_images_give_the_same_file(plain: Path, integer: Path, photos: Path, tmp_path: Path) -> None:
    quantize_file(plain, tmp_path / "again.tflite", "int8", calibration=photos)
    assert (tmp_path / "again.tflite").read_bytes() == integer.read_bytes()


def test_gate(plain: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "gated.tflite"
    with pytest.raises(MaskConverError, match=r"gated.tflite: not written; recipe int8 changes .*more than 0.00%"):
        quantize_file(plain, output, "int8", calibration=photos, gate=photos / "0.png", max_loss=0)
    assert list(tmp_path.iterdir()) == []
    done = quantize_file(plain, output, "int8", calibration=photos, gate=photos / "0.png", max_loss=1)
    assert done.loss is not None
    assert done.loss > 0
    assert read_tflite(output).card.recipe == done.card.recipe == "int8"


@pytest.mark.parametrize("channels", [3, 16, 256])
def test_samples_are_of_all_channels(channels: int) -> None:
    """A map whose channels lie side by side, where every n-th value would be of one."""
    x = np.broadcast_to(np.arange(channels, dtype=np.float32), (64, 64, channels))
    counts = np.bincount(sample(x, 64 * channels).astype(int))
    assert 32 <= counts.min() <= counts.max() <= 96
    assert sample(x, 7)[-2:].tolist() == [0, channels - 1]
    np.testing.assert_array_equal(sample(x[0, 0], channels), x[0, 0])


def test_best_range() -> None:
    even = np.linspace(-1, 3, 10_000, dtype=np.float32)
    assert best_range(even) == (-1, 3)
    spread = np.concatenate([np.random.default_rng(0).normal(0, 1, 100_000), [40.0]]).astype(np.float32)
    low, high = best_range(spread)
    assert 10 < high < 40
    assert best_range(spread, bits=16)[1] > high
    assert best_range(np.full(5, 2, np.float32))[0] == 0
    assert low <= 0


def test_images_are_chosen_evenly(photos: Path) -> None:
    assert [path.stem for path in choose_images(photos, 3)] == ["0", "2", "4"]
    assert len(choose_images(photos, 100)) == 6


def test_unreadable_images_are_skipped(plain: Path, photos: Path, tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "b.png").write_bytes((photos / "0.png").read_bytes())
    card = read_tflite(plain).card
    data = read_calibration(choose_images(tmp_path, 64), card)
    assert len(data.inputs) == 1
    assert [path.name for path, _ in data.skipped] == ["a.png", "c.png"]
    (tmp_path / "b.png").unlink()
    with pytest.raises(MaskConverError, match=r"none of 2 images can be read \(first: .*a.png"):
        read_calibration(choose_images(tmp_path, 64), card)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"calibration": None}, "recipe int8 needs calibration images; give a folder of them with --calibration"),
        ({"calibration": Path("nowhere")}, "nowhere: no such folder"),
        ({"calibration": TINY}, "no images in this folder"),
        (
            {"keep_float": ["class_haed/*"]},
            "--keep-float 'class_haed/\\*' matches no layer; layers are named like backbone",
        ),
        ({"recipe": "int3"}, "unknown recipe 'int3'; known ones: float16, dynamic, int8, int8-balanced, int16x8"),
        ({"gate": Path("nowhere")}, "nowhere: no such image"),
        ({"output": Path("model.onx")}, r"model.onx: is no place for a quantized model; name it \*.tflite"),
    ],
)
def test_bad_requests(plain: Path, photos: Path, tmp_path: Path, change: dict[str, object], message: str) -> None:
    request = {"recipe": "int8", "output": tmp_path / "x.tflite", "calibration": photos, **change}
    with pytest.raises(MaskConverError, match=message):
        quantize_file(plain, **request)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_calibration_images_that_tell_little_are_named(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "black"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (64, 48)).save(folder / f"{i}.png")
    done = quantize_file(plain, tmp_path / "x.tflite", "int8", calibration=folder)
    assert done.notes[:2] == (
        "1 different calibration images tell little; give 8 or more",
        "3 of 3 calibration images show next to nothing; give some as in later use",
    )
    many = read_calibration(choose_images(DEFAULT_MODEL.with_name("photos"), 64), read_tflite(plain).card)
    assert many.doubts == ()


def test_a_quantized_model_is_refused(integer: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match="has recipe int8 already; quantize the float32 model"):
        quantize_file(integer, tmp_path / "x.tflite", "int8", calibration=photos)


def test_onnx_files_take_the_same_path(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    plain = Models(tmp_path, ".onnx").get(input_type="uint8")
    done = quantize_file(plain, tmp_path / "dynamic.onnx", "dynamic", gate=PHOTO, max_loss=1)
    assert done.loss is not None
    assert Segmenter(tmp_path / "dynamic.onnx").card.recipe == done.card.recipe == "dynamic"
    with pytest.raises(MaskConverError, match=r"x.tflite: is no place for a quantized model; name it \*.onnx"):
        quantize_file(plain, tmp_path / "x.tflite", "dynamic")


def test_the_command_line_knows_every_recipe() -> None:
    assert set(RECIPE_CHOICES) == set(RECIPES)


def test_command_line(
    plain: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    convert = ("convert", "--config", TINY / "config.yaml", "--checkpoint", TINY)
    direct, half, later = (tmp_path / f"{name}.tflite" for name in ("direct", "half", "later"))
    assert run(monkeypatch, *convert, "--output", direct, "--quantize", "int8", "--calibration", photos) == 0
    assert run(monkeypatch, *convert, "--output", half, "--quantize", "float16") == 0
    (photos / "broken.png").write_text("no image")
    try:
        assert run(monkeypatch, "quantize", plain, "--calibration", photos, "--output", later) == 0
    finally:
        (photos / "broken.png").unlink()
    shown = capfd.readouterr()
    assert "int8, 96x96 uint8, level masks" in shown.out
    assert "skipped 1 images" in shown.err
    assert "note: 6 different calibration images tell little" in shown.err
    assert shown.out.count("\nkeeps ") == 2
    assert run(monkeypatch, "inspect", later) == 0
    assert f"verdict\t{read_tflite(later).card.verdict}" in capfd.readouterr().out
    assert run(monkeypatch, "inspect", later, "--json", "-") == 0
    assert json.loads(capfd.readouterr().out)["card"]["verdict"]["images"] == 6
    assert [read_tflite(path).card.recipe for path in (direct, half, later)] == [
        "int8",
        "float16",
        "int8",
    ]
    assert read_tflite(direct).card.name == "direct"

    refused: list[tuple[tuple[object, ...], str]] = [
        ((*convert, "--output", tmp_path / "x.tflite", "--quantize", "int8"), "needs calibration images"),
        ((*convert, "--output", tmp_path / "x.tflite", "--gate", photos), "needs --quantize dynamic, int8 or int16x8"),
        (("quantize", plain, "--calibration", photos), "give --output, the file to write, or --analyse"),
        (("quantize", plain, "--recipe", "dynamic", "--analyse"), "has no integer activations to analyse"),
    ]
    for arguments, message in refused:
        assert run(monkeypatch, *arguments) == 2
        error = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("INFO")]
        assert len(error) == 1
        assert message in error[0]
    assert not (tmp_path / "x.tflite").exists()


@pytest.mark.parametrize(
    ("missing", "suffix", "message"),
    [
        (
            "litert_quantizer",
            ".tflite",
            "quantizing needs litert-quantizer; run `pip install 'maskconver-mobile[quantize]'`",
        ),
        ("onnxruntime", ".onnx", "needs onnxruntime; run `pip install 'maskconver-mobile[onnx]'`"),
    ],
)
def test_a_package_that_is_missing_is_named_before_any_work(
    missing: str, suffix: str, message: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == missing else True)
    output, photos = f"x{suffix}", ("--calibration", "photos")
    for arguments in (
        ("convert", "--config", "none", "--checkpoint", "none", "--output", output, "--quantize", "int8", *photos),
        ("quantize", f"none{suffix}", "--output", output, *photos),
    ):
        assert run(monkeypatch, *arguments) == 2
        assert message in capfd.readouterr().err
    with pytest.raises(MaskConverError, match=re.escape(message)):
        verbs.quantize(f"none{suffix}", output, calibration="photos")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("name", ["v3small_96", "resnet50_fpn_64"])
def test_other_families(name: str, suffix: str, photos: Path, tmp_path: Path) -> None:
    """Hard swish and squeeze-excitation, layer and group norms: what does not fit integers stays float."""
    folder = TINY.parent / "families" / name
    plain, integer = (tmp_path / f"{kind}{suffix}" for kind in ("plain", "int8"))
    convert(folder / "config.yaml", next(folder.glob("*.index")), plain, spec=GraphSpec(input_type="uint8"))
    quantize_file(plain, integer, "int8", calibration=photos)
    assert integer.stat().st_size < 0.85 * plain.stat().st_size
    image = np.random.default_rng(0).integers(0, 256, (1, *Segmenter(plain).card.input_size, 3), np.uint8)
    expected, found = (Segmenter(path).run_tensor(image) for path in (plain, integer))
    assert np.abs(np.sort(found["scores"]) - np.sort(expected["scores"])).max() < 0.25
