"""The tail of the graph in fewer operations: exact rewrites of `postprocess.py` for the kernels that runtimes have."""

import numpy as np

from maskconver_mobile.converters.folding import fold_classifier
from maskconver_mobile.converters.layers import Depthwise, Layers
from maskconver_mobile.converters.network import Head
from maskconver_mobile.converters.ops import Tensor, TensorFlowOps
from maskconver_mobile.converters.postprocess import Proposals, Tail

SUPPRESSION = 1e4


def proposals(ops: TensorFlowOps, heatmap: Tensor, k: int) -> Proposals:
    """The K best local maxima of a class map of logits [1, h, w, C], as `postprocess.proposals` finds them.

    The logistic function is monotone, so peaks and their order can be read off the logits and K values need it.
    Subtracting 1e4 times the distance to the neighbourhood's maximum leaves a peak as it is and sends everything else
    out of reach; arithmetic stays in the network's partition, comparisons would leave it. Top-K runs in two stages, of
    which the first leaves few cells to the second (`top_cells`).

    Equal to the plain form but for near ties: logits that differ by less than float rounding of their probabilities.
    """
    distance = ops.relu6(ops.max_pool(heatmap, 3) - heatmap)
    logits, locations, classes = ops.top_cells(heatmap - distance * SUPPRESSION, k, staged=True)
    return Proposals(classes, locations, ops.sigmoid(logits))


def gather_embeddings(layers: Layers, head: Head, locations: Tensor) -> Tensor:
    """Mask embeddings [K, E]: the head's last layers run where they are read instead of on the whole map.

    The per-location layers run on K gathered rows, and the depthwise convolution before them on the windows that it
    sees at K places. Where those hold less than the map, so do the layers before it.
    """
    ops = layers.ops
    _, height, width, _ = ops.shape(head.x)
    depthwise = head.depthwise
    if depthwise is not None:
        pay = layers.rewrites.lazy_windows and _windows_pay(depthwise, ops.shape(locations)[0], height * width)
        if pay or layers.rewrites.lazy_depthwise:
            return layers.apply(_windows(layers, head, depthwise, locations, whole=not pay), head.pointwise)
    return layers.apply(ops.pick(head.features(layers), locations), head.pointwise)


def _windows_pay(depthwise: Depthwise, k: int, places: int) -> bool:
    """Whether the windows at k locations hold clearly less than the whole map."""
    rows, columns = depthwise.kernel.shape[:2]
    return bool(k * rows * columns < 0.6 * places)


def _windows(layers: Layers, head: Head, depthwise: Depthwise, locations: Tensor, *, whole: bool) -> Tensor:
    """Rows [K, c] of a head's last depthwise convolution, computed from the windows around the locations.

    The layers before it run on the whole map, or on the windows as well.

    y[l] = sum over offsets d of kernel[d] * x[l + d]. Places beyond the border count as 0 behind the layers before, as
    `SAME` has it: their weights are 0, and any row of the map may stand for them.
    """
    ops = layers.ops
    _, height, width, _ = ops.shape(head.x)
    k = ops.shape(locations)[0]
    size = depthwise.kernel.shape[0]
    offsets = np.arange(size) - (size - 1) // 2
    places = ops.reshape(locations, [k, 1])
    rows = places // width
    wanted = [rows + np.repeat(offsets, size)[None], places - rows * width + np.tile(offsets, size)[None]]
    nearest = [ops.clip(v, 0, side - 1) for v, side in zip(wanted, (height, width), strict=True)]
    inside = ops.all([ops.equal(a, b) for a, b in zip(wanted, nearest, strict=True)])
    index = nearest[0] * width + nearest[1]
    if whole:
        x = ops.pick(layers.apply(head.x, head.before), index)
    else:
        x = ops.pick(head.x, ops.reshape(index, [k * size * size]))
        x = layers.apply(x, head.before)
        x = ops.reshape(x, [k, size * size, ops.shape(x)[-1]])
    channels = ops.shape(x)[-1]
    weights = ops.reshape(ops.cast(inside, np.float32), [k, size * size, 1])
    weights = weights * ops.constant(depthwise.kernel.reshape(1, size * size, channels))
    y = ops.sum(x * weights, 1) + ops.constant(depthwise.bias)
    return ops.relu(y) if depthwise.norm is None else layers.finish(y, depthwise.norm, True)


def mask_logits(
    layers: Layers, tail: Tail, found: Proposals, embeddings: Tensor, head: Head, *, planes: bool = False
) -> Tensor:
    """Mask logits [1, h, w, K] with the per-pixel head's last layer folded into the mask kernels.

    That layer is linear and its output only ever meets the kernels: (F W + b) . e = F . (W e) + b . e.

    Args:
        layers: operations.
        tail: class embeddings and MLP.
        found: the proposals.
        embeddings: mask embeddings [K, E].
        head: the per-pixel embedding head.
        planes: whether the masks are read one by one, not pixel by pixel; where a format can choose, it stores them so.
    """
    ops = layers.ops
    *before, classifier = head.pointwise
    features = layers.apply(head.features(layers), before)
    conditioned = embeddings * ops.gather(ops.constant(tail.class_embeddings), found.classes)
    first, second = tail.mlp
    hidden = layers.apply(conditioned, [first])
    folded = fold_classifier(second.kernel, second.bias, classifier.kernel, classifier.bias)
    kernels, offsets = (ops.dense(hidden, *part) for part in folded)
    _, height, width, channels = ops.shape(features)
    k = ops.shape(kernels)[0]
    rows = ops.reshape(features, [height * width, channels]) if planes else ops.rows(features)
    logits = ops.products(rows, kernels, ops.reshape(offsets, [k]))
    return ops.reshape(logits, [1, height, width, k])
