"""The composite operation that merges masks, in operations that backends have."""

from collections.abc import Callable
from functools import partial
from typing import Any

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.lowerings import fast_merge, plain_merge
from maskconver_mobile.converters.lowerings.plain_merge import MergeThresholds, Proposals


def lower_panoptic(builder: GraphBuilder) -> int:
    """By probabilities of all masks in all pixels, as the original does."""
    return _lower(builder, plain_merge.panoptic)


def lower_panoptic_by_logarithms(builder: GraphBuilder) -> int:
    """The same by logarithms of probabilities, for the sake of float16."""
    return _lower(builder, partial(plain_merge.panoptic, log_merits=True))


def lower_panoptic_in_cells(builder: GraphBuilder) -> int:
    """By the masks that can win a cell (`fast_merge.panoptic`).

    It needs operators that only CPU kernels have: conditions, and a scatter that sums.
    """
    return _lower(builder, fast_merge.panoptic)


def _lower(builder: GraphBuilder, form: Callable[..., Any]) -> int:
    nodes = builder.graph.of(operations.Panoptic)
    for node in nodes:
        op, (classes, scores, logits) = node.op, node.inputs
        thresholds = MergeThresholds(op.object_mask, op.overlap, op.small_area)
        found = Proposals(classes, scores)
        with builder.before(node):
            maps = form(builder, found, logits, op.size, thresholds, op.is_thing, hard_sigmoid=op.hard_sigmoid)
        builder.replace(node, *maps)
    return len(nodes)
