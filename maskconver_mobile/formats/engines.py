"""Inference runtimes, loaded in one way for whoever runs a model: `Segmenter`, the benchmarks, a worker on a device.

Needs NumPy and one runtime. A model is any graph with named inputs and outputs; nothing here knows of model cards.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from maskconver_mobile.formats import ONNX, TFLITE, Format
from maskconver_mobile.formats.onnx.wire import has_external_weights

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
Specs: TypeAlias = dict[str, tuple[tuple[int, ...], "np.dtype[Any]"]]
Optimization = Literal["all", "extended", "basic", "none"]

CPU = "CPUExecutionProvider"
OPTIMIZATIONS: dict[Optimization, str] = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
SIGNATURE = "serving_default"


class Engine(Protocol):
    """A loaded model; `inputs` and `outputs` are shape and dtype of its tensors by name, free dimensions being 1."""

    inputs: Specs
    outputs: Specs

    def feed(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set all inputs."""

    def invoke(self) -> None:
        """Run the model once on its inputs."""

    def results(self) -> Arrays:
        """What the last `invoke` computed, by tensor name; the caller's own copies."""


class LiteRtEngine:
    """LiteRT's interpreter on the CPU, with the XNNPACK delegate that it applies by itself.

    Tensors have the names of the signature `serving_default` where the model has one.
    """

    def __init__(self, content: bytes, threads: int) -> None:
        """Load a flatbuffer, allocate its tensors and pack its weights."""
        from ai_edge_litert.interpreter import Interpreter

        self._content = content  # the interpreter reads from these bytes as long as it lives
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        public = self._interpreter.get_signature_list().get(SIGNATURE)
        details = [{d["name"]: d for d in group} for group in (inputs, outputs)]
        if public is not None:
            runner = self._interpreter.get_signature_runner(SIGNATURE)
            details = [runner.get_input_details(), runner.get_output_details()]
        (self._in, self.inputs), (self._out, self.outputs) = map(_indices_and_specs, details)

    def feed(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set all inputs."""
        for name, index in self._in.items():
            self._interpreter.set_tensor(index, values[name])

    def invoke(self) -> None:
        """Run the model once on its inputs."""
        self._interpreter.invoke()

    def results(self) -> Arrays:
        """What the last `invoke` computed, by tensor name."""
        return {name: self._interpreter.get_tensor(index) for name, index in self._out.items()}


def _indices_and_specs(details: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, int], Specs]:
    return (
        {name: int(d["index"]) for name, d in details.items()},
        {name: (tuple(int(v) for v in d["shape"]), np.dtype(d["dtype"])) for name, d in details.items()},
    )


class OnnxEngine:
    """ONNX Runtime."""

    def __init__(
        self,
        content: bytes,
        threads: int,
        providers: Sequence[str] = (CPU,),
        optimization: Optimization = "all",
        profile_prefix: str = "",
    ) -> None:
        """Load a model.

        Args:
            content: an .onnx or .ort file.
            threads: threads inside an operator.
            providers: execution providers in order of preference; none of them may be missing.
            optimization: what the runtime does to the graph when it loads it.
            profile_prefix: where it writes its event trace, if it shall.
        """
        runtime = import_module("onnxruntime")
        available = runtime.get_available_providers()
        for provider in providers:
            if provider not in available:
                raise ValueError(f"provider {provider} is not in this ONNX Runtime; choose from {', '.join(available)}")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, OPTIMIZATIONS[optimization])
        options.log_severity_level = 4  # what goes wrong is raised; its log would say it a second time
        if profile_prefix:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        self.session = runtime.InferenceSession(content, options, providers=list(providers))
        lost = [provider for provider in providers if provider not in self.session.get_providers()]
        if lost:
            raise ValueError(f"provider {lost[0]} does not work on this machine; choose another")
        self.inputs: Specs = _onnx_specs(self.session.get_inputs())
        self.outputs: Specs = _onnx_specs(self.session.get_outputs())
        self._feed: Arrays = {}
        self._values: list[npt.NDArray[Any]] = []

    def feed(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set all inputs."""
        self._feed = {name: values[name] for name in self.inputs}

    def invoke(self) -> None:
        """Run the model once on its inputs."""
        self._values = self.session.run(None, self._feed)

    def results(self) -> Arrays:
        """What the last `invoke` computed, by tensor name."""
        return dict(zip(self.outputs, self._values, strict=True))

    def run(self, values: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """All three at once; unlike them from several threads too."""
        return dict(zip(self.outputs, self.session.run(None, dict(values)), strict=True))


def _onnx_specs(nodes: Sequence[Any]) -> Specs:
    return {n.name: (tuple(v if isinstance(v, int) else 1 for v in n.shape), _onnx_dtype(n.type)) for n in nodes}


def _onnx_dtype(name: str) -> np.dtype[Any]:
    """NumPy's dtype for ONNX Runtime's type string, such as `tensor(float)`."""
    inner = name.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(inner, inner))


UNKNOWN_OPERATORS = "it needs an operator set or ONNX version that this ONNX Runtime does not know; upgrade onnxruntime"
DAMAGED = "it is no ONNX model, or is truncated or overwritten"
REASONS = {"opset": UNKNOWN_OPERATORS, "IR version": UNKNOWN_OPERATORS, "protobuf": DAMAGED}


def open_engine(format: Format, content: bytes, threads: int, **options: Any) -> Engine:
    """Load a model in the runtime of its format; `options` are those of `OnnxEngine`.

    Raises:
        ImportError: the runtime is not installed.
        ValueError: it refuses the model or the options; the message says why, in one line.
    """
    if format is ONNX:
        _refuse_weights_elsewhere(content)
    try:
        if format is TFLITE:
            return LiteRtEngine(content, threads)
        return OnnxEngine(content, threads, **options)
    except ImportError:
        raise
    except Exception as error:  # the runtimes' exceptions share no base class
        reason = " ".join(str(error).split())
        known = (cure for sign, cure in REASONS.items() if sign in reason)
        raise ValueError(next(known, reason[-300:]) if format is not TFLITE else reason[:300]) from error


def _refuse_weights_elsewhere(content: bytes) -> None:
    try:
        elsewhere = has_external_weights(content)
    except ValueError as error:
        raise ValueError(DAMAGED) from error
    if elsewhere:
        raise ValueError("it keeps weights in another file; convert the checkpoint again, into one file")
