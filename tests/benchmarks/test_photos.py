from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskconver_mobile.benchmarks import photos
from maskconver_mobile.benchmarks.photos import DEMO, PreparedPhotos, find_photos
from maskconver_mobile.benchmarks.report.spread import PhotoTiming, by_photo, drift_in_turn, spread, stages_spread
from maskconver_mobile.benchmarks.report.stats import Statistics, summarize
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.inference.image import load_image, preprocess
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter


def test_the_bundled_photographs_are_credited_and_small() -> None:
    found = find_photos()
    credits = (DEMO / "photos" / "CREDITS.txt").read_text(encoding="utf-8")
    assert len(found) == 9
    for photo in found:
        assert photo.name in credits
        assert photo.stat().st_size < 70_000
        assert max(load_image(photo).shape) <= 640


def test_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.png", "a.jpg"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    assert [photo.name for photo in find_photos(tmp_path)] == ["a.jpg", "b.png"]
    monkeypatch.setattr(photos, "MAX_PHOTOS", 1)
    with pytest.raises(MaskConverError, match="has 2 images; give a folder of at most 1"):
        find_photos(tmp_path)
    with pytest.raises(MaskConverError, match="no images in this folder"):
        find_photos(DEMO.parent / "cli")


def test_inputs_are_what_the_runtime_would_see() -> None:
    card = Segmenter(DEFAULT_MODEL).card
    with PreparedPhotos(find_photos()[:2]) as prepared:
        files = prepared.inputs(card)
        assert prepared.inputs(replace(card, level="panoptic")) == files
        assert prepared.inputs(replace(card, input_type="float32")) != files
        assert prepared.inputs(None) == ()
        expected, _ = preprocess(load_image(find_photos()[1]), card)
        np.testing.assert_array_equal(np.fromfile(files[1], expected.dtype).reshape(expected.shape), expected)
    assert not files[0].exists()


def test_a_photograph_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("text")
    with PreparedPhotos(find_photos(tmp_path)) as prepared, pytest.raises(MaskConverError, match=r"a\.jpg"):
        prepared.inputs(Segmenter(DEFAULT_MODEL).card)


def test_spread_of_known_numbers() -> None:
    """Three photographs of medians 10, 20 and 60 whose middle halves are 2, 4 and 2 wide."""
    samples = [8.0, 16.0, 58.0, 9.0, 18.0, 59.0, 10.0, 20.0, 60.0, 11.0, 22.0, 61.0, 12.0, 24.0, 62.0]
    found = by_photo(["a", "b", "c"], samples)
    assert [photo.samples_ms for photo in found] == [tuple(samples[i::3]) for i in range(3)]
    whole = spread(found)
    assert whole is not None
    assert (whole.count, whole.median, whole.worst, whole.worst_photo, whole.noise) == (3, 20, 60, "c", 2)
    assert whole.p90 == pytest.approx(20 + 0.8 * 40)
    assert spread(()) is None


def test_two_runs_of_a_photograph_have_no_noise() -> None:
    found = spread(by_photo(["a", "b"], [1.0, 2.0, 3.0, 4.0]))
    assert found is not None
    assert (found.median, found.noise) == (2.5, None)


def test_averages_alone_have_no_noise() -> None:
    averages = Statistics(count=4, mean=2.0, std=0.1, min=1.9, max=2.2)
    found = spread([PhotoTiming("a", averages)])
    assert found is not None
    assert (found.median, found.noise) == (2, None)


def test_stages_together() -> None:
    runs = summarize([1.0])
    timed = [PhotoTiming(n, runs, (), {"decode": 1.0, "invoke": ms}) for n, ms in (("a", 2.0), ("b", 8.0))]
    found = stages_spread(timed)
    assert found is not None
    assert (found.median, found.worst, found.worst_photo) == (6, 9, "b")
    assert stages_spread([PhotoTiming("a", runs)]) is None


def test_drift_is_not_the_pictures() -> None:
    """The slow photograph stands where the first quarter ends, which is no drift; a run that doubles is."""
    steady = [1.0, 1.0, 9.0] * 4
    assert drift_in_turn(steady, by_photo(["a", "b", "c"], steady)) == 1
    slower = [1.0, 9.0] * 4 + [2.0, 18.0] * 4
    assert drift_in_turn(slower, by_photo(["a", "b"], slower)) == pytest.approx(2)
