"""A factor for each channel of an image enters the convolution behind it."""

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.operations import Array


def fold_input_scale(builder: GraphBuilder) -> int:
    """Fold products with constants [channels] that one convolution alone reads."""
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Conv):
        product = graph.only_for(node.inputs[0], operations.Binary)
        if product is None or product.op.kind != "mul":
            continue
        x, scale = product.inputs
        if scale.constant is None or scale.shape != x.shape[-1:]:
            continue
        kernel = scaled(node.op.kernel, scale.constant)
        builder.replace(node, builder.change(node, [x], kernel=kernel))
        count += 1
    return count


def scaled(kernel: Array, scale: NDArray[np.floating]) -> Array:
    """A kernel [kh, kw, channels, filters] with a factor for each channel: (x s) * k = x * (s k).

    So the image's division by std moves into the first convolution. The subtraction of the mean cannot follow: the
    canvas and the `SAME` border are 0 after it.
    """
    product: Array = (kernel * scale.astype(np.float64)[:, None]).astype(np.float32)
    return product
