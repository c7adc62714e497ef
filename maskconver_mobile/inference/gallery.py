"""Several results side by side: as one picture, and as one page that needs no other file and no network."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import cv2
import numpy as np

from maskconver_mobile.inference.drawing import draw_overlay, segment_colors
from maskconver_mobile.inference.image import Pixels
from maskconver_mobile.inference.image_output import encode_image
from maskconver_mobile.result import PanopticResult, Segment

GAP = 8
_INK, _PAPER = (40, 40, 40), 255
_MAX_SIDE = 1024


def contact_sheet(results: Sequence[PanopticResult], caption: str, *, width: int = 1800, columns: int = 3) -> Pixels:
    """The overlays of results in rows that fill the width, with one line below.

    Args:
        results: at least one.
        caption: in ASCII; set small enough to fit.
        width: of the sheet in pixels.
        columns: results in a row.

    Returns:
        uint8 [h, width, 3] RGB.
    """
    rows = [_row(results[i : i + columns], columns, width) for i in range(0, len(results), columns)]
    return np.concatenate([*rows, _line(caption, width)])


def _row(results: Sequence[PanopticResult], columns: int, width: int) -> Pixels:
    ratios = [result.image.shape[1] / result.image.shape[0] for result in results]
    room = (width - GAP * (len(results) - 1)) * len(results) / columns
    height = max(1, round(room / sum(ratios)))
    row = np.full((height + GAP, width, 3), _PAPER, np.uint8)
    ends = np.round(np.cumsum(ratios) / sum(ratios) * room).astype(int)
    for i, (result, end) in enumerate(zip(results, ends, strict=True)):
        start = int(ends[i - 1]) if i else 0
        size = max(1, int(end) - start), height
        row[:height, start + GAP * i : start + GAP * i + size[0]] = _overlay(result, size)
    return row


def _overlay(result: PanopticResult, size: tuple[int, int]) -> Pixels:
    """Drawn at its own size on the sheet, so that lines and letters are as sharp as they can be."""
    small = _resized(result, size)
    return draw_overlay(small.image, small.panoptic_map, small.segments, small.categories, 0.5)


def _resized(result: PanopticResult, size: tuple[int, int]) -> PanopticResult:
    height, width = result.panoptic_map.shape
    x, y = size[0] / width, size[1] / height
    image = cv2.resize(result.image, size, interpolation=cv2.INTER_AREA if x < 1 else cv2.INTER_CUBIC)
    map_ = cv2.resize(result.panoptic_map, size, interpolation=cv2.INTER_NEAREST)

    def scaled(segment: Segment) -> Segment:
        left, top, w, h = segment.bbox
        box = (int(left * x), int(top * y), max(1, round(w * x)), max(1, round(h * y)))
        return replace(segment, area=round(segment.area * x * y), bbox=box)

    segments = tuple(map(scaled, result.segments))
    return replace(result, image=image.astype(np.uint8), panoptic_map=map_.astype(np.int32), segments=segments)


def _line(caption: str, width: int) -> Pixels:
    scale = width / 1800
    (natural, _), _ = cv2.getTextSize(caption, cv2.FONT_HERSHEY_SIMPLEX, 0.8 * scale, 1)
    scale *= 0.8 * min(1.0, 0.98 * width / max(natural, 1))
    line = np.full((max(8, round(56 * scale)), width, 3), _PAPER, np.uint8)
    origin = (GAP // 2, round(36 * scale))
    cv2.putText(line, caption, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, max(1, round(1.6 * scale)), cv2.LINE_AA)
    return line


def gallery_page(results: Sequence[tuple[str, PanopticResult]], title: str, note: str) -> str:
    """A page on which the pointer, a finger or the keyboard shows each segment with its label and score.

    Args:
        results: names of the images, and their results.
        title: of the page.
        note: what a reader has to know first.

    Returns:
        HTML; pictures, style and script are in it, and its policy lets it load nothing else.
    """
    figures = "\n".join(_figure(name, result) for name, result in results)
    words = {"TITLE": escape(title), "NOTE": escape(note), "FIGURES": figures}
    page = _PAGE
    for name, text in words.items():
        page = page.replace(f"<!--{name}-->", text)
    return page


def _figure(name: str, result: PanopticResult) -> str:
    height, width = result.panoptic_map.shape
    scale = min(1.0, _MAX_SIDE / max(height, width))
    small = _resized(result, (max(1, round(width * scale)), max(1, round(height * scale))))
    height, width = small.panoptic_map.shape
    photo = base64.b64encode(encode_image(small.image, Path("x.jpg"))).decode()
    colors = segment_colors(result.segments, result.categories)
    paths, items = [], []
    for number, segment in enumerate(result.segments):
        color = "rgb({},{},{})".format(*colors[segment.id])
        words = f"{escape(segment.label)} {segment.score:.2f}"
        share = segment.area / result.panoptic_map.size
        shape = _path(small.panoptic_map == segment.id)
        paths.append(f'<path data-n="{number}" d="{shape}" fill="{color}"><title>{words}</title></path>')
        items.append(
            f'<li tabindex="0" data-n="{number}"><i style="background:{color}"></i>{words} '
            f"<small>{f'{share:.0%}' if share >= 0.01 else '&lt;1%'}</small></li>"
        )
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(name)}">'
        f'<image href="data:image/jpeg;base64,{photo}" width="{width}" height="{height}"/>{"".join(paths)}</svg>'
        f"<figcaption>{escape(name)}</figcaption><ul>{''.join(items)}</ul></figure>"
    )


def _path(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> str:
    """Outlines and holes as an SVG path that is filled by the even-odd rule."""
    fine = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    outlines, _ = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    parts = []
    for points in outlines:
        corners = [f"{x:g} {y:g}" for x, y in (points.reshape(-1, 2) + 0.5) / 2]
        parts.append(f"M{'L'.join(corners)}Z")
    return "".join(parts)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title><!--TITLE--></title>
<style>
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif; }
body { max-width: 1400px; margin: 0 auto; padding: 1rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; }
svg { width: 100%; height: auto; display: block; border-radius: 4px; }
path { fill-rule: evenodd; fill-opacity: .5; stroke: #fff; stroke-width: 1.2; transition: fill-opacity .1s; }
.one path { fill-opacity: .08; stroke-opacity: .3; }
.one path.on { fill-opacity: .65; stroke-opacity: 1; stroke-width: 2.5; }
figcaption { font-weight: 600; margin: .4rem 0; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem .5rem; margin: 0; padding: 0; }
li { padding: .1rem .5rem; border: 1px solid #8886; border-radius: 1rem; cursor: default; }
li.on { outline: 2px solid currentColor; }
li i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em; }
#tip { position: fixed; pointer-events: none; background: #000c; color: #fff; padding: .2rem .5rem;
  border-radius: 4px; display: none; z-index: 1; }
</style>
</head>
<body>
<h1><!--TITLE--></h1>
<p><!--NOTE--></p>
<main>
<!--FIGURES-->
</main>
<div id="tip" role="status"></div>
<script>
"use strict";
const tip = document.getElementById("tip");
for (const figure of document.querySelectorAll("figure")) {
  const show = (target) => {
    const n = target?.closest?.("[data-n]")?.dataset.n;
    figure.classList.toggle("one", n !== undefined);
    for (const part of figure.querySelectorAll("[data-n]")) part.classList.toggle("on", part.dataset.n === n);
    const path = target?.closest?.("path");
    tip.style.display = path ? "block" : "none";
    if (path) tip.textContent = path.querySelector("title").textContent;
  };
  figure.addEventListener("pointerover", (event) => show(event.target));
  figure.addEventListener("pointermove", (event) => {
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${event.clientY + 14}px`;
  });
  figure.addEventListener("pointerleave", () => show(null));
  figure.addEventListener("focusin", (event) => show(event.target));
  figure.addEventListener("focusout", () => show(null));
}
</script>
</body>
</html>
"""
