"""A graph of ours -> one TFLite file with its card inside."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from maskconver_mobile.card import Category, HeadsRule, ModelCard
from maskconver_mobile.converters.byte_casts import quantize_bytes
from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.compiler import HIDDEN, MEAN, STD, compile_graph, small_area_threshold
from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.graph.emit import emit
from maskconver_mobile.converters.half_precision import halve_weights
from maskconver_mobile.converters.late_bias import add_biases_late
from maskconver_mobile.converters.ops import TensorFlowOps
from maskconver_mobile.converters.placeholders import Placeholders
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.tail import TAIL_KEY, Tail
from maskconver_mobile.tflite_file import attach

Precision = Literal["float32", "float16"]


def to_tflite(config: ModelConfig, weights: Weights, spec: GraphSpec, precision: Precision = "float32") -> bytes:
    """Trace and convert; the flatbuffer has one signature, `serving_default`, and no card yet."""
    placeholders = Placeholders()
    content = placeholders.fill(_converted(function_of(config, weights, spec, placeholders)))
    content = quantize_bytes(_converted(function_of(config, weights, spec)) if content is None else content)
    content = content if spec.target == "reference" else add_biases_late(content)
    return halve_weights(content) if precision == "float16" else content


def _converted(function: Any) -> bytes:
    module = tf.Module()
    module.serve = function
    concrete = module.serve.get_concrete_function()
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert())


def function_of(
    config: ModelConfig, weights: Weights, spec: GraphSpec, placeholders: Placeholders | None = None
) -> Any:
    """The graph as a TensorFlow function of one tensor, `image`; with placeholders, it has these for large kernels."""
    graph, _ = compile_graph(config, weights, spec, "tflite")
    ops = TensorFlowOps(pick_in_place=spec.target in ("cpu", "arm"), placeholders=placeholders)
    image = tf.TensorSpec([1, *config.input_size, 3], tf.as_dtype(spec.input_dtype), name="image")
    return tf.function(lambda image: emit(graph, ops, {"image": image}), input_signature=[image], autograph=False)


def make_card(
    config: ModelConfig,
    weights: Weights,
    spec: GraphSpec,
    recipe: str,
    name: str,
    categories: tuple[Category, ...],
    half_precision: bool = False,
) -> ModelCard:
    """Everything a reader of the file needs to know."""
    in_graph = spec.level == "panoptic"
    size = (spec.output_size or config.default_output_size) if in_graph else config.padded_output_size
    return ModelCard(
        name=name,
        level=spec.level,
        target=spec.target,
        recipe=recipe,
        input_size=config.input_size,
        input_type=spec.input_type,
        mean=MEAN,
        std=STD,
        output_size=size,
        num_instances=config.num_instances,
        num_classes=config.num_classes,
        object_mask_threshold=config.object_mask_threshold,
        overlap_threshold=config.overlap_threshold,
        small_area_threshold=small_area_threshold(config, size) if in_graph else config.small_area_threshold,
        hard_sigmoid=config.hard_sigmoid,
        categories=categories,
        half_precision=half_precision,
        rescale_predictions=config.rescale_predictions,
        heads=heads_rule(config) if spec.level == "heads" else HeadsRule(),
        source={
            "checkpoint": Path(weights.origin).name,
            "sha256": weights.sha256,
            "experiment": config.experiment,
            "experiment_reason": config.experiment_reason,
        },
        tools={name: version(name) for name in ("maskconver-mobile", "tensorflow")},
    )


def finish_tflite(content: bytes, card: ModelCard, config: ModelConfig, weights: Weights) -> bytes:
    """Add the card, and for `heads` graphs the weights that the host needs to finish the work."""
    extra = {TAIL_KEY: host_tail(weights, config).to_bytes()} if card.level == "heads" else {}
    return attach(content, card, extra)


def host_tail(weights: Weights, config: ModelConfig) -> Tail:
    """The weights behind the heads, as the runtime takes them."""
    size = config.embedding_size
    hidden = HIDDEN if config.multi_scale else size
    sides = {"mlp/dense/0": (size, hidden), "mlp/dense/1": (hidden, size)}
    return Tail(
        class_embeddings=weights("class_embeddings/embeddings", (config.num_classes, size)),
        kernels=[weights(f"{path}/kernel", shape) for path, shape in sides.items()],
        biases=[weights(f"{path}/bias", shape[1:]) for path, shape in sides.items()],
        gamma=weights("mlp/norms/0/gamma", (hidden,)),
        beta=weights("mlp/norms/0/beta", (hidden,)),
    )


def heads_rule(config: ModelConfig) -> HeadsRule:
    """How the host goes on from the heads of this network."""
    return HeadsRule(config.level_sizes, "sum" if config.multi_scale else "product", cast("Any", config.activation))
