from pathlib import Path

import pytest

from maskconver_mobile.benchmarks.host.stages import STAGES, measure_stages
from maskconver_mobile.benchmarks.models import find_models
from maskconver_mobile.benchmarks.photos import find_photos
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.segmenter import DEFAULT_MODEL


def test_every_stage_of_the_demo_model() -> None:
    found = measure_stages(DEFAULT_MODEL, threads=2, runs=3, photos=find_photos()[:2])
    assert tuple(found.stages) == STAGES
    assert all(stage.count == 4 and stage.min > 0 for stage in found.stages.values())
    assert [tuple(photo) for photo in found.photos] == [STAGES] * 2


def test_a_model_of_somebody_else_has_no_stages(tiny: Path) -> None:
    with pytest.raises(MaskConverError, match="carries no model card"):
        measure_stages(tiny, threads=1, runs=1, photos=find_photos())


def test_a_photo_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match=r"missing\.jpg"):
        measure_stages(DEFAULT_MODEL, threads=1, runs=1, photos=[tmp_path / "missing.jpg"])


def test_models_are_chosen_by_the_size_on_their_card(tiny: Path) -> None:
    assert [model.card is None for model in find_models([DEFAULT_MODEL, tiny])] == [False, True]
    assert [model.path for model in find_models([tiny, DEFAULT_MODEL], {256})] == [DEFAULT_MODEL]
    with pytest.raises(MaskConverError, match=r"takes images of 640 pixels; there are \[256\]"):
        find_models([DEFAULT_MODEL], {256, 640})
