import numpy as np
import pytest
from numpy.typing import NDArray

from maskconver_mobile.card import Category
from maskconver_mobile.inference.drawing import draw_overlay, segment_colors
from maskconver_mobile.labels import color_of
from maskconver_mobile.result import Segment

RED, BLUE = (200, 30, 30), (30, 30, 200)
CATEGORIES = (Category(1, "cat", True, RED), Category(2, "sky", False, BLUE))
WHITE = [255, 255, 255]


def segment(identity: int, category_id: int, area: int = 1, label: str = "cat") -> Segment:
    return Segment(identity, category_id, label, category_id == 1, 0.5, area, (0, 0, 1, 1))


def grey(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 100, np.uint8)


def halves(height: int, width: int) -> NDArray[np.int32]:
    """Segment 1 on the left, 2 on the right."""
    map_ = np.ones((height, width), np.int32)
    map_[:, width // 2 :] = 2
    return map_


def test_category_colors_and_a_line_between() -> None:
    image = grey(20, 20)
    overlay = draw_overlay(image, halves(20, 20), [segment(1, 1), segment(2, 2)], CATEGORIES, 0.5)
    assert overlay.dtype == np.uint8
    assert overlay.shape == image.shape
    assert overlay[5, 5].tolist() == [150, 65, 65]
    assert overlay[5, 15].tolist() == [65, 65, 150]
    assert overlay[5, 10].tolist() == WHITE
    assert (image == 100).all()


@pytest.mark.parametrize(("alpha", "expected"), [(0, [100, 100, 100]), (1, list(RED)), (0.25, [125, 82, 82])])
def test_alpha(alpha: float, expected: list[int]) -> None:
    overlay = draw_overlay(grey(9, 9), np.ones((9, 9), np.int32), [segment(1, 1)], CATEGORIES, alpha)
    assert np.abs(overlay[4, 4].astype(int) - expected).max() <= 1


def test_void_stays_as_it_is() -> None:
    map_ = halves(20, 20)
    map_[map_ == 2] = 0
    overlay = draw_overlay(grey(20, 20), map_, [segment(1, 1)], CATEGORIES, 1)
    assert (overlay[:, 11:] == 100).all()


def test_things_of_one_category_differ() -> None:
    colors = segment_colors([segment(i, 1) for i in range(1, 13)], CATEGORIES)
    assert colors[1] == RED
    assert len(set(colors.values())) == 12
    assert all(0 <= v <= 255 for color in colors.values() for v in color)
    black = (Category(1, "cat", True, (0, 0, 0)),)
    assert len(set(segment_colors([segment(i, 1) for i in range(1, 7)], black).values())) == 6


def test_a_category_that_the_label_set_lacks_has_a_color() -> None:
    assert segment_colors([segment(1, 77)], CATEGORIES) == {1: color_of(77)}


def count_unlike(overlay: NDArray[np.uint8], *colors: list[int]) -> int:
    return int(np.all([(overlay != color).any(axis=-1) for color in colors], axis=0).sum())


def test_large_segments_are_labelled() -> None:
    size = 240
    overlay = draw_overlay(grey(size, size), np.ones((size, size), np.int32), [segment(1, 2, size**2)], CATEGORIES, 1)
    labelled = (overlay != BLUE).any(axis=-1)
    y, x = np.nonzero(labelled)
    assert 0.01 < labelled.mean() < 0.1
    assert abs(x.mean() - size / 2) < 10
    assert abs(y.mean() - size / 2) < 10
    assert overlay.min(axis=-1).max() > 180  # the text, anti-aliased


def test_labels_of_things_leave_their_heads_free() -> None:
    """A figure of a large head and a narrower body; the label lies on the body though the head has more room."""
    map_ = np.zeros((480, 480), np.int32)
    map_[:160, 120:360] = 1
    map_[160:, 160:320] = 1
    overlay = draw_overlay(grey(480, 480), map_, [segment(1, 1, 480 * 200)], CATEGORIES, 1)
    labelled = (overlay != RED).any(axis=-1) & (overlay != WHITE).any(axis=-1) & (map_ == 1)
    assert not labelled[:160].any()
    assert labelled[160:].sum() > 1000


def test_instances_of_one_class_are_told_apart_along_their_border() -> None:
    """The colors on both sides of the line between two cats differ as much as a person sees."""
    overlay = draw_overlay(grey(40, 40), halves(40, 40), [segment(1, 1), segment(2, 1)], CATEGORIES, 0.5)
    left, line, right = overlay[20, 15].astype(int), overlay[20, 20].tolist(), overlay[20, 25].astype(int)
    assert line == WHITE
    assert np.abs(left - right).max() >= 20


def test_small_stuff_is_not_labelled() -> None:
    map_ = np.zeros((240, 240), np.int32)
    map_[100:110, 100:110] = 1
    overlay = draw_overlay(grey(240, 240), map_, [segment(1, 2, 100)], CATEGORIES, 1)
    assert count_unlike(overlay, [100, 100, 100], list(BLUE), WHITE) == 0


def test_small_things_are_labelled_beside_them() -> None:
    """Above, or where that is outside the picture or another thing's place, on another side; never on them."""

    def labelled(map_: NDArray[np.int32], things: list[Segment]) -> NDArray[np.bool_]:
        plain = draw_overlay(grey(240, 240), map_, things, CATEGORIES, 1, labels=False)
        return (draw_overlay(grey(240, 240), map_, things, CATEGORIES, 1) != plain).any(axis=-1)

    map_ = np.zeros((240, 240), np.int32)
    map_[100:110, 100:110] = 1
    small = Segment(1, 1, "cat", True, 0.5, 100, (100, 100, 10, 10))
    rows, _ = np.nonzero(labelled(map_, [small]))
    assert 70 < rows.min() < rows.max() < 100

    map_[60:100, 60:180] = 3
    rows, _ = np.nonzero(labelled(map_, [small, Segment(3, 1, "cat", True, 0.4, 4800, (60, 60, 120, 40))])[100:])
    assert rows.min() >= 10

    crowd = np.ones((240, 240), np.int32)
    crowd[100:110, 100:110] = 2
    tiny = Segment(2, 1, "cat", True, 0.5, 100, (100, 100, 10, 10))
    one = labelled(crowd, [Segment(1, 1, "cat", True, 0.6, 240 * 240 - 100, (0, 0, 240, 240))])
    both = labelled(crowd, [Segment(1, 1, "cat", True, 0.6, 240 * 240 - 100, (0, 0, 240, 240)), tiny])
    np.testing.assert_array_equal(both, one)


def test_a_label_lies_on_its_own_segment() -> None:
    """A wall around a person: where the wall is deepest, a label would reach over the person's face."""
    map_ = np.full((240, 400), 2, np.int32)
    map_[40:, 140:330] = 1
    person = Segment(1, 1, "cat", True, 0.5, 38_000, (140, 40, 190, 200))
    wall = segment(2, 2, 58_000, "wall-other-merged")
    with_label = draw_overlay(grey(240, 400), map_, [wall], CATEGORIES, 1)
    without = draw_overlay(grey(240, 400), map_, [wall], CATEGORIES, 1, labels=False)
    changed = (with_label != without).any(axis=-1)
    assert changed.sum() > 500
    assert not changed[map_ == person.id].any()


def test_labels_do_not_cover_each_other() -> None:
    map_ = np.ones((200, 300), np.int32)
    map_[90:110] = 2
    first, second = segment(1, 1, 54_000), segment(2, 2, 6000, "sky")
    both = draw_overlay(grey(200, 300), map_, [second, first], CATEGORIES, 1)
    alone = draw_overlay(grey(200, 300), map_, [second], CATEGORIES, 1)
    band = slice(92, 108)
    assert np.array_equal(both[band], alone[band])


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 3), (1500, 2200)])
def test_any_size(size: tuple[int, int]) -> None:
    overlay = draw_overlay(grey(*size), halves(*size), [segment(1, 1, 10**6), segment(2, 2, 10**6)], CATEGORIES, 0.5)
    assert overlay.shape == (*size, 3)


