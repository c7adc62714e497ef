"""The composite operation that finds proposals, in operations that backends have."""

from collections.abc import Sequence
from itertools import zip_longest

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder, joined
from maskconver_mobile.converters.graph.ir import Value

PEAK_ERROR = 1e-6
SUPPRESSION = 1e4
OUT_OF_REACH = 6e4
"""More than parts of logits differ by, and in the range of float16."""


def lower_proposals(builder: GraphBuilder) -> int:
    """By probabilities, as the original does."""
    return _lower(builder, fast=False)


def lower_proposals_fast(builder: GraphBuilder) -> int:
    """By logits, and top-K in stages."""
    return _lower(builder, fast=True)


def _lower(builder: GraphBuilder, *, fast: bool) -> int:
    nodes = builder.graph.of(operations.Proposals)
    for node in nodes:
        with builder.before(node):
            if fast:
                parts = [last_part(heatmap) for heatmap in node.inputs]
                found = fast_proposals(builder, *node.inputs, k=node.op.k, parts=parts)
            else:
                found = proposals(builder, *node.inputs, k=node.op.k)
        builder.replace(node, *found)
    return len(nodes)


def proposals(ops: GraphBuilder, *heatmaps: Value, k: int) -> tuple[Value, Value, Value]:
    """Classes, locations and scores of the K best local maxima of class maps of logits [1, h, w, C].

    A peak's probability is within 1e-6 of the largest in its 3x3 neighborhood (Zhou et al. 2019, "Objects as
    Points"); all else counts as 0. Ties take the lower flat index `(y * w + x) * C + c`.
    """
    peaks = []
    for heatmap in heatmaps:
        probability = ops.sigmoid(heatmap)
        distance = ops.max_pool(probability, 3) - probability
        peaks.append(ops.where(distance < PEAK_ERROR, probability, ops.constant(0.0)))
    scores, locations, classes = ops.top_k_cells(joined(ops, peaks), k)
    return classes, locations, scores


def fast_proposals(
    ops: GraphBuilder, *heatmaps: Value, k: int, parts: Sequence[Value | None] = ()
) -> tuple[Value, Value, Value]:
    """The same, in fewer operations.

    The logistic function is monotone, so peaks and their order can be read off the logits and K values need it.
    Subtracting 1e4 times the distance to the neighborhood's maximum leaves a peak as it is and sends everything else
    out of reach; arithmetic stays in the network's partition, comparisons would leave it. Top-K runs in two stages, of
    which the first leaves few cells to the second (`top_k_cells`).

    Equal to the plain form but for near ties: logits that differ by less than float rounding of their probabilities.
    Where parts of the logits are given, ties are decided by them (`tie_distance`).
    """
    peaks = []
    for heatmap, part in zip_longest(heatmaps, parts):
        distance = ops.relu6(ops.max_pool(heatmap, 3) - heatmap)
        if part is not None:
            distance = ops.relu6(distance + tie_distance(ops, distance, part))
        peaks.append(heatmap - distance * SUPPRESSION)
    logits, locations, classes = ops.top_k_cells(joined(ops, peaks), k, staged=True)
    return classes, locations, ops.sigmoid(logits)


def last_part(heatmap: Value) -> Value | None:
    """The map that a sum of maps added last; None of what is no such sum."""
    node = heatmap.node
    if node is None or not isinstance(node.op, operations.Binary) or node.op.kind != "add":
        return None
    last = node.inputs[1]
    return last if last.node is not None and last.shape == heatmap.shape else None


def tie_distance(ops: GraphBuilder, distance: Value, part: Value) -> Value:
    """How far a peak is from its neighborhood's best in a part of its logit; only peaks are compared.

    In float16 neighbors of a peak may equal it, and one object would be found twice, with half of its mask each. Parts
    of equal sums differ, so that one remains. On a map of one color, where float32 has ties, parts are equal as well.

    Args:
        ops: operations.
        distance: 0 for peaks, else more [1, h, w, C].
        part: of the logits [1, h, w, C].
    """
    standing = part - ops.clip01(distance * SUPPRESSION) * OUT_OF_REACH
    return ops.max_pool(standing, 3) - standing
