"""A graph of ours -> one TFLite file with its card inside."""

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.backends.tflite.byte_casts import quantize_bytes
from maskconver_mobile.converters.backends.tflite.late_bias import add_biases_late
from maskconver_mobile.converters.backends.tflite.ops import TensorFlowOps
from maskconver_mobile.converters.backends.tflite.placeholders import Placeholders
from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.compiler import compile_graph
from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.describe import host_tail
from maskconver_mobile.converters.graph.emit import emit
from maskconver_mobile.converters.graph.ir import Graph
from maskconver_mobile.converters.quantization.half_precision import halve_weights
from maskconver_mobile.converters.spec import GraphSpec, Precision
from maskconver_mobile.formats.tflite.file import attach
from maskconver_mobile.inference.tail import TAIL_KEY


def to_tflite(config: ModelConfig, weights: Weights, spec: GraphSpec, precision: Precision = "float32") -> bytes:
    """Compile and write; see `write_tflite`."""
    return write_tflite(compile_graph(config, weights, spec, "tflite")[0], spec, precision)


def write_tflite(graph: Graph, spec: GraphSpec, precision: Precision = "float32") -> bytes:
    """Trace and convert; the flatbuffer has one signature, `serving_default`, and no card yet."""
    placeholders = Placeholders()
    content = placeholders.fill(_converted(function_of(graph, spec, placeholders)))
    content = quantize_bytes(_converted(function_of(graph, spec)) if content is None else content)
    content = content if spec.target == "reference" else add_biases_late(content)
    return halve_weights(content) if precision == "float16" else content


def _converted(function: Any) -> bytes:
    """A module that held the function would have it traced once more."""
    concrete = function.get_concrete_function()
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert())


def function_of(graph: Graph, spec: GraphSpec, placeholders: Placeholders | None = None) -> Any:
    """The graph as a TensorFlow function of one tensor, `image`; with placeholders, it has these for large kernels."""
    ops = TensorFlowOps(pick_in_place=spec.target in ("cpu", "arm"), placeholders=placeholders)
    image = tf.TensorSpec(graph.inputs["image"].shape, tf.as_dtype(spec.input_dtype), name="image")
    return tf.function(lambda image: emit(graph, ops, {"image": image}), input_signature=[image], autograph=False)


def finish_tflite(content: bytes, card: ModelCard, config: ModelConfig, weights: Weights) -> bytes:
    """Add the card, and for `heads` graphs the weights that the host needs to finish the work."""
    extra = {TAIL_KEY: host_tail(weights, config).to_bytes()} if card.level == "heads" else {}
    return attach(content, card, extra)
