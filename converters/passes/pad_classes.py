"""The class map gets channels that never win, up to a number that kernels are fast at."""

import numpy as np

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder

CHANNELS = 8
"""XNNPACK's matrix products are slow at 1, 2 or 4 output channels more than a multiple of this."""
NEVER = -65000.0
"""The class logit of padded channels: below all that suppression leaves, and still a float16 number."""


def pad_classes(builder: GraphBuilder) -> int:
    """Pad the convolution that makes the class map of proposals."""
    graph = builder.graph
    count = 0
    for node in [node for node in graph.of(operations.Proposals) if len(node.inputs) == 1]:
        layer = graph.only_for(node.inputs[0], operations.Conv)
        if layer is None or layer.op.activation or not (added := -layer.output.shape[-1] % CHANNELS):
            continue
        op = layer.op
        kernel = np.pad(op.kernel, [(0, 0)] * 3 + [(0, added)])
        wider = builder.change(
            layer, kernel=kernel, bias=np.pad(op.biases(op.kernel.shape[3]), (0, added), constant_values=NEVER)
        )
        with builder.before(node):
            builder.replace(node, *builder.add(node.op, wider))
        count += 1
    return count
