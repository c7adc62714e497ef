"""Draws `flow.svg`: how a checkpoint becomes a file, with the passes as they are listed.

python docs/flow.py docs/flow.svg
"""

import sys
from html import escape
from pathlib import Path

from maskconver_mobile.converters.passes import PIPELINES

BOXES = (
    ("checkpoint + YAML", "read_checkpoint, read_config", "bounded, every value checked"),
    ("network", "network/", "plain: no target, no format"),
    ("graph", "graph/", "typed operations, static shapes"),
    ("passes", "passes/", "exact rewrites, each one file"),
    ("backend", "backends/tflite, backends/onnx", "TensorFlow Lite or ONNX"),
    ("quantization", "quantization/, backends/", "recipe, calibration, gate"),
    ("one file", ".tflite, .onnx, .ort", "card, labels, everything inside"),
)
WIDTH, HEIGHT, GAP, LINE, MARGIN = 150, 76, 14, 15, 16
FONT = "font-family='Helvetica, Arial, sans-serif'"


def text(x: float, y: float, words: str, size: int = 11, weight: str = "normal", color: str = "#333") -> str:
    """One line of text."""
    return (
        f"<text x='{x:g}' y='{y:g}' {FONT} font-size='{size}' font-weight='{weight}' fill='{color}'>"
        f"{escape(words)}</text>"
    )


def flow() -> str:
    """The picture: boxes from left to right, and below them the pipelines."""
    parts = []
    for i, (title, where, what) in enumerate(BOXES):
        x = MARGIN + i * (WIDTH + GAP)
        fill = "#e8f0fe" if title == "passes" else "#f6f6f6"
        parts.append(
            f"<rect x='{x}' y='{MARGIN}' width='{WIDTH}' height='{HEIGHT}' rx='6' fill='{fill}' stroke='#888'/>"
        )
        parts += [
            text(x + 8, MARGIN + 22, title, 14, "bold"),
            text(x + 8, MARGIN + 43, where, 10),
            text(x + 8, MARGIN + 60, what, 10, color="#666"),
        ]
        if i:
            parts.append(f"<path d='M{x - GAP + 1} {MARGIN + HEIGHT / 2} h{GAP - 3}' stroke='#888' stroke-width='2'/>")
    top = MARGIN + HEIGHT + 36
    column = (len(BOXES) * (WIDTH + GAP) - GAP) / len(PIPELINES)
    for i, ((target, format), passes) in enumerate(PIPELINES.items()):
        x = MARGIN + i * column
        parts.append(text(x, top, f"{target}, {format}", 12, "bold"))
        parts += [text(x, top + (j + 1) * LINE, each.__name__, 10) for j, each in enumerate(passes)]
    width = 2 * MARGIN + len(BOXES) * (WIDTH + GAP) - GAP
    height = top + (1 + max(map(len, PIPELINES.values()))) * LINE + MARGIN
    title = "<title>From checkpoint to file</title>"
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
        f"viewBox='0 0 {width} {height}' role='img'>\n{title}\n"
        f"<rect width='100%' height='100%' fill='white'/>\n{body}\n</svg>\n"
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(flow(), encoding="utf-8")
