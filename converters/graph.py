"""Configuration, weights, fusion level and target -> one function of the image, ready for an exporter."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from maskconver_mobile.card import InputType
from maskconver_mobile.converters import fast, fast_merge, postprocess
from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.layers import Layers
from maskconver_mobile.converters.network import Heads, maskconver
from maskconver_mobile.converters.ops import Tensor, TensorFlowOps
from maskconver_mobile.converters.postprocess import MergeThresholds, Proposals, Tail, read_tail
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.converters.targets import NEVER, Format, rewrites

MEAN = (255 * 0.485, 255 * 0.456, 255 * 0.406)
STD = (255 * 0.229, 255 * 0.224, 255 * 0.225)
CHANNELS = 8
"""XNNPACK's matrix products are slow at 1, 2 or 4 output channels more than a multiple of this."""


def small_area_threshold(config: ModelConfig, size: tuple[int, int]) -> float:
    """The configuration's threshold counts pixels at `padded_output_size`; this one counts them at `size`."""
    height, width = config.padded_output_size
    return config.small_area_threshold * (size[0] * size[1]) / (height * width)


def build(
    config: ModelConfig, weights: Weights, spec: GraphSpec, format: Format = "tflite"
) -> Callable[[TensorFlowOps, Tensor], dict[str, Tensor]]:
    """The graph as a function from operations and an image [1, H, W, 3] to named outputs."""
    chosen = rewrites(spec.target, format)

    def graph(ops: TensorFlowOps, image: Tensor) -> dict[str, Tensor]:
        layers = Layers(ops, weights, config.norm_epsilon, chosen)
        in_pixels = chosen.fold_normalisation and spec.input_type != "float32"
        input_scale = (1 / np.asarray(STD)).astype(np.float32) if in_pixels else None
        heads = maskconver(layers, config, normalised(layers, image, spec.input_type), input_scale)
        classes = heads.classes if spec.class_ids is None else heads.classes.only(spec.class_ids)
        if chosen.padded_classes and spec.level != "heads":
            classes = classes.padded(CHANNELS, NEVER)
        heatmap = classes.dense(layers, blocked=chosen.blocked_sums)
        if spec.level == "heads":
            return {
                "class_heatmap": heatmap,
                "mask_embedding_map": heads.mask_embeddings.dense(layers),
                "pixel_embeddings": heads.pixel_embeddings.dense(layers),
            }
        found = find_proposals(layers, heatmap, config.num_instances)
        if spec.class_ids is not None:
            found = replace(found, classes=ops.gather(ops.constant(spec.class_ids, np.int32), found.classes))
        logits = find_masks(layers, heads, read_tail(weights, config), found, planes=spec.level == "panoptic")
        k = config.num_instances
        outputs = {"classes": ops.reshape(found.classes, [1, k]), "scores": ops.reshape(found.scores, [1, k])}
        if spec.level == "masks":
            return {**outputs, "mask_logits": logits}
        category_map, instance_map = merge(layers, config, spec, found, logits)
        return {"category_map": category_map, "instance_map": instance_map, **outputs}

    return graph


def normalised(layers: Layers, image: Tensor, input_type: InputType) -> Tensor:
    """`(pixel - mean) / std` of RGB values 0..255; input type `float32` comes so.

    Where the division is folded into the first convolution, the subtraction is left. It runs on whole rows [w * c]: a
    broadcast over three channels would use three lanes of a vector unit at a time.
    """
    ops, chosen = layers.ops, layers.rewrites
    image = image if chosen.interleaved_image else ops.planar(image)
    if input_type == "float32":
        return image
    pixels = ops.cast(image, np.float32) if input_type == "uint8" else image
    if not chosen.fold_normalisation:
        return (pixels - ops.constant(MEAN)) * ops.constant(1 / np.asarray(STD))
    if not chosen.interleaved_image:
        return pixels - ops.constant(MEAN)
    _, height, width, channels = ops.shape(image)
    rows = ops.reshape(pixels, [height, width * channels]) - ops.constant(np.tile(MEAN, width))
    return ops.reshape(rows, [1, height, width, channels])


def find_proposals(layers: Layers, heatmap: Tensor, k: int) -> Proposals:
    """The K best centres."""
    form = fast.proposals if layers.rewrites.two_stage_top_k else postprocess.proposals
    return form(layers.ops, heatmap, k)


def find_masks(layers: Layers, heads: Heads, tail: Tail, found: Proposals, *, planes: bool) -> Tensor:
    """Mask logits [1, h, w, K] of the proposals; `planes` if the merge follows."""
    ops = layers.ops
    if layers.rewrites.lazy_embeddings:
        embeddings = fast.gather_embeddings(layers, heads.mask_embeddings, found.locations)
    else:
        embeddings = ops.pick(heads.mask_embeddings.dense(layers), found.locations)
    if layers.rewrites.fold_classifier:
        return fast.mask_logits(layers, tail, found, embeddings, heads.pixel_embeddings, planes=planes)
    pixels = heads.pixel_embeddings.dense(layers)
    return postprocess.mask_logits(layers, tail, found, embeddings, pixels)


def merge(
    layers: Layers, config: ModelConfig, spec: GraphSpec, found: Proposals, logits: Tensor
) -> tuple[Tensor, Tensor]:
    """Category and instance map at the output size."""
    size = spec.output_size or config.default_output_size
    thresholds = MergeThresholds(
        config.object_mask_threshold, config.overlap_threshold, small_area_threshold(config, size)
    )
    ids = np.arange(config.num_classes)
    is_thing = (ids > 0) & (ids < config.num_thing_classes)
    scene = (layers.ops, found, logits, size, thresholds, is_thing)
    if layers.rewrites.fast_merge:
        return fast_merge.panoptic(*scene, hard_sigmoid=config.hard_sigmoid)
    log_merits = layers.rewrites.log_merits
    return postprocess.panoptic(*scene, hard_sigmoid=config.hard_sigmoid, log_merits=log_merits)
