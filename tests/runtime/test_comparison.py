import json
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from maskconver_mobile.card import Category, ModelCard
from maskconver_mobile.cli.compare import command
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.comparison import IDENTICAL_DB, Comparison, compare, match_proposals, tensor_errors
from maskconver_mobile.formats.runtimes import Tensors
from maskconver_mobile.inference.image import ImageSource, load_image
from maskconver_mobile.result import PanopticResult, from_maps
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

CAT, SKY = 1, 30
CARD = ModelCard(
    name="canned",
    level="masks",
    target="reference",
    recipe="float32",
    input_size=(4, 8),
    input_type="uint8",
    mean=(0, 0, 0),
    std=(1, 1, 1),
    output_size=(4, 8),
    num_instances=3,
    num_classes=31,
    object_mask_threshold=0.01,
    overlap_threshold=0.7,
    small_area_threshold=0,
    hard_sigmoid=False,
    categories=(Category(CAT, "cat", True, (255, 0, 0)), Category(SKY, "sky", False, (0, 0, 255))),
)
MASKS = ("11110000", "00111111", "00000011")


class Canned(Segmenter):
    """A model that gives the same answer to any image of 8 x 1 pixels."""

    def __init__(self, categories: str = "11110333", instances: str = "11110000") -> None:
        self.card = CARD
        self.category_map, self.instance_map = (
            np.array([[*map(int, row)]], np.int32) for row in (categories, instances)
        )
        self.category_map[self.category_map == 3] = SKY
        self.outputs: Tensors = proposals([CAT, CAT, SKY], MASKS)

    def segment_with_outputs(self, image: ImageSource) -> tuple[PanopticResult, Tensors]:
        return self.segment(image), self.outputs

    def segment(self, image: ImageSource) -> PanopticResult:
        classes, scores = self.outputs["classes"][0].astype(np.int32), self.outputs["scores"][0].astype(np.float32)
        maps = self.category_map, self.instance_map
        return from_maps(*maps, classes, scores, load_image(image), CARD.categories, {})


def proposals(classes: list[int], masks: tuple[str, ...]) -> Tensors:
    """Masks of 8 x 1 pixels: logits 2 within and -3 outside."""
    logits = np.array([[5.0 * int(c) - 3 for c in row] for row in masks], np.float32).T[None, None]
    scores = np.array([[0.9, 0.6, 0.3]], np.float32)
    return {"classes": np.array([classes], np.int32), "scores": scores, "mask_logits": logits}


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "images"
    folder.mkdir()
    files = [folder / name for name in ("a.png", "b.bmp")]
    for file in files:
        Image.new("RGB", (8, 1)).save(file)
    return files


def measures(a: Segmenter, b: Segmenter, images: list[Path]) -> dict[str, float]:
    return compare(a, b, images[:1]).images[0].measures


def test_tensor_errors_of_known_vectors() -> None:
    found = tensor_errors(np.array([3.0, 4.0]), np.array([3.0, 4.5]))
    assert found == pytest.approx({"cosine": 27 / (5 * 29.25**0.5), "snr_db": 20, "max_abs": 0.5})


def test_tensor_errors_at_their_limits() -> None:
    ones, zeros = np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)
    assert tensor_errors(ones, ones) == pytest.approx({"cosine": 1, "snr_db": IDENTICAL_DB, "max_abs": 0})
    assert tensor_errors(zeros, zeros) == pytest.approx({"cosine": 1, "snr_db": IDENTICAL_DB, "max_abs": 0})
    assert tensor_errors(zeros, ones) == pytest.approx({"cosine": 0, "snr_db": -IDENTICAL_DB, "max_abs": 1})
    assert tensor_errors(ones, zeros) == pytest.approx({"cosine": 0, "snr_db": 0, "max_abs": 1})