def test_lines_grow_with_the_photo() -> None:
    def thickness(height: int) -> int:
        overlay = draw_overlay(
            grey(height, height), halves(height, height), [segment(1, 1), segment(2, 2)], CATEGORIES, 0
        )
        return int((overlay[0] == WHITE).all(axis=-1).sum())

    assert thickness(100) == 1
    assert thickness(1920) >= 3


def drawn(label: str, map_: NDArray[np.int32], identity: int = 1) -> NDArray[np.uint8]:
    return draw_overlay(grey(300, 300), map_, [segment(identity, 1, 300 * 300, label)], CATEGORIES, 0.5)


@pytest.mark.parametrize(("label", "letters"), [("čáp", "cap"), ("Straße 鹤", "Stra?e ?"), ("e\u0301", "e")])
def test_letters_that_the_font_lacks_are_the_same_in_every_release(label: str, letters: str) -> None:
    whole = np.ones((300, 300), np.int32)
    np.testing.assert_array_equal(drawn(label, whole), drawn(letters, whole))
    assert (drawn(label, whole) != drawn("other", whole)).any()


def test_labels_larger_than_their_segment_are_left_out() -> None:
    whole = np.ones((300, 300), np.int32)
    np.testing.assert_array_equal(drawn("x" * 2000, whole), drawn("y" * 2000, whole))


def test_every_pixel_of_an_overlay() -> None:
    """Half of the category's color over the photograph, white lines before the first pixel of a segment, void kept."""
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    map_ = np.zeros((6, 8), np.int32)
    map_[:, 4:] = 1
    expected = image.copy()
    expected[:, 4:] = np.round(image[:, 4:] * 0.5 + np.array(RED) * 0.5)
    expected[:, 4] = WHITE
    found = draw_overlay(image, map_, [segment(1, 1, 24)], CATEGORIES, 0.5)
    assert np.abs(found.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(found[:, :5], expected[:, :5])
