"""Inference runtimes behind one small protocol; the file's suffix chooses."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.tail import Tail

Tensors = dict[str, NDArray[np.generic]]


class Runtime(Protocol):
    """A loaded model. `tail` is there for graphs of level `heads` alone."""

    card: ModelCard
    tail: Tail | None

    def run(self, image: NDArray[np.generic]) -> Tensors:
        """Run the graph on the input tensor [1, H, W, 3]; outputs by name. Safe to call from several threads."""
        ...


def load(path: Path, num_threads: int | None) -> Runtime:
    """Open a model file in the runtime that its suffix names.

    Raises:
        MaskConverError: the file is no model of ours, or its format has no runtime here.
    """
    if path.suffix == ".tflite":
        from maskconver_mobile.runtimes.litert import LiteRtRuntime

        return LiteRtRuntime(path, num_threads)
    raise MaskConverError(f"{path}: unknown model format {path.suffix or '(no suffix)'!r}; expected .tflite")
