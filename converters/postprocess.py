"""From three heads to proposals, masks and a panoptic map, as graph operations without loops (the plain form)."""

from dataclasses import dataclass

import numpy as np

from maskconver_mobile.converters.cells import mask_probability, merits
from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.folding import Array
from maskconver_mobile.converters.layers import LayerNorm, Layers, Pointwise
from maskconver_mobile.converters.ops import Tensor, TensorFlowOps

PEAK_ERROR = 1e-6


@dataclass(frozen=True)
class Tail:
    """Weights that turn a gathered mask embedding into a mask: class embeddings [classes, E], the MLP and its norm."""

    class_embeddings: Array
    norm: LayerNorm
    mlp: tuple[Pointwise, Pointwise]


@dataclass(frozen=True)
class Proposals:
    """K centres, best first: classes and flat map locations int32 [K], scores float32 [K]."""

    classes: Tensor
    locations: Tensor
    scores: Tensor


def read_tail(weights: Weights, config: ModelConfig) -> Tail:
    """The weights behind the heads: dense, layer norm, relu, dense."""
    layers, size = Layers(TensorFlowOps(), weights, 0.0), config.embedding_size
    first, second = (
        (path, weights(f"{path}/kernel", (size, size)), weights(f"{path}/bias", (size,)))
        for path in ("mlp/dense/0", "mlp/dense/1")
    )
    norm = layers.layer_norm("mlp/norms/0", size)
    classes = weights("class_embeddings/embeddings", (config.num_classes, size))
    return Tail(classes, norm, (Pointwise(*first, norm, relu=True), Pointwise(*second)))


def proposals(ops: TensorFlowOps, heatmap: Tensor, k: int) -> Proposals:
    """The K best local maxima of a class map of logits [1, h, w, C].

    A peak's probability is within 1e-6 of the largest in its 3x3 neighbourhood (Zhou et al. 2019, "Objects as
    Points"); all else counts as 0. Ties take the lower flat index `(y * w + x) * C + c`.
    """
    probability = ops.sigmoid(heatmap)
    distance = ops.max_pool(probability, 3) - probability
    peaks = ops.where(distance < PEAK_ERROR, probability, ops.constant(0.0))
    scores, locations, classes = ops.top_cells(peaks, k)
    return Proposals(classes, locations, scores)


def mask_logits(layers: Layers, tail: Tail, found: Proposals, embeddings: Tensor, pixels: Tensor) -> Tensor:
    """Mask logits [1, h, w, K]: pixel embeddings [1, h, w, E] times each proposal's mask embedding.

    Args:
        layers: operations.
        tail: class embeddings and MLP.
        found: the proposals.
        embeddings: mask embeddings [K, E] at the proposals' locations.
        pixels: per-pixel embeddings.
    """
    ops = layers.ops
    _, height, width, size = ops.shape(pixels)
    conditioned = embeddings * ops.gather(ops.constant(tail.class_embeddings), found.classes)
    kernels = layers.apply(conditioned, tail.mlp)
    k = ops.shape(kernels)[0]
    logits = ops.matmul(ops.reshape(pixels, [1, height * width, size]), ops.reshape(kernels, [1, k, size]))
    return ops.reshape(logits, [1, height, width, k])


@dataclass(frozen=True)
class MergeThresholds:
    """Thresholds of the panoptic merge; areas in pixels of the size where it runs."""

    object_mask: float
    overlap: float
    small_area: float


def area_unit(size: tuple[int, int]) -> float:
    """In this many per pixel areas are counted: a power of two, which is exact, and no area leaves float16."""
    return float(2.0 ** -max(0, (size[0] * size[1] - 1).bit_length() - 15))


def count_pixels(ops: TensorFlowOps, flags: Tensor, size: tuple[int, int]) -> Tensor:
    """Areas [K], in `area_unit`s, of flags [pixels, K] that are 0 or 1. Rows are counted before they are added up."""
    flags = ops.reshape(flags, [*size, ops.shape(flags)[-1]])
    return ops.sum(ops.sum(flags, 1) * area_unit(size), 0)


def panoptic(
    ops: TensorFlowOps,
    found: Proposals,
    logits: Tensor,
    output_size: tuple[int, int],
    thresholds: MergeThresholds,
    is_thing: np.typing.NDArray[np.bool_],
    *,
    hard_sigmoid: bool,
    log_merits: bool = False,
) -> tuple[Tensor, Tensor]:
    """Category and instance maps int32 [1, oh, ow] from proposals sorted by score.

    A pixel goes to the proposal with the largest mask probability times score; a proposal keeps its pixels where it
    won enough of its own area. Class ids index `is_thing`. With `log_merits` the logarithms of those products are
    compared: float16 rounds products to 0 where it still tells their logarithms apart.
    """
    masks = ops.resize(logits, output_size)
    probability = mask_probability(ops, masks, hard_sigmoid=hard_sigmoid)
    valid = found.scores > thresholds.object_mask
    weight = ops.cast(valid, np.float32)
    classes = ops.where(valid, found.classes, ops.constant(0, np.int32))
    k = ops.shape(logits)[-1]
    pixels = output_size[0] * output_size[1]
    probability = ops.reshape(probability, [pixels, k]) * weight
    if log_merits:
        order = merits(ops, found.scores, weight, thresholds.object_mask, hard_sigmoid=hard_sigmoid)
        winner = ops.argmax(order(ops, ops.reshape(masks, [pixels, k]), order.offsets))
    else:
        winner = ops.argmax(probability * (found.scores * weight))
    ids = ops.constant(np.arange(k), np.int32)
    won = ops.cast(ops.equal(ops.reshape(winner, [pixels, 1]), ids), np.float32)
    area = count_pixels(ops, won, output_size)
    own_area = count_pixels(ops, ops.cast(probability > 0.5, np.float32), output_size)
    small_area = thresholds.small_area * area_unit(output_size)
    kept = ops.all([area > small_area, own_area > 0.0, area > thresholds.overlap * own_area])
    thing = ops.gather(ops.constant(is_thing, np.int32), classes)
    kept = ops.cast(kept, np.int32)
    shape = [1, *output_size]
    category_map = ops.reshape(ops.gather(classes * kept, winner), shape)
    instance_map = ops.reshape(ops.gather((ids + 1) * thing * kept, winner), shape)
    return category_map, instance_map
