"""The pixel embeddings' last layer moves into the mask kernels."""

import numpy as np

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.operations import Array


def fold_classifier(builder: GraphBuilder) -> int:
    """Fold a 1x1 convolution whose rows only meet vectors that a dense layer makes.

    The convolution is linear, so (F W + b) . e = F . (W e) + b . e, and both factors come of the dense layer's input.
    """
    graph = builder.graph
    count = 0
    for node in graph.of(operations.Matmul):
        rows, vectors = (graph.only_for(value, operations.Reshape) for value in node.inputs)
        readers = graph.readers(node.output)
        if rows is None or vectors is None or len(readers) != 1 or not isinstance(readers[0].op, operations.Reshape):
            continue
        pixels = graph.only_for(rows.inputs[0], operations.Conv)
        maker = graph.only_for(vectors.inputs[0], operations.Dense)
        if pixels is None or maker is None or not pixels.op.pointwise or pixels.op.activation or maker.op.activation:
            continue
        (result,) = readers
        features, hidden = pixels.inputs[0], maker.inputs[0]
        with builder.before(result, scopes=(*maker.scopes, *pixels.scopes)):
            kernels, offsets = (builder.dense(hidden, *part) for part in composed(maker.op, pixels.op))
            _, height, width, channels = features.shape
            planes = any(isinstance(reader.op, operations.Panoptic) for reader in graph.readers(result.output))
            rows_ = builder.reshape(features, [height * width, channels]) if planes else builder.rows(features)
            logits = builder.linear(rows_, kernels, builder.reshape(offsets, [kernels.shape[0]]))
            builder.replace(result, builder.reshape(logits, result.output.shape))
        count += 1
    return count


def composed(maker: operations.Dense, classifier: operations.Conv) -> list[tuple[Array, Array]]:
    """Kernels and biases of h -> W e, with kernel [hidden, channels], and of h -> b . e, with kernel [hidden, 1].

    With e = h A + a: W e = h (A W^T) + a W^T and b . e = h (A b) + a . b.
    """
    weights = classifier.kernel[0, 0]
    offset, shift = classifier.biases(weights.shape[1]), maker.biases(maker.kernel.shape[1])
    columns = [part.astype(np.float64) for part in (weights.T, offset[:, None])]
    return [((maker.kernel @ part).astype(np.float32), (shift @ part).astype(np.float32)) for part in columns]
