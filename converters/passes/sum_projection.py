"""Products of branches are summed instead of joining their maps."""

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder


def sum_projection(builder: GraphBuilder) -> int:
    """concat(x, ...) P + b = x P1 + ... + b, for runtimes whose convolutions add to what another one left."""
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Conv):
        joined = graph.only_for(node.inputs[0], operations.Concat)
        total = graph.readers(node.output)
        op = node.op
        if joined is None or not op.pointwise or joined.op.axis != -1 or op.bias is not None or op.activation:
            continue
        if len(total) != 1 or not isinstance(total[0].op, operations.Binary) or total[0].op.kind != "add":
            continue
        (sum_,) = total
        y = next(value for value in sum_.inputs if value is not node.output)
        kernels = op.split_inputs([part.shape[-1] for part in joined.inputs])
        with builder.before(sum_):
            for part, kernel in zip(joined.inputs, kernels, strict=True):
                y = builder.conv(part, kernel) + y
        builder.replace(sum_, y)
        count += 1
    return count
