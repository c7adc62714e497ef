"""Configuration, weights and what the graph is to be -> the plain network, rewritten for a target and a format."""

import functools
import math

import numpy as np

from maskconver_mobile.card import AppliedPass, InputType
from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder, joined
from maskconver_mobile.converters.graph.ir import Graph, Value
from maskconver_mobile.converters.network.layers import Layers
from maskconver_mobile.converters.network.maskconver import Heads, maskconver
from maskconver_mobile.converters.passes import PIPELINES, Format, run
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.errors import MaskConverError

MEAN = (255 * 0.485, 255 * 0.456, 255 * 0.406)
STD = (255 * 0.229, 255 * 0.224, 255 * 0.225)
HIDDEN = 1024
"""Width of the MLP of multi-scale networks."""


def compile_graph(
    config: ModelConfig, weights: Weights, spec: GraphSpec, format: Format
) -> tuple[Graph, list[AppliedPass]]:
    """The graph that a backend of the format writes, and what each pass did to it."""
    builder = plain_graph(config, weights, spec)
    done = run(builder, PIPELINES[spec.target, format])
    return builder.graph, done


def plain_graph(config: ModelConfig, weights: Weights, spec: GraphSpec) -> GraphBuilder:
    """Image [1, H, W, 3] -> the outputs of the level, as the network is defined."""
    builder = GraphBuilder()
    layers = Layers(builder, functools.cache(weights), config.norm_epsilon, config.activation)
    image = builder.input("image", (1, *config.input_size, 3), spec.input_dtype)
    heads = maskconver(layers, config, normalized(builder, image, spec.input_type), spec.class_ids)
    if spec.level == "heads":
        builder.graph.outputs = head_maps(builder, heads)
        return builder
    k = config.num_instances
    cells = sum(math.prod(x.shape) for x in heads.classes)
    if k > cells:
        raise MaskConverError(
            f"task.model.num_instances {k} is more than the class map has cells ({cells} at input size "
            f"{config.input_size[0]}x{config.input_size[1]}); take a larger input, more classes or fewer proposals"
        )
    classes, locations, scores = builder.add(operations.Proposals(k), *heads.classes)
    if spec.class_ids is not None:
        classes = builder.gather(builder.constant(spec.class_ids, np.int32), classes)
    embeddings = builder.pick(joined(builder, heads.mask_embeddings), locations)
    logits = mask_logits(layers, config, classes, embeddings, heads.pixel_embeddings)
    outputs = {"classes": builder.reshape(classes, [1, k]), "scores": builder.reshape(scores, [1, k])}
    if spec.level == "masks":
        builder.graph.outputs = {**outputs, "mask_logits": logits}
    else:
        category_map, instance_map = builder.add(panoptic(config, spec), classes, scores, logits)
        builder.graph.outputs = {"category_map": category_map, "instance_map": instance_map, **outputs}
    return builder


def head_maps(builder: GraphBuilder, heads: Heads) -> dict[str, Value]:
    """The outputs of level `heads`."""
    return {
        "class_heatmap": joined(builder, heads.classes),
        "mask_embedding_map": joined(builder, heads.mask_embeddings),
        "pixel_embeddings": heads.pixel_embeddings,
    }


def normalized(builder: GraphBuilder, image: Value, input_type: InputType) -> Value:
    """`(pixel - mean) / std` of RGB values 0..255; input type `float32` comes so."""
    image = builder.planar(image)
    if input_type == "float32":
        return image
    pixels = builder.cast(image, np.float32) if input_type == "uint8" else image
    return (pixels - builder.constant(MEAN)) * builder.constant(1 / np.asarray(STD))


def mask_logits(layers: Layers, config: ModelConfig, classes: Value, embeddings: Value, pixels: Value) -> Value:
    """Mask logits [1, h, w, K]: pixel embeddings times each proposal's mask embedding.

    The mask embedding [K, E] at the proposal's location is conditioned on its class and transformed by an MLP.
    """
    builder, size = layers.graph, config.embedding_size
    of_classes = layers.weights("class_embeddings/embeddings", (config.num_classes, size))
    condition = builder.gather(builder.constant(of_classes), classes)
    x = embeddings + condition if config.multi_scale else embeddings * condition
    x = layers.dense(x, "mlp/dense/0", HIDDEN if config.multi_scale else size)
    with builder.scope("mlp/dense/0"):
        x = builder.activation(config.activation, layers.norm(x, "mlp/norms/0", layer_norm=True))
    kernels = layers.dense(x, "mlp/dense/1", size)
    _, height, width, _ = pixels.shape
    k = config.num_instances
    rows = builder.reshape(pixels, [1, height * width, size])
    return builder.reshape(builder.matmul(rows, builder.reshape(kernels, [1, k, size])), [1, height, width, k])


def panoptic(config: ModelConfig, spec: GraphSpec) -> operations.Panoptic:
    """The merge at the output size."""
    size = spec.output_size or config.default_output_size
    ids = np.arange(config.num_classes)
    return operations.Panoptic(
        size,
        config.object_mask_threshold,
        config.overlap_threshold,
        small_area_threshold(config, size),
        (ids > 0) & (ids < config.num_thing_classes) if spec.thing_ids is None else np.isin(ids, spec.thing_ids),
        config.hard_sigmoid,
    )


def small_area_threshold(config: ModelConfig, size: tuple[int, int]) -> float:
    """The configuration's threshold counts pixels at `padded_output_size`; this one counts them at `size`."""
    height, width = config.padded_output_size
    return config.small_area_threshold * (size[0] * size[1]) / (height * width)
