"""The tail of the graph in fewer operations: exact rewrites of `postprocess.py` for the kernels that runtimes have."""

from maskconver_mobile.converters.folding import fold_classifier
from maskconver_mobile.converters.layers import Layers
from maskconver_mobile.converters.network import Head
from maskconver_mobile.converters.ops import Tensor, TensorFlowOps
from maskconver_mobile.converters.postprocess import Proposals, Tail

SUPPRESSION = 1e30


def proposals(ops: TensorFlowOps, heatmap: Tensor, k: int) -> Proposals:
    """The K best local maxima of a class map of logits [1, h, w, C], as `postprocess.proposals` finds them.

    The logistic function is monotone, so peaks and their order can be read off the logits and K values need it.
    Subtracting 1e30 times the distance to the neighbourhood's maximum leaves a peak as it is and sends everything else
    out of reach; arithmetic stays in the network's partition, comparisons would leave it. Then top-K runs over the
    locations' maxima, and again over the K rows it found: any location outside the first K has K better ones.

    Equal to the plain form but for near ties: logits that differ by less than float rounding of their probabilities.
    """
    _, height, width, channels = ops.shape(heatmap)
    distance = ops.max_pool(heatmap, 3) - heatmap
    peaks = ops.reshape(heatmap - distance * SUPPRESSION, [height * width, channels])
    rows = min(k, height * width)
    _, locations = ops.top_k(ops.max(peaks, -1), rows)
    logits, row, classes = ops.top_cells(ops.gather(peaks, locations), k)
    return Proposals(classes, ops.gather(locations, row), ops.sigmoid(logits))


def gather_embeddings(layers: Layers, head: Head, locations: Tensor) -> Tensor:
    """Mask embeddings [K, E]: the head's per-location layers run on the gathered rows instead of the whole map."""
    ops = layers.ops
    _, height, width, channels = ops.shape(head.features)
    rows = ops.gather(ops.reshape(head.features, [height * width, channels]), locations)
    return layers.apply(rows, head.pointwise)


def mask_logits(layers: Layers, tail: Tail, found: Proposals, embeddings: Tensor, head: Head) -> Tensor:
    """Mask logits [1, h, w, K] with the per-pixel head's last layer folded into the mask kernels.

    That layer is linear and its output only ever meets the kernels: (F W + b) . e = F . (W e) + b . e.

    Args:
        layers: operations.
        tail: class embeddings and MLP.
        found: the proposals.
        embeddings: mask embeddings [K, E].
        head: the per-pixel embedding head.
    """
    ops = layers.ops
    *before, classifier = head.pointwise
    features = layers.apply(head.features, before)
    conditioned = embeddings * ops.gather(ops.constant(tail.class_embeddings), found.classes)
    first, second = tail.mlp
    hidden = layers.apply(conditioned, [first])
    folded = fold_classifier(second.kernel, second.bias, classifier.kernel, classifier.bias)
    kernels, offsets = (ops.dense(hidden, *part) for part in folded)
    _, height, width, channels = ops.shape(features)
    k = ops.shape(kernels)[0]
    rows = ops.reshape(features, [1, height * width, channels])
    logits = ops.matmul(rows, ops.reshape(kernels, [1, k, channels])) + ops.reshape(offsets, [1, 1, k])
    return ops.reshape(logits, [1, height, width, k])