MATCHES: dict[str, tuple[list[int], tuple[str, ...], list[list[int]]]] = {
    "the same": ([CAT, CAT, SKY], MASKS, [[0, 0], [1, 1], [2, 2]]),
    "in another order": ([SKY, CAT, CAT], MASKS[::-1], [[0, 2], [1, 1], [2, 0]]),
    "another class": ([CAT, SKY, SKY], MASKS, [[0, 0], [2, 2]]),
    "half a mask": ([CAT, CAT, SKY], ("11000000", *MASKS[1:]), [[1, 1], [2, 2]]),
    "one for two": ([CAT, CAT, SKY], ("11110000", "11100000", "00000011"), [[0, 0], [2, 2]]),
    "the better of two": ([CAT, CAT, SKY], ("11100000", "11110000", "00000011"), [[0, 1], [2, 2]]),
    "an empty mask": ([CAT, CAT, SKY], (*MASKS[:2], "00000000"), [[0, 0], [1, 1]]),
}


@pytest.mark.parametrize("case", MATCHES)
def test_proposals_match_by_class_and_mask(case: str) -> None:
    classes, masks, expected = MATCHES[case]
    found = match_proposals(proposals([CAT, CAT, SKY], MASKS), proposals(classes, masks))
    assert found is not None
    assert found.tolist() == expected


def test_two_empty_masks_match() -> None:
    empty = proposals([CAT, CAT, SKY], ("00000000",) * 3)
    found = match_proposals(empty, proposals([SKY, CAT, SKY], ("00000000",) * 3))
    assert found is not None
    assert found.tolist() == [[0, 1], [2, 0]]


def test_proposals_without_masks_match_by_class_and_unlike_masks_do_not_compare() -> None:
    whole = proposals([CAT, CAT, SKY], MASKS)
    bare = {name: whole[name] for name in ("classes", "scores")}
    found = match_proposals(bare, {**bare, "classes": np.array([[SKY, SKY, CAT]], np.int32)})
    assert found is not None
    assert found.tolist() == [[0, 2], [2, 0]]
    assert match_proposals(whole, bare) is None
    assert match_proposals(whole, {**whole, "mask_logits": whole["mask_logits"][:, :, ::2]}) is None


def test_equal_models_agree_wholly(images: list[Path]) -> None:
    found = measures(Canned(), Canned(), images)
    exact = {"cosine": 1.0, "snr_db": IDENTICAL_DB, "max_abs": 0.0}
    tensors = {f"{name}.{key}": value for name in ("scores", "mask_logits") for key, value in exact.items()}
    shares = dict.fromkeys(("pixel_agreement", "segment_overlap", "matched_iou", "top_k_overlap"), 1.0)
    assert found == pytest.approx(shares | tensors)


def test_a_real_model_agrees_with_itself() -> None:
    model = Segmenter(DEFAULT_MODEL)
    found = measures(model, model, [DEFAULT_MODEL.parent / "astronaut.jpg"])
    assert found["mask_logits.snr_db"] == IDENTICAL_DB
    assert (found["pixel_agreement"], found["matched_iou"], found["top_k_overlap"]) == (1, 1, 1)


def test_each_model_runs_once_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[object] = []
    original = Segmenter.run_tensor

    def counted(self: Segmenter, tensor: NDArray[np.generic]) -> Tensors:
        runs.append(self)
        return original(self, tensor)

    monkeypatch.setattr(Segmenter, "run_tensor", counted)
    models = [Segmenter(DEFAULT_MODEL) for _ in range(2)]
    compare(*models, [DEFAULT_MODEL.parent / "astronaut.jpg"])
    assert [runs.count(model) for model in models] == [1, 1]


def test_proposals_in_another_order_are_the_same_proposals(images: list[Path]) -> None:
    other = Canned()
    other.outputs = {name: tensor[..., [2, 0, 1]] for name, tensor in other.outputs.items()}
    found = measures(Canned(), other, images)
    assert found["top_k_overlap"] == 1
    assert (found["scores.max_abs"], found["mask_logits.max_abs"]) == (0, 0)


