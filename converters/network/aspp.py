"""The decoder `aspp`: parallel dilated branches and a pooled one, concatenated and projected (Chen et al. 2017)."""

from dataclasses import dataclass

from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.network.layers import Layers, at_level
from maskconver_mobile.errors import MaskConverError


@dataclass(frozen=True)
class Aspp:
    """Keys of `decoder.aspp`; `pool_kernel_size` is in input pixels, None for the whole map."""

    level: int
    num_filters: int
    dilation_rates: tuple[int, ...]
    pool_kernel_size: tuple[int, int] | None


def aspp(layers: Layers, config: Aspp, endpoints: dict[str, Value]) -> dict[str, Value]:
    """The decoded map, by its level."""
    graph, filters, act = layers.graph, config.num_filters, layers.activation
    x = at_level(endpoints, config.level, "decoder.aspp.level")
    part = "decoder/aspp/aspp_layers/{}/layer_with_weights-{}".format
    branches = [layers.conv(x, part(0, 0), part(0, 1), filters, activation=act)]
    for i, rate in enumerate(config.dilation_rates, start=1):
        y = layers.depthwise(x, part(i, 0), None, 3, dilation=rate)
        branches.append(layers.conv(y, part(i, 1), part(i, 2), filters, activation=act))
    with graph.scope("decoder/aspp"):
        pooled = pool(layers, config, x)
    last = part(len(branches), 0) + "/layer_with_weights-"
    pooled = layers.conv(pooled, f"{last}0", f"{last}1", filters, activation=act)
    with graph.scope("decoder/aspp"):
        joined = graph.concat([*branches, graph.resize(pooled, x.shape[1:3])])
    projection = "decoder/aspp/projection/layer_with_weights-"
    return {str(config.level): layers.conv(joined, f"{projection}0", f"{projection}1", filters, activation=act)}


def pool(layers: Layers, config: Aspp, x: Value) -> Value:
    """The pooled branch's input: a global mean, or windows given in input pixels."""
    if config.pool_kernel_size is None:
        return layers.graph.global_mean(x)
    height, width = (max(1, side // 2**config.level) for side in config.pool_kernel_size)
    if height > x.shape[1] or width > x.shape[2]:
        size = list(config.pool_kernel_size)
        raise MaskConverError(
            f"decoder.aspp.pool_kernel_size {size} is larger than the input; leave it out or shrink it"
        )
    return layers.graph.average_pool(x, (height, width))
