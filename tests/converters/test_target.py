"""The search for a mix that reaches a target agreement: what it tries, what it writes, and what it refuses."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from models import Models
from PIL import Image

import maskconver_mobile
from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.quantization import target
from maskconver_mobile.converters.quantization.quantize_file import quantize_file
from maskconver_mobile.converters.quantization.target import Judge, Mix, MixSearch, block_of, write_to_target
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.comparison import compare
from maskconver_mobile.inference.image import load_image
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

PART = "decoder"
"""The part of the network that keeps all pixels, in tests that do not measure."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen crops of a photograph."""
    folder = tmp_path_factory.mktemp("photos")
    pixels = load_image(DEFAULT_MODEL.with_name("astronaut.jpg"))
    for i in range(16):
        Image.fromarray(pixels[16 * i : 16 * i + 200, 12 * i : 12 * i + 240]).save(folder / f"{i:02}.png")
    return folder


class Curve(MixSearch):
    """A search whose mixes are known: their agreement by the number of float blocks."""

    def __init__(self, stable: Sequence[float]) -> None:
        self.stable, self.asked = stable, list[int]()
        self._blocks = [(f"layer_{i}",) for i in range(len(stable) - 1)]

    def mix(self, count: int) -> Mix:
        self.asked.append(count)
        return Mix(tuple(f"layer_{i}" for i in range(count)), self.stable[count], 0.5, 40, 1000 + count, count / 10)

    @property
    def tried(self) -> tuple[Mix, ...]:
        return tuple(self.mix(count) for count in sorted(set(self.asked)))


@pytest.mark.parametrize(
    ("wanted", "found"), [(0.5, 0), (0.6, 1), (0.65, 2), (0.75, 4), (0.9, 8), (0.98, 12), (0.99, 16), (0.999, 16)]
)
def test_the_fewest_blocks_are_found(wanted: float, found: int) -> None:
    rising = (0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.96, 0.98, 0.982, 0.984, 0.986, 0.99)
    curve = Curve(rising)
    assert curve.shortest(wanted) == found
    assert len(set(curve.asked)) <= 9


def test_where_agreement_falls_again_few_blocks_win() -> None:
    curve = Curve((0.9, 0.91, 0.97, 0.98, 0.93, 0.92, 0.92, 0.92, 0.94, 0.99))
    assert curve.shortest(0.96) == 2
    assert max(curve.asked) == 3
    assert curve.shortest(0.96, above=3) == 9


class Falling:
    """A judge of files whose layers were kept float from the start: a little less than the mixes promised."""

    count = 5

    def __init__(self, short: float) -> None:
        self.short = short
        self.promised = 0.0

    def __call__(self, model: Path, description: str) -> tuple[float, float]:
        return self.promised - self.short, 0.4


def written(curve: Curve, judge: Any, wanted: float, folder: Path) -> tuple[Any, list[int]]:
    """What is written for a target, and how many layers each try kept."""
    tries: list[int] = []
    path = folder / "x.tflite"

    def write(kept: Sequence[str]) -> ModelCard:
        tries.append(len(kept))
        judge.promised = curve.stable[len(kept)]
        path.write_bytes(bytes(10 + len(kept)))
        return Segmenter(DEFAULT_MODEL).card

    return write_to_target(wanted, curve, judge, path, write)[1], tries


def test_a_file_that_falls_short_asks_for_more(tmp_path: Path) -> None:
    search, tries = written(Curve((0.9, 0.92, 0.94, 0.96, 0.98)), Falling(0.015), 0.92, tmp_path)
    assert tries == [1, 2]
    assert search.written.stable == pytest.approx(0.925)
    assert (search.written.bytes, search.written.agreement, search.images) == (12, 0.4, 5)
    assert [len(mix.kept) for mix in search.tried] == sorted({len(mix.kept) for mix in search.tried})


def test_a_target_out_of_reach_is_one_line(tmp_path: Path) -> None:
    message = r"--target-agreement 0.99: not reached, nothing written; with every layer in float 0.9800 of the stable"
    with pytest.raises(MaskConverError, match=message):
        written(Curve((0.9, 0.92, 0.94, 0.96, 0.98)), Falling(0), 0.99, tmp_path)
    with pytest.raises(MaskConverError, match=r"with every layer in float 0\.8800"):
        written(Curve((0.9, 0.92, 0.94, 0.96, 0.98)), Falling(0.1), 0.9, tmp_path)


