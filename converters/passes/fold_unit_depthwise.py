"""Depthwise convolutions of one tap are factors for each channel, which enter the convolution behind."""

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.passes.fold_input_scale import scaled


def fold_unit_depthwise(builder: GraphBuilder) -> int:
    """(x s) * k = x * (s k), where a convolution alone reads a depthwise one of a single tap, without a bias."""
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Conv):
        before = graph.only_for(node.inputs[0], operations.Depthwise)
        if before is None or before.op.kernel.shape[:2] != (1, 1):
            continue
        if before.op.bias is not None or before.op.activation or before.op.stride != 1:
            continue
        kernel = scaled(node.op.kernel, before.op.kernel[0, 0, :, 0])
        builder.replace(node, builder.change(node, before.inputs, kernel=kernel))
        count += 1
    return count