def test_a_model_that_strays_is_measured(images: list[Path]) -> None:
    """One pixel of the cat became void, and the sky became another cat; one proposal is lost, one score moved."""
    other = Canned("11100111", "11100222")
    other.outputs = proposals([CAT, SKY, SKY], MASKS)
    other.outputs["scores"] = np.array([[0.8, 0.6, 0.3]], np.float32)
    found = measures(Canned(), other, images)
    assert found["pixel_agreement"] == pytest.approx(4 / 8)
    assert found["segment_overlap"] == pytest.approx(2 * 1 / 4)
    assert found["matched_iou"] == pytest.approx(3 / 4)
    assert found["top_k_overlap"] == pytest.approx(2 / 3)
    assert found["scores.max_abs"] == pytest.approx(0.1)
    assert found["mask_logits.max_abs"] == 0


def test_models_without_any_segment_agree(images: list[Path]) -> None:
    found = measures(Canned("00000000", "00000000"), Canned("00000000", "00000000"), images)
    assert (found["pixel_agreement"], found["segment_overlap"]) == (1, 1)
    assert "matched_iou" not in found


def test_models_that_share_no_tensors_still_compare_by_pixels(images: list[Path]) -> None:
    other = Canned()
    other.outputs = {name: other.outputs[name] for name in ("classes", "scores")}
    other.outputs["category_map"] = other.category_map[None]
    found = measures(Canned(), other, images)
    assert found["pixel_agreement"] == 1
    assert "top_k_overlap" not in found
    assert not [name for name in found if name.startswith(("scores", "mask_logits"))]


def test_summary_gives_mean_and_worst(images: list[Path]) -> None:
    first, second = compare(Canned(), Canned(), images).images
    bad = {**second.measures, "pixel_agreement": 0.5, "mask_logits.max_abs": 3.0}
    found = Comparison((first, replace(second, measures=bad)), ())
    agreement, error = found.summary()["pixel_agreement"], found.summary()["mask_logits.max_abs"]
    assert (agreement.mean, agreement.worst, agreement.worst_image) == (0.75, 0.5, images[1])
    assert (error.mean, error.worst, error.worst_image) == (1.5, 3.0, images[1])
    assert (agreement.p10, error.p10) == (pytest.approx(0.55), pytest.approx(2.7))
    assert found.agreement == 0.75


class Wavering(Canned):
    """Sees the same in every image, but for noisy ones, where the first half of the picture turns to sky."""

    def segment(self, image: ImageSource) -> PanopticResult:
        result = super().segment(image)
        if not load_image(image).any():
            return result
        categories = np.where(np.arange(8) < 4, SKY, self.category_map).astype(np.int32)
        maps = categories, np.where(categories == CAT, 1, 0).astype(np.int32)
        outputs = self.outputs["classes"][0].astype(np.int32), self.outputs["scores"][0].astype(np.float32)
        return from_maps(*maps, *outputs, load_image(image), CARD.categories, {})


def test_stable_pixels_are_those_the_first_model_is_sure_of(images: list[Path]) -> None:
    """The reference wavers on four of its eight pixels; the other model changes two of these and one more."""
    other = Canned("11330033", "11000000")
    found = compare(Wavering(), other, images[:1], stable=True).images[0].measures
    assert found["pixel_agreement"] == pytest.approx(5 / 8)
    assert found["stable_share"] == pytest.approx(4 / 8)
    assert found["stable_agreement"] == pytest.approx(3 / 4)
    assert "stable_agreement" not in compare(Wavering(), other, images[:1]).images[0].measures


def test_no_stable_pixel_is_no_agreement(images: list[Path]) -> None:
    class Lost(Wavering):
        def segment(self, image: ImageSource) -> PanopticResult:
            return (Canned("33333333", "00000000") if load_image(image).any() else self.sure).segment(image)

        sure = Canned("11111111", "11111111")

    found = compare(Lost(), Canned(), images, stable=True)
    assert found.images[0].measures["stable_share"] == 0
    assert "stable_agreement" not in found.summary()
    assert found.stable_agreement is None


def test_heads_that_are_equal_have_a_finite_ratio(images: list[Path]) -> None:
    heads = Canned()
    heads.outputs["class_heatmap"] = np.ones((1, 2, 2, 3), np.float32)
    found = compare(heads, heads, images)
    assert found.summary()["class_heatmap.snr_db"].mean == IDENTICAL_DB
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["summary"]["class_heatmap.snr_db"]["p10"] == 200