def test_a_folder_with_too_few_images_is_refused(models: Models, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes((photos / "00.png").read_bytes())
    match = r"1 different images are too few to hold some aside .* 16 or more, .* --gate"
    with pytest.raises(MaskConverError, match=match):
        quantize_file(models.get(), tmp_path / "a.tflite", "int8", calibration=tmp_path, target_agreement=0.9)


def test_agreement_is_that_of_compare(models: Models, photos: Path, tmp_path: Path) -> None:
    """Of a model with itself all, and of two what `compare` says."""
    plain, half = models.get(input_type="uint8"), models.get(input_type="uint8", precision="float16")
    images = sorted(photos.iterdir())[::9]
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    judge = Judge(plain, [*images, broken])
    assert [path for path, _ in judge.skipped] == [broken]
    assert judge.count == len(images) == 2
    assert judge(plain, "") == (1, 1)
    compared = compare(Segmenter(plain), Segmenter(half), images, stable=True)
    assert judge(half, "") == pytest.approx((compared.stable_agreement, compared.agreement))
    with pytest.raises(MaskConverError, match=r"--target-agreement: none of 1 images tells anything \(first: .*broken"):
        Judge(plain, [broken])


def test_blocks_of_the_backbone_and_single_layers() -> None:
    assert block_of("backbone/layer_with_weights-3/_conv0") == block_of("backbone/layer_with_weights-3")
    assert block_of("backbone/layer_with_weights-30") != block_of("backbone/layer_with_weights-3")
    assert block_of("class_head/_convs/1") == "class_head/_convs/1"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Parts of the network turn float as a whole; files whose `PART` is float agree in 0.95, all others in less."""

    def install(kept: float) -> None:
        class Known(Judge):
            def __init__(self, model: Path, images: Sequence[Path], progress: Any = None) -> None:
                assert images
                self.skipped, self.count = [(images[0], "is no image")], len(images)

            def __call__(self, model: Path, description: str) -> tuple[float, float]:
                return (kept if turned_float(model, PART) else 0.5), 0.4

        monkeypatch.setattr("maskconver_mobile.converters.quantization.quantize_file.Judge", Known)
        monkeypatch.setattr(target, "block_of", lambda layer: layer.partition("/")[0])

    return install


def turned_float(model: Path, part: str) -> bool:
    """Whether no weights of a part of the network are integers."""
    if model.suffix == ".onnx":
        import onnx

        graph = onnx.load(model).graph
        floats = {tensor.name for tensor in graph.initializer}
        found = [node for node in graph.node if node.op_type == "Conv" and node.name.startswith(f"{part}/")]
        return all(node.input[1] in floats for node in found)
    from maskconver_mobile.converters.backends.tflite.flatbuffer import Flatbuffer

    flatbuffer = Flatbuffer(model.read_bytes())
    made = [op for op in flatbuffer.graph.operators if flatbuffer.kind(op) == "CONV_2D"]
    return all(
        flatbuffer.is_float(int(op.inputs[1])) for op in made if flatbuffer.name(int(op.outputs[0])).startswith(part)
    )


def test_a_mix_is_written_as_if_its_layers_had_been_named(
    either_models: Models, photos: Path, tmp_path: Path, known: Callable[[float], None]
) -> None:
    known(0.95)
    plain = either_models.get(input_type="uint8")
    path, named = (tmp_path / f"{name}{plain.suffix}" for name in ("x", "named"))
    done = maskconver_mobile.quantize(plain, path, calibration=photos, num_calibration=4, target_agreement=0.9)
    search = done.search
    assert search is not None
    assert (search.target, search.images, search.written.agreement) == (0.9, 12, 0.4)
    assert any(layer.startswith(f"{PART}/") for layer in search.written.kept)
    assert search.written.stable == 0.95
    assert 0 < search.written.float_work < 1
    assert 0 <= path.stat().st_size - search.written.bytes < 1000  # the verdict in the card
    first, last = search.tried[0], search.tried[-1]
    assert (first.kept, first.stable, first.float_work) == ((), 0.5, 0)
    assert last.snr_db > first.snr_db
    assert last.bytes > first.bytes
    quantize_file(plain, named, "int8", calibration=photos, num_calibration=4, keep_float=search.written.kept)
    assert path.read_bytes() == named.read_bytes()
    assert Segmenter(path).card.recipe == "int8"


def test_a_target_that_int8_reaches_keeps_nothing(
    onnx_models: Models, photos: Path, tmp_path: Path, known: Callable[[float], None]
) -> None:
    """The file is the plain one, and nothing is ranked; the user's own layers stay as they were asked for."""
    known(0.95)
    plain = onnx_models.get(input_type="uint8")
    options = {"calibration": photos, "num_calibration": 4}
    for kept in ((), ("class_head/_convs/0",)):
        done = quantize_file(plain, tmp_path / "x.onnx", "int8", target_agreement=0.5, keep_float=kept, **options)  # type: ignore[arg-type]
        assert done.search is not None
        assert [mix.kept for mix in (*done.search.tried, done.search.written)] == [(), ()]
        quantize_file(plain, tmp_path / "named.onnx", "int8", keep_float=kept, **options)  # type: ignore[arg-type]
        assert (tmp_path / "x.onnx").read_bytes() == (tmp_path / "named.onnx").read_bytes()


def test_nothing_is_written_where_no_mix_suffices(
    onnx_models: Models, photos: Path, tmp_path: Path, known: Callable[[float], None]
) -> None:
    known(0.95)
    with pytest.raises(MaskConverError, match=r"0.99: not reached, nothing written; with every layer in float 0.9500"):
        quantize_file(
            onnx_models.get(input_type="uint8"),
            tmp_path / "x.onnx",
            "int8",
            calibration=photos,
            num_calibration=2,
            target_agreement=0.99,
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target_agreement": 1.5}, r"--target-agreement 1.5: give a share of pixels above 0 and up to 1"),
        ({"target_agreement": 0}, r"--target-agreement 0: give a share"),
        ({"recipe": "dynamic"}, "chooses among integer layers, and recipe dynamic has none; choose recipe int8"),
        ({"calibration": None}, "recipe int8 needs calibration images; give a folder of them with --calibration"),
        ({"gate": Path("nowhere")}, "nowhere: no such image"),
    ],
)
def test_bad_requests(onnx_models: Models, photos: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    request = {"recipe": "int8", "calibration": photos, "target_agreement": 0.9, **change}
    with pytest.raises(MaskConverError, match=message):
        quantize_file(onnx_models.get(), tmp_path / "x.onnx", **request)
    assert not list(tmp_path.iterdir())


def test_command_line(
    onnx_models: Models,
    photos: Path,
    tmp_path: Path,
    known: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    known(0.95)
    plain, output = onnx_models.get(input_type="uint8"), tmp_path / "x.onnx"
    request = ("quantize", plain, "--calibration", photos, "--num-calibration", 4)
    wanted = (*request, "--output", output, "--target-agreement", 0.9)
    assert run(monkeypatch, *wanted, "--json", tmp_path / "x.json") == 0
    shown = capfd.readouterr().out.splitlines()
    assert shown[0] == "# int8 to 0.9 of the stable pixels of 12 images"
    assert shown[1] == "mix\tfloat layers\tstable, %\tall, %\theads, dB\tMB\tinteger, %\tfloat, %"
    assert shown[2].startswith("tried\t0\t50.00\t40.00\t")
    assert shown[2].endswith("\t100.0\t0.0")
    kept = next(line for line in shown if line.startswith("kept float: "))
    assert PART in " ".join(shown[shown.index(kept) : -2])
    assert shown[-2].startswith(f"{output}  ")
    assert "held aside" in shown[-1]
    document = json.loads((tmp_path / "x.json").read_text())
    assert (document["schema"], document["recipe"], document["bytes"]) == (1, "int8", output.stat().st_size)
    assert document["changed_share"] is None
    assert document["verdict"]["held_aside"]
    assert document["search"]["written"]["stable"] == 0.95
    assert document["search"]["tried"][0]["kept"] == []

    monkeypatch.setattr(target.StaticModel, "layers", ["class_head/_convs/0", "decoder/aspp"])
    assert run(monkeypatch, *request, "--analyse", "--json", "-") == 0
    document = json.loads(capfd.readouterr().out)
    assert {layer["layer"] for layer in document["layers"]} == {"class_head/_convs/0", "decoder/aspp"}
    assert sum(layer["work"] for layer in document["layers"]) == pytest.approx(1)
    assert document["total"] > 0


def test_tables_fit_into_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from maskconver_mobile.cli.mixes import show_search, show_sensitivity
    from maskconver_mobile.converters.quantization.sensitivity import LayerSensitivity, Sensitivity

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    long = "decoder/aspp/aspp_layers/4/layer_with_weights-0/layer_with_weights-0"
    show_sensitivity(Sensitivity(31.2, (LayerSensitivity(long, 63.21, -0.01, 0.0512, 1),), 10**9, 10**7), "int8")
    mix = Mix(("a",) * 87, 0.9999, 0.9999, 200, 25_220_000, 1)
    show_search(target.Search(0.975, 32, (mix,), replace(mix, kept=("a",))), "int8-balanced")
    shown = capsys.readouterr().out.splitlines()
    assert max(map(len, shown)) <= 80
    text = "".join(line[1:-1].replace(" ", "") for line in shown)
    for number in ("63.2", "-0.01", "5.12", "100.00", "99.99", "200.0", "25.22"):
        assert number in text, number
    cells = [line.split("│")[1].strip() for line in shown if line.startswith("│")]
    assert long in "".join(cells)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_the_bundled_model(suffix: str, shared: Path, tmp_path: Path) -> None:
    """More of it stays float where more is asked, and an image folder alone is enough."""
    from models import DEMO_CHECKPOINT, DEMO_CONFIG

    from maskconver_mobile.converters.convert import convert

    plain = tmp_path / f"plain{suffix}"
    convert(DEMO_CONFIG, DEMO_CHECKPOINT, plain)
    images = shared / "coco" / "train" / "images"
    work = []
    for wanted in (0.9, 0.97):
        done = quantize_file(
            plain, tmp_path / f"x{suffix}", "int8", calibration=images, num_calibration=16, target_agreement=wanted
        )
        assert done.search is not None
        assert done.search.written.stable >= wanted
        assert done.search.images == 32
        work.append(done.search.written.float_work)
    assert work[0] <= work[1] < 0.5
    assert np.isfinite([mix.snr_db for mix in done.search.tried]).all()
