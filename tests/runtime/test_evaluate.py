import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupts import interruptible
from PIL import Image
from pngs import png_header

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.coco import GroundTruth, read_ground_truth, read_predictions
from maskconver_mobile.evaluation.evaluate import evaluate
from maskconver_mobile.evaluation.workers import process_map
from maskconver_mobile.result import PanopticResult, from_maps
from maskconver_mobile.segmenter import DEFAULT_MODEL, segment

CATEGORIES = [
    {"id": 1, "name": "cat", "isthing": 1, "supercategory": "animal"},
    {"id": 30, "name": "sky", "isthing": 0, "supercategory": "outdoor"},
]
TRUTH = {1: ["aass", "aass"], 2: ["aaas", "...s"], 3: ["ssss", "ssss"]}
PERFECT, HALF = {"a": 5, "s": 70_000}, {"a": 5, "s": 0}
CATEGORY = {"a": 1, "s": 30}


class TinySet:
    """A data set in COCO's format: three images of 4 x 2 pixels."""

    def __init__(self, root: Path, first_id: int = 1) -> None:
        self.images, self.panoptic, self.annotations = (
            root / "images",
            root / "panoptic",
            root / "panoptic.json",
        )
        self.images.mkdir(parents=True)
        shift = first_id - 1
        for number in TRUTH:
            Image.new("RGB", (4, 2)).save(self.images / f"{number + shift}.jpg")
        self.content: dict[str, Any] = {
            "images": [{"id": n + shift, "file_name": f"{n + shift}.jpg", "width": 4, "height": 2} for n in TRUTH],
            "categories": CATEGORIES,
            **write_panoptic(self.panoptic, PERFECT, shift),
        }
        self.save()

    def save(self) -> None:
        self.annotations.write_text(json.dumps(self.content))

    def read(self, limit: int | None = None) -> GroundTruth:
        return read_ground_truth([self.images], [self.annotations], [self.panoptic], limit=limit)

    @property
    def options(self) -> list[str]:
        folders = ("--images", str(self.images), "--panoptic-dir", str(self.panoptic))
        return [*folders, "--annotations", str(self.annotations)]


def write_panoptic(folder: Path, ids: dict[str, int], shift: int = 0) -> dict[str, Any]:
    """PNGs in which `ids` stand for the letters of TRUTH (0 leaves a segment out); returns the annotations."""
    folder.mkdir()
    annotations = []
    for number, rows in TRUTH.items():
        values = np.array([[ids.get(c, 0) for c in row] for row in rows])
        rgb = np.stack([values % 256, values // 256 % 256, values // 65536], -1).astype(np.uint8)
        Image.fromarray(rgb).save(folder / f"{number + shift}.png")
        segments = [
            {"id": i, "category_id": CATEGORY[c], "area": int((values == i).sum()), "iscrowd": 0}
            for c, i in ids.items()
            if i and (values == i).any()
        ]
        annotations.append(
            {"image_id": number + shift, "file_name": f"{number + shift}.png", "segments_info": segments}
        )
    return {"annotations": annotations}


@pytest.fixture
def tiny(tmp_path: Path) -> TinySet:
    return TinySet(tmp_path / "tiny")


@pytest.fixture
def predictions(tmp_path: Path) -> list[Path]:
    """Perfect ones, and ones without any sky."""
    files = []
    for name, ids in (("perfect", PERFECT), ("half", HALF)):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(write_panoptic(tmp_path / name, ids)))
    return files


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("maskconver-mobile")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "110"})


def test_figures_of_several_models(tiny: TinySet, predictions: list[Path]) -> None:
    found = evaluate(predictions, tiny.read())
    perfect, half = (one.quality for one in found)
    assert (perfect.all.pq, perfect.all.n) == (1, 2)
    assert (half.all.pq, half.things.pq, half.stuff.pq) == (0.5, 1, 0)
    assert half.per_class[1].false_negatives == 3


def test_models_are_compared_with_the_first(tiny: TinySet, predictions: list[Path]) -> None:
    """Without sky, 5 + 4 of 8 pixels of the first two images agree and none of the third."""
    first, half = evaluate(predictions, tiny.read())
    assert (first.comparison, first.difference) == (None, None)
    assert half.comparison is not None
    assert [one.measures for one in half.comparison.images] == [
        {"pixel_agreement": share} for share in (4 / 8, 6 / 8, 0)
    ]
    assert half.comparison.summary()["pixel_agreement"].worst_image.name == "3.jpg"
    assert half.difference is not None
    assert half.difference.low <= half.quality.all.pq - 1 <= half.difference.high < 0


