"""The channels of the image stay side by side."""

import numpy as np

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder


def interleave_image(builder: GraphBuilder) -> int:
    """Take the hint from the image that convolutions want planes, and subtract the mean from whole rows [w * c].

    A sum with three channels would use three lanes of a vector unit at a time. The first convolution of ONNX reads
    such an image as one plane (`onnx_ops.OnnxOps.conv`).
    """
    graph = builder.graph
    count = 0
    for hint in graph.of(operations.Planar):
        builder.replace(hint, hint.inputs[0])
        count += 1
    for node in graph.of(operations.Binary):
        x, mean = node.inputs
        if node.op.kind != "sub" or mean.constant is None or mean.shape != x.shape[-1:] or len(x.shape) != 4:
            continue
        _, height, width, channels = x.shape
        with builder.before(node):
            rows = builder.reshape(x, [height, width * channels]) - builder.constant(np.tile(mean.constant, width))
            builder.replace(node, builder.reshape(rows, x.shape))
        count += 1
    return count
