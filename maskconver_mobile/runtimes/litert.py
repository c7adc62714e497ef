"""TFLite files in LiteRT, on the CPU through XNNPACK."""

import os
import threading
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.runtimes import Tensors
from maskconver_mobile.tail import Tail
from maskconver_mobile.tflite_file import TAIL_KEY, read_tflite

SIGNATURE = "serving_default"


class LiteRtRuntime:
    """One interpreter behind a lock."""

    def __init__(self, path: Path, num_threads: int | None = None) -> None:
        file = read_tflite(path)
        self.card = file.card
        self.tail = Tail.from_bytes(file.metadata[TAIL_KEY], str(path)) if TAIL_KEY in file.metadata else None
        if (self.tail is None) != (self.card.level != "heads"):
            raise MaskConverError(
                f"{path}: its card says level {self.card.level}, its buffers do not; convert it again"
            )
        self._content = file.content  # the interpreter reads from these bytes as long as it lives
        self._lock = threading.Lock()
        try:
            self._interpreter = Interpreter(
                model_content=self._content, num_threads=num_threads or default_threads()
            )
            self._runner = self._interpreter.get_signature_runner(SIGNATURE)
            self._check_tensors(path)
        except (ValueError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise MaskConverError(f"{path}: LiteRT cannot load it ({reason}); convert it again") from error

    def _check_tensors(self, path: Path) -> None:
        inputs = self._runner.get_input_details()
        height, width = self.card.input_size
        found = {name: (tuple(d["shape"]), np.dtype(d["dtype"]).name) for name, d in inputs.items()}
        wanted = {"image": ((1, height, width, 3), self.card.input_type)}
        if found != wanted:
            raise MaskConverError(f"{path}: takes {found}, its card says {wanted}; convert it again")

    def run(self, image: NDArray[np.generic]) -> Tensors:
        """Run the graph; outputs by name are the caller's own copies."""
        with self._lock:
            outputs: Tensors = self._runner(image=image)
        return outputs


def default_threads() -> int:
    """As many as there are cores, up to four: phones have four fast cores at most, and the network is small."""
    return min(4, os.cpu_count() or 1)
