import numpy as np
import pytest

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.stability import DRAWS, agreement, noisy, noisy_images, stable_pixels
from maskconver_mobile.segmenter import DEFAULT_MODEL, segment


def test_noise_is_one_grey_level_and_the_same_every_time() -> None:
    image = np.full((50, 60, 3), 100, np.uint8)
    first, again, other = noisy(image, 0), noisy(image, 0), noisy(image, 1)
    assert first.dtype == np.uint8
    assert np.unique(first, return_counts=True)[0].tolist() == [99, 100, 101]
    assert min(np.unique(first, return_counts=True)[1]) > 0.3 * image.size
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    assert len(list(noisy_images(image))) == DRAWS


@pytest.mark.parametrize(("level", "expected"), [(0, [0, 1]), (255, [254, 255])])
def test_noise_stays_within_a_byte(level: int, expected: list[int]) -> None:
    assert np.unique(noisy(np.full((9, 9, 3), level, np.uint8), 0)).tolist() == expected


def test_a_pixel_is_stable_if_it_never_changes() -> None:
    maps = [np.array([[1, 1, 2, 0]]), np.array([[1, 2, 2, 0]]), np.array([[1, 1, 2, 7]], np.int64)]
    assert stable_pixels(maps).tolist() == [[True, False, True, False]]
    assert stable_pixels(maps[:1]).all()


def test_agreement_of_all_of_some_and_of_no_pixels() -> None:
    a, b = np.array([[1, 1, 2, 0]]), np.array([[1, 2, 2, 7]])
    assert agreement(a, b) == 0.5
    assert agreement(a, b, np.array([[True, True, True, False]])) == pytest.approx(2 / 3)
    assert agreement(a, b, np.zeros((1, 4), np.bool_)) is None


def test_maps_of_other_sizes_are_refused() -> None:
    one, other = np.zeros((2, 3), np.int32), np.zeros((3, 2), np.int32)
    with pytest.raises(MaskConverError, match=r"of \[2, 3\] and \[3, 2\] pixels"):
        agreement(one, other)
    with pytest.raises(MaskConverError, match="expected one size"):
        stable_pixels([one, other])
    with pytest.raises(MaskConverError, match="no category map is given"):
        stable_pixels([])


def test_most_pixels_of_a_photograph_are_stable() -> None:
    """With a fresh draw of noise the stable ones keep their category more often than the others."""
    from maskconver_mobile.inference.image import load_image

    image = load_image(DEFAULT_MODEL.parent / "astronaut.jpg")
    own = segment(image).category_map
    stable = stable_pixels([own, *(segment(drawn).category_map for drawn in noisy_images(image))])
    fresh = segment(noisy(image, DRAWS)).category_map
    assert stable.mean() > 0.5
    inside, everywhere = agreement(own, fresh, stable), agreement(own, fresh)
    assert inside is not None
    assert everywhere is not None
    assert inside >= everywhere