def test_unreadable_images_are_named_and_skipped(images: list[Path]) -> None:
    images[0].write_text("text")
    found = compare(Canned(), Canned(), images)
    assert [one.image for one in found.images] == images[1:]
    ((path, reason),) = found.skipped
    assert path == images[0]
    assert "a.png" in reason
    with pytest.raises(MaskConverError, match=r"none of 1 images can be read \(first: .*a\.png"):
        compare(Canned(), Canned(), images[:1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(images: list[Path], value: float) -> None:
    other = Canned()
    other.outputs["scores"] = np.array([[0.9, value, 0.3]], np.float32)
    with pytest.raises(MaskConverError, match="NaN or infinity in scores"):
        compare(Canned(), other, images)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files: `good`, and `bad`, which agrees on 4 of 8 pixels."""
    known = {"good": Canned(), "bad": Canned("11100111", "11100222")}
    monkeypatch.setattr("maskconver_mobile.segmenter.Segmenter", lambda path, **_: known[path.name])


def run(*arguments: str) -> object:
    return command.main(list(arguments), standalone_mode=False)


@pytest.mark.usefixtures("models")
def test_command_reports_and_writes_json(
    images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images[0].parent / "c.jpg").write_text("text")
    file = tmp_path / "comparison.json"
    assert run("good", "bad", "--images", str(images[0].parent), "--json", str(file)) == 0
    out, err = capsys.readouterr()
    assert "pixel_agreement" in out
    assert "0.5000" in out
    assert "skipped 1 of 3 images" in err
    found = json.loads(file.read_text())
    assert (found["schema"], found["a"], found["b"]) == (1, "good", "bad")
    assert [Path(one["image"]).name for one in found["images"]] == ["a.png", "b.bmp"]
    assert found["images"][0]["measures"]["pixel_agreement"] == 0.5
    expected = {"mean": 0.5, "p10": 0.5, "worst": 0.5, "worst_image": str(images[0])}
    assert found["summary"]["pixel_agreement"] == found["summary"]["stable_agreement"] == expected
    assert Path(found["skipped"][0]["image"]).name == "c.jpg"


@pytest.mark.usefixtures("models")
def test_several_models_are_compared_with_the_first(
    images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "comparison.json"
    folder = str(images[0].parent)
    assert run("good", "good", "bad", "--images", folder, "--min-agreement", "0.9", "--json", str(file)) == 1
    out, err = capsys.readouterr()
    assert "# Agreement of bad\n" in out
    assert err == "bad: agreement 0.5000 with good is below 0.9\n"
    found = json.loads(file.read_text())
    assert [(one["a"], one["b"]) for one in found["comparisons"]] == [("good", "good"), ("good", "bad")]
    assert [one["summary"]["pixel_agreement"]["mean"] for one in found["comparisons"]] == [1, 0.5]


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(("model", "least", "code"), [("good", "1.0", 0), ("bad", "0.5", 0), ("bad", "0.51", 1)])
def test_min_agreement_is_a_gate(
    model: str, least: str, code: int, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("good", model, "--images", str(images[0].parent), "--min-agreement", least) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines == (["bad: agreement 0.5000 with good is below 0.51"] if code else [])


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(("least", "code"), [("0.5", 0), ("0.51", 1)])
def test_min_stable_agreement_is_a_gate(
    least: str, code: int, images: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("good", "bad", "--images", str(images[0].parent), "--min-stable-agreement", least) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines == (["bad: agreement on stable pixels 0.5000 with good is below 0.51"] if code else [])


@pytest.mark.usefixtures("models")
def test_command_takes_only_so_many_images(images: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    run("good", "good", "--images", str(images[0].parent), "--limit", "1")
    out = capsys.readouterr().out
    assert "a.png" in out
    assert "b.bmp" not in out


@pytest.mark.usefixtures("models")
def test_command_refuses_what_it_cannot_use(images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MaskConverError, match="empty: no images"):
        run("good", "good", "--images", str(tmp_path / "empty"))
    with pytest.raises(click.BadParameter, match=r"1\.5"):
        run("good", "good", "--images", str(images[0].parent), "--min-agreement", "1.5")