def test_stable_pixels_need_a_model(predictions: list[Path], tiny: TinySet) -> None:
    with pytest.raises(MaskConverError, match=r"perfect\.json: stable pixels need a model"):
        evaluate(predictions, tiny.read(), stable=True)


FOUND = np.array([[1, 30]], np.int32)


class Painter:
    """Stands for a model: sees cats in rows of even index, and sky elsewhere."""

    def __init__(self, model: Path, *, num_threads: int) -> None:
        assert (model.name, num_threads) == ("model.tflite", 3)

    def segment(self, image: Path | np.ndarray) -> PanopticResult:
        pixels = image if isinstance(image, np.ndarray) else np.asarray(Image.open(image).convert("RGB"))
        cats = np.zeros(pixels.shape[:2], np.int32)
        cats[::2] = 1
        classes, scores = np.array([1, 30], np.int32), np.array([0.9, 0.8], np.float32)
        return from_maps(np.where(cats, 1, 30).astype(np.int32), cats, classes, scores, pixels, (), {})

    def segment_with_outputs(self, image: Path | np.ndarray) -> tuple[PanopticResult, dict[str, np.ndarray]]:
        return self.segment(image), {}


def test_a_model_file_is_run_on_each_image(tiny: TinySet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cat of the second image is found at 3/4; nothing else overlaps by more than half."""
    monkeypatch.setattr("maskconver_mobile.segmenter.Segmenter", Painter)
    (found,) = evaluate([Path("model.tflite")], tiny.read(), num_threads=3)
    cat, sky = found.quality.per_class
    assert (cat.true_positives, cat.false_positives, cat.false_negatives) == (1, 2, 1)
    assert cat.pq == pytest.approx((3 / 4) / (1 + 1 + 0.5))
    assert (sky.true_positives, sky.false_positives, sky.false_negatives) == (0, 2, 3)


def test_stable_pixels_and_heads_of_models(tiny: TinySet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first model paints cats in even rows; noise on its image takes the cats from the first column."""

    class Heads(Painter):
        def segment_with_outputs(self, image: Path | np.ndarray) -> tuple[PanopticResult, dict[str, np.ndarray]]:
            return self.segment(image), {"class_heatmap": np.full((1, 2, 2, 3), 2.0, np.float32), "classes": FOUND}

        def segment(self, image: Path | np.ndarray) -> PanopticResult:
            result = super().segment(image)
            if isinstance(image, Path):
                return result
            cats = (result.category_map == 1).astype(np.int32)
            cats[:, 0] = 0
            pixels, found = np.zeros((*cats.shape, 3), np.uint8), np.array([1, 30], np.int32)
            categories = np.where(cats, 1, 30).astype(np.int32)
            return from_maps(categories, cats, found, np.array([0.9, 0.8], np.float32), pixels, (), {})

    monkeypatch.setattr("maskconver_mobile.segmenter.Segmenter", Heads)
    _, other = evaluate([Path("model.tflite")] * 2, tiny.read(), num_threads=3, stable=True)
    assert other.comparison is not None
    measures = other.comparison.images[0].measures
    assert (measures["stable_share"], measures["stable_agreement"]) == (7 / 8, 1)
    assert measures["class_heatmap.snr_db"] == 200


def test_a_real_model_is_right_about_its_own_results(tmp_path: Path) -> None:
    """From photographs to figures, in two processes, with the model's own answer as the truth."""
    photo = DEFAULT_MODEL.parent / "astronaut.jpg"
    result = segment(photo)
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": c.id, "name": c.name, "isthing": c.is_thing} for c in result.categories]
    for number in (1, 2):
        shutil.copy(photo, tmp_path / f"{number}.jpg")
        png, annotation = result.to_coco(number, f"{number}.png")
        Image.fromarray(png).save(tmp_path / f"{number}.png")
        content["annotations"].append(annotation)
        content["images"].append({"id": number, "file_name": f"{number}.jpg"})
    (tmp_path / "panoptic.json").write_text(json.dumps(content))
    truth = read_ground_truth([tmp_path], [tmp_path / "panoptic.json"], [tmp_path])
    (found,) = evaluate([DEFAULT_MODEL], truth, workers=2)
    quality = found.quality
    assert (quality.all.pq, quality.all.n) == (1, len({s.category_id for s in result.segments}))
    assert sum(c.true_positives for c in quality.per_class) == 2 * len(result.segments) > 0


def test_worker_processes_give_the_same_figures(tiny: TinySet, predictions: list[Path]) -> None:
    seen: list[None] = []
    found = evaluate(predictions, tiny.read(), workers=2, on_image=lambda: seen.append(None))
    assert found == evaluate(predictions, tiny.read())
    assert len(seen) == 3


def test_errors_come_back_from_worker_processes(tiny: TinySet, predictions: list[Path]) -> None:
    (predictions[0].with_suffix("") / "2.png").unlink()
    with pytest.raises(MaskConverError, match=r"2\.png: no such panoptic PNG"):
        evaluate(predictions, tiny.read(), workers=2)


def test_command_prints_tables_and_writes_json(tiny: TinySet, predictions: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = run("evaluate", *map(str, predictions), *tiny.options, "--json", str(file), "--workers", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Panoptic quality of 3 images" in done.stdout
    assert "-50.00" in done.stdout
    assert "0.00 (-100.00)" in done.stdout
    assert "Agreement of categories" in done.stdout
    assert "with perfect.json" in done.stdout
    found = json.loads(file.read_text())
    assert (found["schema"], found["images"]) == (1, 3)
    assert [m["model"] for m in found["models"]] == list(map(str, predictions))
    assert found["models"][1]["all"] == {"pq": 0.5, "sq": 0.5, "rq": 0.5, "n": 2}
    assert found["models"][1]["per_class"]["30"] == {
        "label": "sky",
        "pq": 0,
        "sq": 0,
        "rq": 0,
        "true_positives": 0,
        "false_positives": 0,
        "false_negatives": 3,
    }
    assert "comparison" not in found["models"][0]
    assert found["models"][1]["pq_difference"]["high"] < 0
    assert found["models"][1]["comparison"]["summary"]["pixel_agreement"]["worst"] == 0


def test_command_for_one_model_lists_counts(tiny: TinySet, predictions: list[Path]) -> None:
    done = run("evaluate", str(predictions[1]), *tiny.options, "--limit", "2")
    assert done.returncode == 0
    assert "Panoptic quality of 2 images" in done.stdout
    sky = next(line for line in done.stdout.splitlines() if "sky" in line)
    assert sky.replace("│", " ").split() == ["30", "sky", "0.00", "0.00", "0.00", "0", "0", "2"]


def test_an_error_is_one_line_and_leaves_no_file(tiny: TinySet, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = run("evaluate", str(tmp_path / "none.json"), *tiny.options, "--json", str(file), "--workers", "2")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "none.json: cannot be read (No such file or directory)" in done.stderr
    assert not file.exists()


def test_sets_are_evaluated_as_one(tiny: TinySet, tmp_path: Path) -> None:
    other = TinySet(tmp_path / "other", first_id=11)
    pairs = [(s.images, s.annotations, s.panoptic) for s in (tiny, other)]
    truth = read_ground_truth(*zip(*pairs, strict=True), limit=4)
    assert [s.truth.image_id for s in truth.samples] == [1, 2, 3, 11]
    assert truth.samples[3].image == other.images / "11.jpg"


def test_sets_must_pair_up_share_categories_and_not_overlap(tiny: TinySet, tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match="do not pair up"):
        read_ground_truth([tiny.images], [tiny.annotations] * 2, [tiny.panoptic])
    with pytest.raises(MaskConverError, match="image_id 1 is there twice"):
        read_ground_truth([tiny.images] * 2, [tiny.annotations] * 2, [tiny.panoptic] * 2)
    other = TinySet(tmp_path / "other", first_id=11)
    other.content["categories"] = [*CATEGORIES, {"id": 5, "name": "bus", "isthing": 1}]
    other.save()
    with pytest.raises(MaskConverError, match="categories differ"):
        read_ground_truth(
            [tiny.images, other.images],
            [tiny.annotations, other.annotations],
            [tiny.panoptic, other.panoptic],
        )


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[TinySet], None]:
    def damage(tiny: TinySet) -> None:
        change(tiny.content)
        tiny.save()

    return damage


def _rewrite_png(mode: str) -> Callable[[TinySet], None]:
    return lambda tiny: Image.new(mode, (4, 2)).save(tiny.panoptic / "1.png")


BAD_TRUTH: dict[str, tuple[Callable[[TinySet], object], str]] = {
    "image missing": (
        lambda t: (t.images / "2.jpg").unlink(),
        r"2\.jpg: the image of an annotation is missing",
    ),
    "images missing": (lambda t: shutil.rmtree(t.images), r"1\.jpg: .* missing \(and 2 more\)"),
    "PNG missing": (lambda t: (t.panoptic / "3.png").unlink(), r"3\.png: the panoptic PNG .* is missing"),
    "PNG truncated": (
        lambda t: (t.panoptic / "1.png").write_bytes((t.panoptic / "1.png").read_bytes()[:50]),
        r"1\.png: not a readable PNG",
    ),
    "PNG is text": (lambda t: (t.panoptic / "1.png").write_text("text"), r"1\.png: not a readable PNG"),
    "PNG is grey": (_rewrite_png("L"), r"1\.png: a panoptic PNG is 8-bit RGB and this one is L"),
    "PNG of another image": (_rewrite_png("RGB"), r"1\.png: segments_info lists id 5, which no pixel has"),
    "id not listed": (
        _edit(lambda c: c["annotations"][1]["segments_info"].pop()),
        r"2\.png: pixels have .*id 70000",
    ),
    "JSON missing": (lambda t: t.annotations.unlink(), r"panoptic\.json: cannot be read"),
    "JSON cut off": (lambda t: t.annotations.write_text('{"images": ['), r"panoptic\.json: is not JSON"),
    "JSON nested too deeply": (lambda t: t.annotations.write_text("[" * 100_000), "is not JSON"),
    "JSON of another encoding": (lambda t: t.annotations.write_bytes(b'{"\xff": 1}'), "is not JSON"),
    "JSON list": (lambda t: t.annotations.write_text("[]"), "a JSON list, expected the object"),
    "no categories": (_edit(lambda c: c.pop("categories")), "key 'categories' is missing"),
    "images of another type": (_edit(lambda c: c.update(images=[1])), r"not COCO panoptic JSON"),
    "no segments": (_edit(lambda c: c["annotations"][0].pop("segments_info")), "'segments_info' is missing"),
    "segment id 0": (
        _edit(lambda c: c["annotations"][0]["segments_info"][0].update(id=0)),
        "segment id 0 is outside",
    ),
    "segment id as text": (
        _edit(lambda c: c["annotations"][0]["segments_info"][0].update(id="5")),
        "'5' where an integer belongs",
    ),
    "unknown category": (
        _edit(lambda c: c["annotations"][2]["segments_info"][0].update(category_id=9)),
        r"segment 70000 of 3\.png has category 9, which its categories lack",
    ),
    "unknown image": (_edit(lambda c: c["images"].pop()), "image_id 3 is not among its images"),
    "annotation twice": (
        _edit(lambda c: c["annotations"].append(c["annotations"][0])),
        "image_id 1 is there twice",
    ),
    "image twice": (_edit(lambda c: c["images"].append(c["images"][0])), "image 1 is there twice"),
    "category twice": (
        _edit(lambda c: c["categories"].append(c["categories"][0])),
        "category 1 is there twice",
    ),
    "isthing as text": (
        _edit(lambda c: c.update(categories=[CATEGORIES[0], {**CATEGORIES[1], "isthing": "0"}])),
        "isthing is '0'; expected 0 or 1",
    ),
    "iscrowd as text": (
        _edit(lambda c: c["annotations"][0]["segments_info"][0].update(iscrowd="0")),
        "iscrowd is '0'; expected 0 or 1",
    ),
    "id is a flag": (
        _edit(lambda c: c["annotations"][0]["segments_info"][0].update(category_id=True)),
        "True where an integer belongs",
    ),
    "area is no number": (
        _edit(lambda c: c["annotations"][0]["segments_info"][0].update(area=float("nan"))),
        "area is nan where a number belongs",
    ),
    "image outside its folder": (
        _edit(lambda c: c["images"][0].update(file_name="../1.jpg")),
        r"file_name '\.\./1\.jpg' is not below its folder",
    ),
    "PNG outside its folder": (
        _edit(lambda c: c["annotations"][0].update(file_name="/etc/1.png")),
        "file_name '/etc/1.png' is not below its folder",
    ),
    "PNG too large": (
        lambda t: (t.panoptic / "1.png").write_bytes(png_header(10_000, 10_000)),
        r"1\.png: has over 64 million pixels",
    ),
    "no images left": (_edit(lambda c: c["annotations"].clear()), "no annotated image is left"),
}


def test_areas_may_be_written_with_a_point(tiny: TinySet, predictions: list[Path]) -> None:
    for annotation in tiny.content["annotations"]:
        for info in annotation["segments_info"]:
            info["area"] = float(info["area"])
    tiny.save()
    assert evaluate(predictions, tiny.read())[0].quality.all.pq == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", BAD_TRUTH)
def test_bad_annotations_are_one_line(case: str, tiny: TinySet, predictions: list[Path]) -> None:
    damage, message = BAD_TRUTH[case]
    tiny.content["categories"] = list(CATEGORIES)
    damage(tiny)
    with pytest.raises(MaskConverError, match=message) as caught:
        evaluate(predictions, tiny.read())
    assert "\n" not in str(caught.value)


def test_json_has_a_bounded_size(tiny: TinySet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskconver_mobile.evaluation.coco.MAX_JSON_BYTES", 100)
    with pytest.raises(MaskConverError, match="more than the 100 that are read"):
        tiny.read()


BAD_PREDICTIONS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "image lacking": (lambda c: c["annotations"].pop(), r"perfect\.json: no prediction for image_id 3"),
    "image twice": (lambda c: c["annotations"].append(c["annotations"][0]), "image_id 1 is there twice"),
    "unknown category": (
        lambda c: c["annotations"][0]["segments_info"][0].update(category_id=9),
        r"1\.png: segment 5 has category 9, which the annotations do not know",
    ),
    "no annotations": (lambda c: c.pop("annotations"), "key 'annotations' is missing"),
    "PNG missing": (
        lambda c: c["annotations"][0].update(file_name="none.png"),
        r"none\.png: no such panoptic PNG",
    ),
}


@pytest.mark.parametrize("case", BAD_PREDICTIONS)
def test_bad_predictions_are_one_line(case: str, tiny: TinySet, predictions: list[Path]) -> None:
    change, message = BAD_PREDICTIONS[case]
    content = json.loads(predictions[0].read_text())
    change(content)
    predictions[0].write_text(json.dumps(content))
    with pytest.raises(MaskConverError, match=message) as caught:
        evaluate(predictions, tiny.read())
    assert "\n" not in str(caught.value)


def test_prediction_of_another_size(tiny: TinySet, predictions: list[Path]) -> None:
    stored = read_predictions(predictions[0])[1]
    Image.open(stored.png).resize((2, 2), Image.Resampling.NEAREST).save(stored.png)
    with pytest.raises(MaskConverError, match=r"1\.png: 2 x 2 pixels, but .*1\.png has 4 x 2"):
        evaluate(predictions, tiny.read())


def test_process_map_keeps_order_and_reports_a_dead_worker() -> None:
    with closing(process_map(abs, [-3, 2, -1, 0], 2)) as results:
        assert list(results) == [3, 2, 1, 0]
    with pytest.raises(MaskConverError, match="a worker process died"):
        list(process_map(os._exit, [1, 1, 1], 2))


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_leaves_no_process(tmp_path: Path, ending: signal.Signals) -> None:
    """Ctrl-C reaches the whole process group, as in a terminal; a kill reaches the parent alone."""
    script = tmp_path / "script.py"
    script.write_text(
        "import time\n"
        "from contextlib import closing\n"
        "from maskconver_mobile.evaluation.workers import process_map\n"
        "if __name__ == '__main__':\n"
        "    with closing(process_map(time.sleep, [0.1] * 10_000, 2)) as results:\n"
        "        for _ in results:\n"
        "            print('working', flush=True)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=interruptible,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "working\n"
    if ending is signal.SIGINT:
        os.killpg(parent.pid, ending)
    else:
        parent.kill()
    # Every process down there holds the pipes open: this returns when the last of them has ended.
    _, errors = parent.communicate(timeout=30)
    assert parent.returncode == -ending
    assert errors.count("KeyboardInterrupt\n") == (ending is signal.SIGINT)
