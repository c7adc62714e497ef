"""Annotations as other programs write them: read where they have one meaning, else refused with one line."""

import json
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from terminals import COMMAND, on_terminal

from maskconver_mobile import MaskConverError, MaskConverWarning, Segmenter
from maskconver_mobile.evaluation.coco import GroundTruth, find_set, read_ground_truth, read_ids
from maskconver_mobile.evaluation.evaluate import evaluate
from maskconver_mobile.inference.image import load_image
from maskconver_mobile.segmenter import DEFAULT_MODEL


@pytest.fixture
def coco(data: Path) -> Path:
    return data / "inputs" / "coco"


def read(coco: Path, annotations: str = "base", images: str = "images", png: str = "png") -> GroundTruth:
    return read_ground_truth([coco / images], [coco / f"{annotations}.json"], [coco / png])


@pytest.mark.parametrize("name", ["float_ids", "float_area", "closing_names"])
def test_whole_floats_are_whole_numbers(coco: Path, name: str) -> None:
    base, found = read(coco), read(coco, name)
    assert [[s.id for s in one.truth.segments] for one in found.samples] == [
        [s.id for s in one.truth.segments] for one in base.samples
    ]
    assert [type(s.id) for one in found.samples for s in one.truth.segments] == [int] * sum(
        len(one.truth.segments) for one in base.samples
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("string_isthing", "isthing is '1'; expected 0 or 1"),
        ("string_category", "image_id 139, segment 70000: '12' where an integer belongs"),
        ("nan_area", "image_id 139, segment 70000: area is nan"),
        ("no_annotation_file_name", "image_id 139: key 'file_name' is missing"),
    ],
)
def test_a_mistake_is_named_with_its_image_and_segment(coco: Path, name: str, message: str) -> None:
    with pytest.raises(MaskConverError) as error:
        read(coco, name)
    assert message in str(error.value)
    assert f"{name}.json: not COCO panoptic JSON (" in str(error.value)


def test_an_opaque_png_may_have_an_alpha_channel(coco: Path, tmp_path: Path) -> None:
    name = "000000000139.png"
    np.testing.assert_array_equal(read_ids(coco / "png_rgba" / name), read_ids(coco / "png" / name))
    with Image.open(coco / "png_rgba" / name) as picture:
        picture.putalpha(254)
        picture.save(tmp_path / name)
    with pytest.raises(MaskConverError, match="a panoptic PNG is opaque and this one is not"):
        read_ids(tmp_path / name)
    with pytest.raises(MaskConverError, match="8-bit RGB and this one is L"):
        read_ids(coco / "png_grey" / name)


def perfect(coco: Path, folder: Path) -> Path:
    """Predictions that are the truth, by the numbers of the images."""
    path = folder / "truth.json"
    path.write_text(json.dumps({"annotations": json.loads((coco / "base.json").read_text())["annotations"]}))
    shutil.copytree(coco / "png", folder / "truth")
    return path


def test_predictions_are_found_by_name_where_ids_differ(coco: Path, tmp_path: Path) -> None:
    (found,) = evaluate([perfect(coco, tmp_path)], read(coco, "string_image_id"))
    assert found.quality.all.pq == 1


def test_the_layouts_of_a_set(coco: Path, tmp_path: Path) -> None:
    own, unpacked = tmp_path / "own", tmp_path / "unpacked"
    for images, annotations in ((own / "images", own / "panoptic.json"), (unpacked / "val2017", None)):
        annotations = annotations or unpacked / "annotations" / "panoptic_val2017.json"
        shutil.copytree(coco / "images", images)
        annotations.parent.mkdir(exist_ok=True)
        shutil.copy(coco / "base.json", annotations)
        shutil.copytree(coco / "png", annotations.with_suffix(""))
    predictions = perfect(coco, tmp_path)
    for folder in (own, unpacked):
        (found,) = evaluate([predictions], read_ground_truth(*([path] for path in find_set(folder))))
        assert found.quality.all.pq == 1
        done = subprocess.run([COMMAND, "evaluate", predictions, "--data", folder, "--json"], capture_output=True)
        assert json.loads(done.stdout)["models"][0]["all"]["pq"] == 1
    shutil.copy(coco / "base.json", unpacked / "panoptic.json")
    for folder, message in ((unpacked, "has 2 annotation files"), (coco / "images", "has neither panoptic.json nor")):
        with pytest.raises(MaskConverError, match=message):
            find_set(folder)


def test_labels_of_others_are_no_markup(coco: Path, tmp_path: Path) -> None:
    """On a terminal and in a pipe."""
    names = {c["name"] for c in json.loads((coco / "closing_names.json").read_text())["categories"]}
    shown = next(name for name in names if "[/" in name)
    words = ("evaluate", perfect(coco, tmp_path), "--images", coco / "images", "--panoptic-dir", coco / "png")
    words = (*words, "--annotations", coco / "closing_names.json")
    assert shown.split()[0] in on_terminal(*words)
    done = subprocess.run([COMMAND, *map(str, words)], capture_output=True, text=True, check=True, timeout=60)
    assert shown.split()[0] in done.stdout
    assert "id\tclass\tPQ\tSQ\tRQ\tTP\tFP\tFN\n" in done.stdout


def own_truth(coco: Path, folder: Path, images: str) -> GroundTruth:
    """What the bundled model says of the pictures as they are stored, as the truth about them."""
    segmenter, annotations, listed = Segmenter(num_threads=2), [], []
    (folder / "png").mkdir()
    for path in sorted((coco / images).iterdir()):
        pixels = load_image(path, upright=False)
        png, annotation = segmenter(pixels).to_coco(int(path.stem), f"{path.stem}.png")
        Image.fromarray(png).save(folder / "png" / f"{path.stem}.png")
        annotations.append(annotation)
        size = {"width": pixels.shape[1], "height": pixels.shape[0]}
        listed.append({"id": int(path.stem), "file_name": path.name, **size})
    categories = [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in segmenter.card.categories]
    content = {"images": listed, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(content))
    return read_ground_truth([coco / images], [folder / "truth.json"], [folder / "png"])


def test_annotations_drawn_without_heed_of_exif(coco: Path, tmp_path: Path) -> None:
    truth = own_truth(coco, tmp_path, "images_exif6")
    with pytest.warns(MaskConverWarning, match="^2 images were not turned as their EXIF says") as noted:
        (found,) = evaluate([DEFAULT_MODEL], truth)
    assert len(noted) == 1
    assert found.quality.all.pq == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (again,) = evaluate([DEFAULT_MODEL], truth, ignore_exif=True)
    assert again.quality.all.pq == 1


def test_pictures_of_another_size_than_their_truth(coco: Path) -> None:
    with pytest.raises(MaskConverError, match=r"80 x 60 pixels, but .* has 160 x 120"):
        evaluate([DEFAULT_MODEL], read(coco, images="images_half"))
