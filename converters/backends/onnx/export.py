"""Configuration and weights -> one ONNX file with its card inside."""

import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.backends.onnx.edit import halve_weights
from maskconver_mobile.converters.backends.onnx.graph import OnnxGraph, checked, tensor_type
from maskconver_mobile.converters.backends.onnx.ops import OnnxOps
from maskconver_mobile.converters.backends.onnx.tensor import OnnxTensor
from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.compiler import compile_graph
from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.describe import host_tail
from maskconver_mobile.converters.graph.emit import emit
from maskconver_mobile.converters.graph.ir import Graph
from maskconver_mobile.converters.spec import GraphSpec, Precision
from maskconver_mobile.formats.onnx.file import attach

PRODUCER = "maskconver-mobile"


def to_onnx(config: ModelConfig, weights: Weights, spec: GraphSpec, precision: Precision = "float32") -> bytes:
    """Compile and write; see `write_onnx`."""
    return write_onnx(compile_graph(config, weights, spec, "onnx")[0], spec, precision)


def write_onnx(compiled: Graph, spec: GraphSpec, precision: Precision = "float32") -> bytes:
    """Make the nodes; the model has no card yet.

    `float16` halves the file: weights are stored in half precision with a Cast behind each, which a runtime computes
    once when it loads the model. All arithmetic stays float32, so no kernel has to know half precision.
    """
    graph = OnnxGraph()
    shape, dtype = compiled.inputs["image"].shape, np.dtype(spec.input_dtype)
    image = OnnxTensor(graph, "image", shape, dtype)
    outputs = {
        name: _public(x)
        for name, x in emit(compiled, OnnxOps(graph, banded=spec.target == "arm"), {"image": image}).items()
    }
    types = {name: (x.name, tensor_type(x.dtype, x.shape)) for name, x in outputs.items()}
    model = graph.model({"image": tensor_type(dtype, shape)}, types)
    if precision == "float16":
        halve_weights(model)
        model = checked(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def finish_onnx(content: bytes, card: ModelCard, config: ModelConfig, weights: Weights) -> bytes:
    """Add the card, and for `heads` graphs the weights that the host needs to finish the work."""
    tail = host_tail(weights, config).to_bytes() if card.level == "heads" else None
    model = onnx.load_model_from_string(content)
    model.producer_name, model.producer_version = PRODUCER, version(PRODUCER)
    return attach(model, card, tail)


def to_ort(content: bytes) -> bytes:
    """The model in ONNX Runtime's own format, which its smallest builds read.

    Only what suits every processor is optimized ahead; the rest is left to the runtime that loads the file. Constants
    stay as they are: folded, weights stored in half precision or as integers would become float32 again.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ort"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.add_session_config_entry("session.save_model_format", "ORT")
        onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantFolding"]
        )
        return path.read_bytes()


def _public(x: OnnxTensor) -> OnnxTensor:
    """An output as the world sees it: channels last, and integers of 32 bits."""
    return x.laid_out(False).cast(np.int32 if x.dtype.kind == "i" else x.dtype)
