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
PROPOSALS = {"classes": (2, "int32"), "scores": (2, "float32")}
OUTPUTS = {
    "heads": dict.fromkeys(("class_heatmap", "mask_embedding_map", "pixel_embeddings"), (4, "float32")),
    "masks": {**PROPOSALS, "mask_logits": (4, "float32")},
    "panoptic": {**PROPOSALS, "category_map": (3, "int32"), "instance_map": (3, "int32")},
}
"""Rank and dtype of the outputs of each level."""


class LiteRtRuntime:
    """One interpreter behind a lock."""

    def __init__(self, path: Path, num_threads: int | None = None, half_precision: bool = True) -> None:
        """Load a .tflite file; `half_precision` False computes in float32 even where the file permits float16."""
        file = read_tflite(path)
        self._path = path
        self.card = file.card
        self.tail = tail_of(path, file.card, file.metadata.get(TAIL_KEY))
        content = file.content if half_precision else without_half_precision(file.content)
        self._content = content  # the interpreter reads from these bytes as long as it lives
        self._lock = threading.Lock()
        try:
            self._interpreter = Interpreter(model_content=self._content, num_threads=num_threads or default_threads())
            self._runner = self._interpreter.get_signature_runner(SIGNATURE)
            inputs, outputs = self._runner.get_input_details(), self._runner.get_output_details()
        except (ValueError, RuntimeError, TypeError) as error:
            raise MaskConverError(f"{path}: LiteRT cannot load it ({_reason(error)}); convert it again") from error
        check_input(path, file.card, {n: (tuple(d["shape"]), np.dtype(d["dtype"]).name) for n, d in inputs.items()})
        found = {n: (len(d["shape"]), np.dtype(d["dtype"]).name) for n, d in outputs.items()}
        if found != OUTPUTS[file.card.level]:
            raise MaskConverError(
                f"{path}: puts out {found} (rank and type), its card says level {file.card.level}; convert it again"
            )

    def run(self, image: NDArray[np.generic]) -> Tensors:
        """Run the graph; outputs by name are the caller's own copies.

        Raises:
            MaskConverError: the graph cannot be run.
        """
        with self._lock:
            try:
                outputs: Tensors = self._runner(image=image)
            except RuntimeError as error:
                raise MaskConverError(
                    f"{self._path}: LiteRT cannot run it ({_reason(error)}); convert it again"
                ) from error
        return outputs


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
