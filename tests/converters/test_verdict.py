"""What a quantization says of itself: on which images, how much of the answer is kept, and when to doubt it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import Models
from PIL import Image

from maskconver_mobile.card import ModelCard, Verdict
from maskconver_mobile.cli.progress import show_verdict
from maskconver_mobile.converters.backends.registry import backend_of
from maskconver_mobile.converters.quantization import quantize_file as quantizing
from maskconver_mobile.converters.quantization.calibration import CalibrationSet, spread
from maskconver_mobile.converters.quantization.quantize_file import Quantized, quantize_file
from maskconver_mobile.converters.quantization.verdict import doubts
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.comparison import compare
from maskconver_mobile.inference.image import Letterbox, load_image
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

VERDICT = Verdict(12, True, 0.94, 0.96, 0.9, {"scores": 31.5})
DAY, NIGHT = (120.0, 110.0, 100.0, 60.0), (12.0, 11.0, 10.0, 6.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten crops of a photograph."""
    folder = tmp_path_factory.mktemp("photos")
    pixels = load_image(DEFAULT_MODEL.with_name("astronaut.jpg"))
    for i in range(10):
        Image.fromarray(pixels[25 * i : 25 * i + 200, 20 * i : 20 * i + 240]).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return Segmenter().card


def calibration(count: int, look: tuple[float, ...] = DAY) -> CalibrationSet:
    inputs = tuple(np.full((1, 2, 2, 3), i, np.uint8) for i in range(count))
    paths = tuple(Path(f"{i}.png") for i in range(count))
    letterbox = Letterbox.fit((2, 2), (2, 2))
    return CalibrationSet(inputs, paths=paths, letterboxes=(letterbox,) * count, looks=(look,) * count)


@pytest.mark.parametrize(
    ("total", "taken", "calibrated", "aside"),
    [
        (1, 1, 1, 0),
        (9, 9, 9, 0),
        (10, 10, 8, 2),
        (64, 64, 52, 12),
        (96, 64, 64, 32),
        (9, 2, 2, 7),
        (70, 64, 56, 14),
        (232, 200, 200, 32),
    ],
)
def test_images_are_held_aside(total: int, taken: int, calibrated: int, aside: int) -> None:
    data = replace(calibration(total), skipped=((Path("x"), "broken"),))
    chosen, others = data.hold_aside(spread(data.paths, taken))
    assert (len(chosen.inputs), len(others.inputs)) == (calibrated, aside)
    assert sorted(chosen.paths + others.paths) == sorted(data.paths)
    assert chosen.skipped == data.skipped
    assert all(image.flat[0] == int(path.stem) for image, path in zip(others.inputs, others.paths, strict=True))
    if aside == total - taken:
        assert list(chosen.paths) == spread(data.paths, taken)


def test_copies_are_not_held_aside() -> None:
    once = calibration(12)
    twice = replace(once, inputs=(once.inputs[0],) * 12)
    chosen, others = twice.hold_aside(twice.paths[:6])
    assert (len(chosen.inputs), len(others.inputs)) == (6, 0)
    assert twice.overlaps(once)
    assert not once._only(range(3)).overlaps(once._only(range(3, 6)))


@pytest.mark.parametrize(("option", "value"), [("max_loss", float("nan")), ("max_loss", -1), ("num_calibration", 0)])
def test_values_that_mean_nothing(models: Models, tmp_path: Path, option: str, value: float) -> None:
    with pytest.raises(MaskConverError, match=f"--{option.replace('_', '-')} .*: give a"):
        quantize_file(models.get(), tmp_path / "x.tflite", "float16", **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".tflite", ".onnx", ".ort"])
