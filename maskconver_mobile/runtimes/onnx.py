"""ONNX files in ONNX Runtime."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import read_model_bytes
from maskconver_mobile.onnx_file import read_card, read_tail
from maskconver_mobile.runtimes import Optimization, Tensors, check_input, default_threads, tail_of

LEVELS: dict[Optimization, str] = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
ELSEWHERE = "keeps weights in another file, which is not there; convert the checkpoint again, into one file"
REASONS = {
    "opset": "needs an operator set or ONNX version that this ONNX Runtime does not know; upgrade onnxruntime",
    "IR version": "needs an operator set or ONNX version that this ONNX Runtime does not know; upgrade onnxruntime",
    "External data": ELSEWHERE,
    "external tensors": ELSEWHERE,
    "protobuf": "is no ONNX model, or is truncated or overwritten",
}


class OnnxRuntime:
    """One session; ONNX Runtime lets several threads run it at once."""

    def __init__(
        self,
        path: Path,
        num_threads: int | None = None,
        providers: Sequence[str] | None = None,
        graph_optimization: Optimization = "all",
    ) -> None:
        """Load a .onnx or .ort file.

        Args:
            path: the file.
            num_threads: threads inside an operator; see `default_threads` if not given.
            providers: execution providers in order of preference; the CPU's if not given.
            graph_optimization: what the runtime does to the graph when it loads it.

        Raises:
            MaskConverError: onnxruntime is missing, has no such provider, or refuses the file; or the file is not ours.
        """
        runtime = _onnxruntime(path)
        content = read_model_bytes(path)
        self._session = _open(runtime, path, content, num_threads or default_threads(), providers, graph_optimization)
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.card = read_card(metadata, str(path))
        self.tail = tail_of(path, self.card, read_tail(metadata, str(path)))
        inputs = {i.name: (tuple(i.shape), DTYPES.get(i.type, i.type)) for i in self._session.get_inputs()}
        check_input(path, self.card, inputs)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, image: NDArray[np.generic]) -> Tensors:
        """Run the graph; outputs by name are the caller's own copies."""
        return dict(zip(self._outputs, self._session.run(self._outputs, {"image": image}), strict=True))


def _onnxruntime(path: Path) -> Any:
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise MaskConverError(
            f"{path}: needs ONNX Runtime; install it with: pip install 'maskconver-mobile[onnx]'"
        ) from error


def _open(
    runtime: Any,
    path: Path,
    content: bytes,
    num_threads: int,
    providers: Sequence[str] | None,
    graph_optimization: Optimization,
) -> Any:
    available = runtime.get_available_providers()
    wanted = list(providers or ["CPUExecutionProvider"])
    for provider in wanted:
        if provider not in available:
            raise MaskConverError(
                f"{path}: provider {provider} is not in this ONNX Runtime; choose from {', '.join(available)}"
            )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, LEVELS[graph_optimization])
    options.log_severity_level = 4  # what goes wrong is raised; its log would say it a second time
    try:
        return runtime.InferenceSession(content, options, providers=wanted)
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        reason = " ".join(str(error).split())
        known = next((cure for sign, cure in REASONS.items() if sign in reason), None)
        raise MaskConverError(
            f"{path}: {known or f'ONNX Runtime cannot load it ({reason[-200:]}); convert it again'}"
        ) from error
