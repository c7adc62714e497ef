"""How a result shows itself in a notebook, or in a window."""

import base64
import sys
from html import escape
from typing import TYPE_CHECKING

import cv2
from PIL import Image

from maskconver_mobile.inference.drawing import segment_colors
from maskconver_mobile.inference.image import Pixels, encode_png

if TYPE_CHECKING:
    from maskconver_mobile.result import PanopticResult

MAX_SIDE = 1024


def as_png(result: "PanopticResult") -> bytes:
    """The overlay as PNG, at most 1024 pixels wide and high."""
    return encode_png(_shrunk(result.overlay()))


def as_html(result: "PanopticResult") -> str:
    """The overlay beside a table of the segments, in one element that needs no other file."""
    colors = segment_colors(result.segments, result.categories)
    picture = base64.b64encode(as_png(result)).decode()
    pixels = result.panoptic_map.size
    rows = "".join(
        f'<tr><td><span style="display:inline-block;width:1em;height:1em;background:rgb{colors[s.id]}"></span> {s.id}'
        f"</td><td>{escape(s.label)}</td><td>{'thing' if s.is_thing else 'stuff'}</td><td>{s.score:.2f}</td>"
        f"<td>{s.area / pixels:.1%}</td></tr>"
        for s in result.segments
    )
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start">'
        f'<img alt="{escape(repr(result))}" style="max-width:100%" src="data:image/png;base64,{picture}">'
        "<table><tr><th>id</th><th>segment</th><th>kind</th><th>score</th><th>area</th></tr>"
        f"{rows}</table></div>"
    )


def show(result: "PanopticResult") -> None:
    """Show the overlay below a notebook's cell, or in the system's viewer."""
    shell = sys.modules.get("IPython")
    if shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell":
        shell.display.display(result)
    else:
        Image.fromarray(result.overlay()).show()


def _shrunk(image: Pixels) -> Pixels:
    height, width = image.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype("uint8")