def test_the_verdict_is_of_images_held_aside_and_stands_in_the_card(
    suffix: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Models(tmp_path, ".tflite" if suffix == ".tflite" else ".onnx").get(input_type="uint8")
    measured: list[Any] = []

    def watched(a: Segmenter, b: Segmenter, images: list[Path], *rest: Any, **options: Any) -> Any:
        measured.extend((b._path.read_bytes(), b.card, list(images)))
        return compare(a, b, images, *rest, **options)

    monkeypatch.setattr(quantizing, "compare", watched)
    output = tmp_path / f"int8{suffix}"
    done = quantize_file(plain, output, "int8", calibration=photos)
    content, card, images = measured
    assert [path.name for path in images] == ["4.png", "9.png"]
    assert done.verdict is not None
    assert Segmenter(output).card == done.card == replace(card, verdict=done.verdict)
    assert (done.verdict.images, done.verdict.held_aside, done.loss) == (2, True, None)
    found = compare(Segmenter(plain), Segmenter(output), images, stable=True)
    assert done.verdict.agreement == pytest.approx(found.agreement, abs=1e-4)
    assert done.verdict.stable_agreement == pytest.approx(found.stable_agreement, abs=1e-4)
    assert done.verdict.segment_overlap == pytest.approx(found.summary()["segment_overlap"].mean, abs=1e-4)
    assert done.verdict.snr_db["mask_logits"] == pytest.approx(found.summary()["mask_logits.snr_db"].mean, abs=0.1)
    if suffix != ".ort":  # whose order is its own
        finish = backend_of(output).finish
        assert finish(output.read_bytes(), card) == finish(content, card)
        assert output.read_bytes() != content


def test_few_images_are_judged_by_themselves(models: Models, photos: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for i in range(3):
        shutil.copy(photos / f"{i}.png", few)
    plain, output = models.get("heads", input_type="uint8"), tmp_path / "x.tflite"
    done = quantize_file(plain, output, "int8", calibration=few)
    assert done.verdict is not None
    assert (done.verdict.images, done.verdict.held_aside) == (3, False)
    assert done.verdict.snr_db.keys() == {"class_heatmap", "mask_embedding_map", "pixel_embeddings"}
    assert str(done.verdict).endswith("(3 images of the calibration itself)")
    other = quantize_file(plain, output, "int8", calibration=few, gate=photos / "9.png", max_loss=1)
    assert other.verdict is not None
    assert (other.verdict.images, other.verdict.held_aside) == (1, True)
    assert other.verdict.agreement == pytest.approx(1 - (other.loss or 0), abs=1e-4)


def test_the_gate_sees_all_its_images_and_the_verdict_some(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    gate.mkdir()
    for i in range(34):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(gate / f"{i:02}.png")
    seen = []

    def watched(a: Segmenter, b: Segmenter, images: list[Path], *_: Any, **options: Any) -> Any:
        seen.append((len(images), options["stable"]))
        return compare(a, b, images)

    monkeypatch.setattr(quantizing, "compare", watched)
    done = quantize_file(models.get(), tmp_path / "x.tflite", "float16", gate=gate, max_loss=1)
    assert seen == [(32, True), (34, False)]
    assert done.verdict is not None
    assert done.loss is not None


def test_without_images_nobody_knows(models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = quantize_file(models.get(), tmp_path / "x.tflite", "float16")
    assert done.verdict is None
    assert done.notes == ("nothing was measured; give images with --gate to learn how much of the answer is kept",)
    show_verdict(done)
    assert capsys.readouterr().out == ""


def test_a_verdict_in_words(card: ModelCard, capsys: pytest.CaptureFixture[str]) -> None:
    show_verdict(Quantized(replace(card, verdict=VERDICT), (), 0.05))
    assert capsys.readouterr().out == (
        "keeps 94.0% of the pixels, 96.0% of the stable ones, 90.0% of the segments, scores 31.5 dB "
        "(12 images held aside)\npasses the gate: changes 5.0% of the pixels\n"
    )
    one = Verdict(1, True, 1, None, 0.5)
    assert str(one) == "keeps 100.0% of the pixels, 50.0% of the segments (1 image held aside)"


@pytest.mark.parametrize(
    ("count", "different", "look", "said"),
    [
        (10, 10, DAY, ()),
        (7, 7, DAY, ("7 different calibration images tell little; give 8 or more",)),
        (20, 3, DAY, ("3 different calibration images tell little; give 8 or more",)),
        (20, 9, DAY, ("only 9 of 20 calibration images are different; give others",)),
        (
            10,
            10,
            (0, 0, 0, 3.9),
            ("10 of 10 calibration images show next to nothing; give some as in later use",),
        ),
    ],
)
def test_images_that_tell_little(count: int, different: int, look: tuple[float, ...], said: tuple[str, ...]) -> None:
    data = calibration(count, look)
    inputs = tuple(data.inputs[i % different] for i in range(count))
    assert replace(data, inputs=inputs).doubts == said


def test_images_that_look_unlike_those_of_the_calibration(card: ModelCard) -> None:
    card = replace(card, recipe="int8", verdict=VERDICT)
    night, day = calibration(10, NIGHT), calibration(5)
    assert night.unlike(day) == 5
    assert night.unlike(calibration(3, tuple(value + 20 for value in NIGHT))) == 0
    assert doubts(card, night, day) == (
        "5 of 5 images checked look unlike all calibration images; calibrate on such, too",
    )
    mixed = replace(night, looks=(NIGHT, *night.looks[1:8], DAY, DAY))
    assert doubts(card, mixed, day) == ()
    assert doubts(card, CalibrationSet(), day) == ()


@pytest.mark.parametrize(
    ("recipe", "ways"),
    [
        (
            "int8",
            "recipe int8-balanced, more calibration images, --target-agreement, --keep-float (--analyse names layers)",
        ),
        ("int8-balanced", "more calibration images, --target-agreement, --keep-float (--analyse names layers)"),
        ("dynamic", "--keep-float"),
    ],
)
def test_a_poor_verdict_names_the_ways_out(card: ModelCard, recipe: str, ways: str) -> None:
    data = calibration(8)
    poor = replace(card, recipe=recipe, verdict=replace(VERDICT, stable_agreement=0.949))
    assert doubts(poor, data, data) == (f"only 94.9% of the stable pixels keep their category; try {ways}",)
    for enough in (0.95, None):
        assert doubts(replace(poor, verdict=replace(VERDICT, stable_agreement=enough)), data, data) == ()


def test_a_card_keeps_its_verdict(card: ModelCard) -> None:
    assert card.verdict is None
    assert "verdict" not in json.loads(card.to_json())
    for verdict in (VERDICT, replace(VERDICT, stable_agreement=None, held_aside=False, snr_db={})):
        judged = replace(card, verdict=verdict)
        assert ModelCard.from_json(judged.to_json(), "x") == judged


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 0}, "verdict.images: expected a number from 1 on"),
        ({"agreement": 1.1}, "verdict.agreement: expected a number from 0 to 1"),
        ({"stable_agreement": -0.1}, "verdict.stable_agreement: expected a number from 0 to 1"),
        ({"segment_overlap": None}, "verdict.segment_overlap is None; expected a number"),
        ({"snr_db": {"scores": 201}}, "verdict.snr_db: expected up to 200 dB by a short name"),
        ({"snr_db": {"x" * 301: 1}}, "verdict.snr_db: expected up to 200 dB by a short name"),
        ({"held_aside": 1}, "verdict.held_aside is 1; expected true or false"),
    ],
)
def test_a_verdict_that_cannot_be(card: ModelCard, change: dict[str, Any], message: str) -> None:
    raw = json.loads(replace(card, verdict=VERDICT).to_json())
    raw["verdict"] |= change
    with pytest.raises(MaskConverError, match=rf"m\.tflite: its model card is malformed \({message}"):
        ModelCard.from_json(json.dumps(raw), "m.tflite")
