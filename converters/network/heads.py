"""Heads: fusion with other maps, then convolutions, then a prediction."""

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass

from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.network.layers import Layers, at_level

GROUPS = 32


@dataclass(frozen=True)
class Head:
    """Keys of a head; `num_convs` counts pairs of a depthwise and a pointwise convolution where there are pairs.

    `low_level` and its filters are for the fusions with an endpoint, `level` and the decoder's levels for those of a
    pyramid.
    """

    num_filters: int
    num_convs: int
    use_depthwise_convolution: bool
    kernel_size: int
    prediction_kernel_size: int
    upsample_factor: int
    use_layer_norm: bool
    fusion: str
    level: int
    low_level: int
    low_level_filters: int
    decoder_min_level: int
    decoder_max_level: int


Maps = dict[str, Value]


def activation_of(layers: Layers) -> str:
    """Heads have the approximation of gelu by tanh."""
    return "gelu_tanh" if layers.activation == "gelu" else layers.activation


def head(
    layers: Layers,
    path: str,
    config: Head,
    endpoints: Maps,
    decoded: Maps,
    outputs: int,
    channels: tuple[int, ...] | None = None,
) -> Value:
    """Fuse, then separable or 3x3 convolutions and a prediction with some of its output channels, all if None."""
    x = FUSIONS[config.fusion](layers, path, config, endpoints, decoded)
    return predict(
        layers, path, config, x, [f"{path}/_norms/{j}" for j in range(2 * config.num_convs)], outputs, channels
    )


def predict(
    layers: Layers,
    path: str,
    config: Head,
    x: Value,
    norms: list[str],
    outputs: int,
    channels: tuple[int, ...] | None = None,
) -> Value:
    """Convolutions with these norms, and the prediction."""
    act, layer_norm = activation_of(layers), config.use_layer_norm
    steps = 2 if config.use_depthwise_convolution else 1
    for j in range(steps * config.num_convs):
        conv, norm = f"{path}/_convs/{j}", norms[j]
        if steps == 2 and j % 2 == 0:
            x = layers.depthwise(x, conv, norm, config.kernel_size, layer_norm=layer_norm, activation=act)
        else:
            kernel = 1 if steps == 2 else 3
            x = layers.conv(x, conv, norm, config.num_filters, kernel, layer_norm=layer_norm, activation=act)
    x = layers.graph.upsample(x, config.upsample_factor)
    return layers.classifier(x, f"{path}/_classifier", outputs, channels, config.prediction_kernel_size)


def shared_head(
    layers: Layers, path: str, config: Head, decoded: Maps, outputs: int, channels: tuple[int, ...] | None = None
) -> list[Value]:
    """A prediction for each level of a pyramid: the same convolutions, with norms of their own."""
    steps = (2 if config.use_depthwise_convolution else 1) * config.num_convs
    return [
        predict(layers, path, config, x, [f"{path}/_norms/{i}/{j}" for j in range(steps)], outputs, channels)
        for i, x in enumerate(decoded.values())
    ]


def low_level_maps(layers: Layers, path: str, config: Head, endpoints: Maps, decoded: Maps) -> tuple[Value, Value]:
    """The decoded map at the size of an endpoint, and that endpoint with filters of its own.

    The heads share the resized decoder map. One wide convolution instead of their three of the low-level endpoint would
    have to be sliced again: measured, that is no faster in LiteRT and 3% slower in ONNX Runtime.
    """
    y = layers.conv(
        at_level(endpoints, config.low_level, "low_level"),
        f"{path}/_dlv3p_conv",
        f"{path}/_dlv3p_norm",
        config.low_level_filters,
        layer_norm=config.use_layer_norm,
        activation=activation_of(layers),
    )
    (x,) = decoded.values()
    with layers.graph.scope(path):
        return layers.graph.resize(x, y.shape[1:3]), y


def sum_to_merge(layers: Layers, path: str, config: Head, endpoints: Maps, decoded: Maps) -> Value:
    """`deeplabv3plus_sum_to_merge`."""
    return layers.add(*low_level_maps(layers, path, config, endpoints, decoded), path)


def concat(layers: Layers, path: str, config: Head, endpoints: Maps, decoded: Maps) -> Value:
    """`deeplabv3plus`."""
    maps = low_level_maps(layers, path, config, endpoints, decoded)
    with layers.graph.scope(path):
        return layers.graph.concat(maps)


def none(layers: Layers, path: str, config: Head, endpoints: Maps, decoded: Maps) -> Value:
    """The decoder's only map, or that of the head's level."""
    return decoded[str(config.level)] if len(decoded) > 1 else next(iter(decoded.values()))


def pyramid(layers: Layers, path: str, config: Head, endpoints: Maps, decoded: Maps) -> Value:
    """`pyramid_fusion`: all levels at the size of one, summed."""
    graph = layers.graph
    maps = []
    with graph.scope(path):
        for level, x in decoded.items():
            scale = 2 ** (int(level) - config.level)
            maps.append(graph.resize(x, [side * scale for side in x.shape[1:3]]))
        return functools.reduce(operator.add, maps)


def panoptic_fpn(layers: Layers, path: str, config: Head, endpoints: Maps, decoded: Maps) -> Value:
    """`panoptic_fpn_fusion`: per level, 3x3 convolutions that double the size step by step; summed (Kirillov 2019)."""
    graph, act = layers.graph, activation_of(layers)
    levels = range(config.decoder_min_level, config.decoder_max_level + 1)
    root = f"{path}/_panoptic_fpn_fusion/layer_with_weights-{{}}"
    names = {key: root.format(i) for i, key in enumerate(panoptic_fpn_order(config))}
    maps = []
    for level in levels:
        x = decoded[str(level)]
        for step in range(max(1, level - config.level)):
            x = layers.conv(x, names["conv", level, step], None, config.num_filters, 3, bias=True)
            x = graph.activation(act, layers.group_norm(x, names["norm", level, step], GROUPS))
            if level != config.level:
                x = graph.upsample(x, 2)
        maps.append(x)
    with graph.scope(path):
        return functools.reduce(operator.add, maps)


def panoptic_fpn_order(config: Head) -> list[tuple[str, int, int]]:
    """Convolutions and norms in the order of their variables.

    Chains are aligned at the sum, one without doubling a step later; from the farthest step on come the step's
    convolutions by rising level, then its norms.
    """
    steps: dict[int, list[tuple[int, int]]] = {}
    for level in range(config.decoder_min_level, config.decoder_max_level + 1):
        length = max(1, level - config.level)
        for step in range(length):
            distance = length - step - (level == config.level)
            steps.setdefault(distance, []).append((level, step))
    return [
        (kind, *key) for distance in sorted(steps, reverse=True) for kind in ("conv", "norm") for key in steps[distance]
    ]


Fusion = Callable[[Layers, str, Head, Maps, Maps], Value]
FUSIONS: dict[str, Fusion] = {
    "deeplabv3plus_sum_to_merge": sum_to_merge,
    "deeplabv3plus": concat,
    "none": none,
    "pyramid_fusion": pyramid,
    "panoptic_fpn_fusion": panoptic_fpn,
}
