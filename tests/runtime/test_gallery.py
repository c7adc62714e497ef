"""The contact sheet and the page of the demo."""

import base64
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from maskconver_mobile.card import Category
from maskconver_mobile.inference.gallery import contact_sheet, gallery_page
from maskconver_mobile.result import PanopticResult, Segment

CATEGORIES = (Category(1, "cat", True, (200, 30, 30)), Category(2, "sky", False, (30, 30, 200)))


def result(height: int, width: int, label: str = "cat") -> PanopticResult:
    """A cat with a hole, in the sky."""
    map_ = np.full((height, width), 2, np.int32)
    map_[10:50, 10:60] = 1
    map_[25:30, 30:40] = 2
    segments = (
        Segment(1, 1, label, True, 0.9, int((map_ == 1).sum()), (10, 10, 50, 40)),
        Segment(2, 2, "sky", False, 0.8, int((map_ == 2).sum()), (0, 0, width, height)),
    )
    return PanopticResult(map_, segments, np.full((height, width, 3), 100, np.uint8), CATEGORIES, {})


@pytest.mark.parametrize("count", [1, 3, 4])
def test_rows_fill_the_sheet_s_width(count: int) -> None:
    sheet = contact_sheet([result(60 + 10 * i, 80) for i in range(count)], "words", width=300)
    assert sheet.shape[1] == 300
    assert sheet.dtype == np.uint8
    filled = (sheet[5] != 255).any(axis=-1)
    assert filled[: 300 // 3 * min(count, 3) - 4].mean() > 0.9
    assert filled[295] == (count >= 3)


def test_every_result_is_on_the_sheet_at_its_own_ratio() -> None:
    one = contact_sheet([result(60, 80)], "", width=400, columns=1)
    assert (one[:300] != 255).any(axis=(1, 2)).all()
    two = contact_sheet([result(60, 80), result(60, 80)], "", width=400, columns=1)
    assert len(two) - len(one) == 300 + 8


def test_a_long_caption_stays_on_the_sheet() -> None:
    sheet = contact_sheet([result(60, 80)], "w" * 400, width=300)
    assert (sheet[-6:, -2:] == 255).all()


class Reader(HTMLParser):
    """Tags and what they name outside the page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_needs_no_other_file() -> None:
    page = gallery_page([("a.jpg", result(60, 80))], "Title", "Training images.")
    reader = Reader()
    reader.feed(page)
    assert all(link.startswith("data:image/jpeg;base64,") for link in reader.links)
    assert len(reader.links) == 1
    with Image.open(io.BytesIO(base64.b64decode(reader.links[0].partition(",")[2]))) as photo:
        assert photo.size == (80, 60)
    assert "default-src 'none'" in page
    assert "Training images." in reader.text
    assert reader.text.count("Title") == 2
    assert "cat 0.90" in reader.text


def test_words_of_others_are_not_markup() -> None:
    page = gallery_page([("<b>&.jpg", result(60, 80, "<script>alert(1)</script>"))], "T", "<!--FIGURES--> & <i>")
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<figure>") == 1
    assert "&lt;b&gt;&amp;.jpg" in page


def test_shapes_are_the_segments() -> None:
    """The area of the outlines is that of the mask, its hole taken off."""
    one = result(60, 80)
    page = gallery_page([("a.jpg", one)], "T", "N")
    svg = re.search(r"<svg.*?</svg>", page, re.DOTALL)
    assert svg is not None
    paths = ElementTree.fromstring(svg[0]).findall("path")  # noqa: S314
    assert [path.findtext("title") for path in paths] == ["cat 0.90", "sky 0.80"]

    def area(part: str) -> float:
        points = np.array([point.split() for point in part.strip("MZ").split("L")], float)
        x, y = points.T
        return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2

    for path, segment in zip(paths, one, strict=True):
        parts = sorted(map(area, (path.get("d") or "").split("Z")[:-1]), reverse=True)
        assert parts[0] - sum(parts[1:]) + (2 * parts[2] if len(parts) > 2 else 0) == pytest.approx(
            segment.area, rel=0.1
        )
