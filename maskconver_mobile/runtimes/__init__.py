"""Inference runtimes behind one small protocol; the file's suffix chooses."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.tail import Tail

Tensors = dict[str, NDArray[np.generic]]
Optimization = Literal["all", "extended", "basic", "none"]


class Runtime(Protocol):
    """A loaded model. `tail` is there for graphs of level `heads` alone."""

    card: ModelCard
    tail: Tail | None

    def run(self, image: NDArray[np.generic]) -> Tensors:
        """Run the graph on the input tensor [1, H, W, 3]; outputs by name. Safe to call from several threads."""
        ...


def load(
    path: Path,
    num_threads: int | None,
    providers: Sequence[str] | None = None,
    graph_optimization: Optimization | None = None,
    half_precision: bool = True,
) -> Runtime:
    """Open a model file in the runtime that its suffix names.

    Args:
        path: a .tflite, .onnx or .ort file.
        num_threads: see `default_threads` if not given.
        providers: of ONNX Runtime, in order of preference.
        graph_optimization: what ONNX Runtime does to the graph when it loads it.
        half_precision: whether a .tflite file that permits float16 arithmetic may use it.

    Raises:
        MaskConverError: the file is no model of ours, its format has no runtime here, or an option does not fit it.
    """
    if path.suffix == ".tflite":
        from maskconver_mobile.runtimes.litert import LiteRtRuntime

        if providers is not None or graph_optimization is not None:
            raise MaskConverError(
                f"{path}: providers and graph optimization are for .onnx and .ort files; leave them out"
            )
        return LiteRtRuntime(path, num_threads, half_precision)
    if path.suffix in {".onnx", ".ort"}:
        from maskconver_mobile.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(path, num_threads, providers, graph_optimization or "all")
    raise MaskConverError(
        f"{path}: unknown model format {path.suffix or '(no suffix)'!r}; expected .tflite, .onnx or .ort"
    )


def default_threads() -> int:
    """As many as there are cores, up to four: phones have four fast cores at most, and the network is small."""
    return min(4, os.cpu_count() or 1)


def tail_of(path: Path, card: ModelCard, content: bytes | None) -> Tail | None:
    """The weights behind the heads, from where the file keeps them.

    Raises:
        MaskConverError: they are damaged, or there although the card says they are not needed, or the reverse.
    """
    if (content is None) != (card.level != "heads"):
        raise MaskConverError(f"{path}: its card says level {card.level}, its contents do not; convert it again")
    return None if content is None else Tail.from_bytes(content, str(path))


def check_input(path: Path, card: ModelCard, found: dict[str, tuple[tuple[int, ...], str]]) -> None:
    """Compare the graph's inputs, (shape, dtype) by name, with what the card says.

    Raises:
        MaskConverError: they differ.
    """
    wanted = {"image": ((1, *card.input_size, 3), card.input_dtype)}
    if found != wanted:
        raise MaskConverError(f"{path}: takes {found}, its card says {wanted}; convert it again")
