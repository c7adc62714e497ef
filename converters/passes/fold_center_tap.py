"""Dilated convolutions that see nothing but padding around their center."""

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.operations import Array
from maskconver_mobile.converters.passes.fold_input_scale import scaled


def fold_center_tap(builder: GraphBuilder) -> int:
    """Let the 1x1 convolution behind such a depthwise convolution do its work."""
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Conv):
        before = graph.only_for(node.inputs[0], operations.Depthwise)
        if before is None or not node.op.pointwise:
            continue
        factors = center_tap(before.op, before.inputs[0].shape[1:3])
        if factors is not None:
            kernel = scaled(node.op.kernel, factors)
            builder.replace(node, builder.change(node, before.inputs, kernel=kernel))
            count += 1
    return count


def center_tap(convolution: operations.Depthwise, size: tuple[int, ...]) -> Array | None:
    """What is left of a dilated depthwise convolution of odd size, `SAME`, on a map no larger than its dilation.

    All taps but the center then lie in the padding everywhere: y = x kernel[center], a factor per channel.

    Args:
        convolution: with nothing behind it.
        size: (height, width) of the map.

    Returns:
        The factors [channels]; None where other taps reach the map, or more is done than taps are summed.
    """
    rows, columns = convolution.kernel.shape[:2]
    plain = convolution.bias is None and convolution.activation is None and convolution.stride == 1
    alone = min(convolution.dilation) >= max(size)
    if not plain or rows % 2 == 0 or columns % 2 == 0 or not alone:
        return None
    factors: Array = convolution.kernel[rows // 2, columns // 2, :, 0]
    return factors
