"""Maps are summed before they are repeated, not after."""

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder


def sum_upsampled(builder: GraphBuilder) -> int:
    """up(a) + up(b) = up(a + b), where the sum alone reads two maps that are repeated as often."""
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Binary):
        if node.op.kind != "add":
            continue
        a, b = (graph.only_for(value, operations.Upsample) for value in node.inputs)
        if a is None or b is None or a.op.factor != b.op.factor or a.output.shape != b.output.shape:
            continue
        with builder.before(node):
            builder.replace(node, builder.upsample(a.inputs[0] + b.inputs[0], a.op.factor))
        count += 1
    return count
