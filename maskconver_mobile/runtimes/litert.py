"""TFLite files in LiteRT, on the CPU through XNNPACK."""

import threading
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.runtimes import Tensors, check_input, default_threads, tail_of
from maskconver_mobile.tflite_file import TAIL_KEY, read_tflite, without_half_precision

SIGNATURE = "serving_default"


class LiteRtRuntime:
    """One interpreter behind a lock."""

    def __init__(self, path: Path, num_threads: int | None = None, half_precision: bool = True) -> None:
        """Load a .tflite file; `half_precision` False computes in float32 even where the file permits float16."""
        file = read_tflite(path)
        self.card = file.card
        self.tail = tail_of(path, file.card, file.metadata.get(TAIL_KEY))
        content = file.content if half_precision else without_half_precision(file.content)
        self._content = content  # the interpreter reads from these bytes as long as it lives
        self._lock = threading.Lock()
        try:
            self._interpreter = Interpreter(model_content=self._content, num_threads=num_threads or default_threads())
            self._runner = self._interpreter.get_signature_runner(SIGNATURE)
            inputs = self._runner.get_input_details()
        except (ValueError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise MaskConverError(f"{path}: LiteRT cannot load it ({reason}); convert it again") from error
        check_input(path, file.card, {n: (tuple(d["shape"]), np.dtype(d["dtype"]).name) for n, d in inputs.items()})

    def run(self, image: NDArray[np.generic]) -> Tensors:
        """Run the graph; outputs by name are the caller's own copies."""
        with self._lock:
            outputs: Tensors = self._runner(image=image)
        return outputs
