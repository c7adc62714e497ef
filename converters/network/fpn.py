"""The pyramid decoders `fpn` and `maskconver_fpn` (Lin et al. 2017)."""

from dataclasses import dataclass

from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.network.layers import Layers, at_level

LAST_OF_BACKBONE = 5
COARSER_KERNEL = 3


@dataclass(frozen=True)
class Fpn:
    """Keys of the decoder; `kernel_size` is that of depthwise convolutions."""

    min_level: int
    max_level: int
    num_filters: int
    fusion_type: str
    use_separable_conv: bool
    kernel_size: int
    use_layer_norm: bool
    use_keras_layer: bool


def fpn(layers: Layers, config: Fpn, endpoints: dict[str, Value], root: str = "decoder") -> dict[str, Value]:
    """Maps of all levels: laterals, top-down fusion, post-hoc convolutions, coarser levels, norms."""
    graph, act = layers.graph, layers.activation
    top = min(LAST_OF_BACKBONE, config.max_level)
    names = {key: f"{root}/layer_with_weights-{i}" for i, key in enumerate(order(config))}

    def conv(x: Value, name: str, kernel: int, stride: int = 1) -> Value:
        if config.use_separable_conv:
            return layers.separable(x, name, config.num_filters, kernel, stride)
        return layers.conv(x, name, None, config.num_filters, kernel, stride, bias=True)

    laterals = {
        level: conv(at_level(endpoints, level, "the pyramid"), names["lateral", level], 1)
        for level in range(config.min_level, top + 1)
    }
    maps = {top: laterals[top]}
    for level in range(top - 1, config.min_level - 1, -1):
        finer, coarser = laterals[level], graph.upsample(maps[level + 1], 2)
        maps[level] = coarser + finer if config.fusion_type == "sum" else graph.concat([coarser, finer])
    maps = {level: conv(maps[level], names["post-hoc", level], config.kernel_size) for level in sorted(maps)}
    for level in range(top + 1, config.max_level + 1):
        x = maps[level - 1] if level == top + 1 else graph.activation(act, maps[level - 1])
        maps[level] = conv(x, names["coarser", level], COARSER_KERNEL, 2)
    return {str(level): layers.norm(x, names["norm", level], config.use_layer_norm) for level, x in maps.items()}


def order(config: Fpn) -> list[tuple[str, int]]:
    """Layers in the order of their variables, which is Keras': the deepest first."""
    low, high = config.min_level, config.max_level
    top = min(LAST_OF_BACKBONE, high)
    step = 2 if config.use_keras_layer else 6
    depth: dict[tuple[str, int], int] = {}
    for level in range(top + 1, high + 1):
        depth["coarser", level] = 1 + 2 * (high - level)
    for level in range(low, top):
        depth["post-hoc", level] = 1
    depth["post-hoc", top] = 1 + (depth["coarser", top + 1] if high > top else 0)
    for level in range(low, top):
        depth["lateral", level] = 3 + step * (level - low)
    depth["lateral", top] = depth["post-hoc", top] + 1 if top == low else 2 + step * (top - low)
    kinds = ("lateral", "post-hoc", "coarser")
    found = sorted(depth, key=lambda key: (-depth[key], kinds.index(key[0]), key[1]))
    return [*found, *(("norm", level) for level in range(low, high + 1))]
