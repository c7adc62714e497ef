"""MobileNets, as tables; another one is a line here.

A table is a list of blocks in words: `b3/2 24 x6 S*` is kind, kernel/stride, filters; `xE` multiplies the input's
filters for the expansion, `S` is squeeze-excitation, `*` an endpoint, `!` has no residual, `3(...)` is three times.
`relu:` and the like set the activation from there on. Kinds: `c` convolution, `d` separable, `b` inverted bottleneck,
`f` fused bottleneck, `u` universal bottleneck with kernels of the depthwise convolutions before the expansion and
behind it, 0 for none. What follows the last endpoint is left out: no decoder reads it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import repeat

from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.network.layers import Layers

TABLES: dict[str, str] = {
    "MobileNetV1": """relu6: c3/2 32, d3/1 64, d3/2 128, d3/1 128*, d3/2 256, d3/1 256*, d3/2 512, 4(d3/1 512),
        d3/1 512*, d3/2 1024, d3/1 1024*""",
    "MobileNetV2": """relu6: c3/2 32, b3/1 16 x1, b3/2 24 x6, b3/1 24 x6*, b3/2 32 x6, b3/1 32 x6, b3/1 32 x6*,
        b3/2 64 x6, 3(b3/1 64 x6), 2(b3/1 96 x6), b3/1 96 x6*, b3/2 160 x6, 2(b3/1 160 x6), b3/1 320 x6*""",
    "MobileNetV3Large": """hard_swish: c3/2 16, relu: b3/1 16 x1, b3/2 24 x4, b3/1 24 x3*, b5/2 40 x3 S, b5/1 40 x3 S,
        b5/1 40 x3 S*, hard_swish: b3/2 80 x6, b3/1 80 x2.5, 2(b3/1 80 x2.3), b3/1 112 x6 S, b3/1 112 x6 S*,
        b5/2 160 x6 S, b5/1 160 x6 S, b5/1 160 x6 S*""",
    "MobileNetV3Small": """hard_swish: c3/2 16, relu: b3/2 16 x1 S*, b3/2 24 x72/16, b3/1 24 x88/24*,
        hard_swish: b5/2 40 x4 S, 2(b5/1 40 x6 S), b5/1 48 x3 S, b5/1 48 x3 S*, b5/2 96 x6 S, b5/1 96 x6 S,
        b5/1 96 x6 S*""",
    "MobileNetV3SmallReducedFilters": """hard_swish: c3/2 16, relu: b3/2 16 x1 S*, b3/2 24 x72/16, b3/1 24 x88/24*,
        hard_swish: b5/2 40 x4 S, 2(b5/1 40 x6 S), b5/1 48 x3 S, b5/1 48 x3 S*, b5/2 48 x3 S, b5/1 48 x6 S,
        b5/1 48 x6 S*""",
    "MobileNetV3EdgeTPU": """relu: c3/2 32, f3/1 16 x1, f3/2 32 x8, 2(f3/1 32 x4), f3/1 32 x4*, f3/2 48 x8,
        2(f3/1 48 x4), f3/1 48 x4*, b3/2 96 x8, 3(b3/1 96 x4), b3/1 96 x8!, 2(b3/1 96 x4), b3/1 96 x4*, b5/2 160 x8,
        3(b5/1 160 x4), b3/1 192 x8*""",
    "MobileNetMultiMAX": """relu: c3/2 32, b3/2 32 x3*, b5/2 64 x6, b3/1 64 x2, b3/1 64 x2*, b5/2 128 x6, b3/1 128 x4,
        2(b3/1 128 x3), b3/1 128 x6, b3/1 128 x3*, b3/2 160 x6, b5/1 160 x4, b3/1 160 x5, b5/1 160 x4*""",
    "MobileNetMultiMAXSeg": """relu: c3/2 32, b3/2 32 x3*, b5/2 64 x6, b3/1 64 x2, b3/1 64 x2*, b5/2 128 x6,
        b3/1 128 x4, 2(b3/1 128 x3), b3/1 128 x6, b3/1 128 x3*, b3/2 160 x6, b5/1 96 x2, b3/1 96 x4,
        b5/1 96 x320/96*, c1/1 448*""",
    "MobileNetMultiAVG": """relu: c3/2 32, b3/2 32 x3, b3/1 32 x2*, b5/2 64 x5, b3/1 64 x3, b3/1 64 x2, b3/1 64 x3*,
        b5/2 128 x6, 3(b3/1 128 x3), b3/1 160 x6, b3/1 160 x4*, b3/2 192 x6, 2(b5/1 192 x4), b5/1 192 x4*""",
    "MobileNetMultiAVGSeg": """relu: c3/2 32, b3/2 32 x3, b3/1 32 x2*, b5/2 64 x5, b3/1 64 x3, b3/1 64 x2,
        b3/1 64 x3*, b5/2 128 x6, 3(b3/1 128 x3), b3/1 160 x6, b3/1 160 x4*, b3/2 192 x6, b5/1 96 x2, b5/1 96 x4,
        b5/1 96 x4*, c1/1 448*""",
    "MobileNetV4ConvSmall": """relu: c3/2 32, c3/2 32, c1/1 32*, c3/2 96, c1/1 64*, u5,5/2 96 x3, 4(u0,3/1 96 x2),
        u3,0/1 96 x4*, u3,3/2 128 x6, u5,5/1 128 x4, u0,5/1 128 x4, u0,5/1 128 x3, u0,3/1 128 x4, u0,3/1 128 x4*""",
    "MobileNetV4ConvMedium": """relu: c3/2 32, f3/2 48 x4*, u3,5/2 80 x4, u3,3/1 80 x2*, u3,5/2 160 x6,
        2(u3,3/1 160 x4), u3,5/1 160 x4, u3,3/1 160 x4, u3,0/1 160 x4, u0,0/1 160 x2, u3,0/1 160 x4*, u5,5/2 256 x6,
        u5,5/1 256 x4, 2(u3,5/1 256 x4), u0,0/1 256 x4, u3,0/1 256 x4, u3,5/1 256 x2, u5,5/1 256 x4,
        2(u0,0/1 256 x4), u5,0/1 256 x2*""",
    "MobileNetV4ConvMediumSeg": """relu6: c3/2 32, f3/2 48 x4*, u3,5/2 80 x4, u3,3/1 80 x2*, u3,5/2 160 x6,
        2(u3,3/1 160 x4), u3,5/1 160 x4, u3,3/1 160 x4, u3,0/1 160 x4, u3,0/1 160 x4*,
        u5,5/2 256 x6, u5,5/1 128 x4, 2(u3,5/1 128 x4), u3,0/1 128 x4, u3,5/1 128 x2, u5,5/1 128 x4, u5,0/1 128 x2,
        c1/1 448*""",
    "MobileNetV4ConvLarge": """relu: c3/2 24, f3/2 48 x4*, u3,5/2 96 x4, u3,3/1 96 x4*, u3,5/2 192 x4,
        3(u3,3/1 192 x4), u3,5/1 192 x4, 5(u5,3/1 192 x4), u3,0/1 192 x4*, u5,5/2 512 x4, 3(u5,5/1 512 x4),
        u5,0/1 512 x4, u5,3/1 512 x4, 2(u5,0/1 512 x4), u5,3/1 512 x4, u5,5/1 512 x4, 2(u5,0/1 512 x4),
        u5,0/1 512 x4*""",
}
REFUSED = ("MobileNetV4HybridMedium", "MobileNetV4HybridLarge")
"""They need attention, which this converter does not write."""
FIRST_LEVEL = 2
SQUEEZE = 0.25


@dataclass(frozen=True)
class Block:
    """One line of a table."""

    kind: str
    kernels: tuple[int, ...]
    stride: int
    filters: int
    expand: float
    squeeze: bool
    endpoint: bool
    residual: bool
    activation: str


@dataclass(frozen=True)
class MobileNet:
    """Keys of `backbone.mobilenet`; an output stride of None never turns strides into dilation."""

    model_id: str
    filter_size_scale: float
    output_stride: int | None


_BLOCK = re.compile(r"([cdbfu])([\d,]+)/(\d) (\d+)(?: x([\d.]+)(?:/(\d+))?)?( S)?(\*)?(!)?")
_GROUP = re.compile(r"(\d)\(([^()]*)\)")


@cache
def blocks(model_id: str) -> tuple[Block, ...]:
    """A table as blocks."""
    table = _GROUP.sub(lambda m: ", ".join(repeat(m[2], int(m[1]))), " ".join(TABLES[model_id].split()))
    found, activation = [], ""
    for word in re.split(r", (?=[a-z])", table):
        if ": " in word:
            activation, word = word.split(": ")
        m = _BLOCK.fullmatch(word)
        if m is None:
            raise ValueError(f"{model_id}: {word!r} is no block")
        expand = float(m[5] or 1) / float(m[6] or 1)
        kernels = tuple(int(k) for k in m[2].split(","))
        found.append(Block(m[1], kernels, int(m[3]), int(m[4]), expand, bool(m[7]), bool(m[8]), not m[9], activation))
    return tuple(found)


def mobilenet(layers: Layers, config: MobileNet, x: Value) -> dict[str, Value]:
    """Endpoints by level; from the output stride on a stride becomes dilation, and levels no longer rise."""
    endpoints: dict[str, Value] = {}
    running, rate, level = 1, 1, FIRST_LEVEL
    for index, block in enumerate(blocks(config.model_id)):
        stride, before = block.stride, 1
        if running == config.output_stride:
            before, rate, stride = rate, rate * stride, 1
        running *= stride
        filters = make_divisible(block.filters * config.filter_size_scale, 1 if config.model_id == "MobileNetV1" else 8)
        dilation = before if before > 1 or block.kind == "d" else rate
        path = f"backbone/layer_with_weights-{index}"
        x = KINDS[block.kind](layers, path, block, x, filters, stride, dilation)
        if block.endpoint:
            endpoints[str(level)] = x
            level += running != config.output_stride
    return endpoints


def conv(layers: Layers, path: str, block: Block, x: Value, filters: int, stride: int, dilation: int) -> Value:
    """Convolution, norm, activation."""
    (kernel,) = block.kernels
    return layers.conv(x, f"{path}/_conv0", f"{path}/_norm0", filters, kernel, stride, activation=block.activation)


def separable(layers: Layers, path: str, block: Block, x: Value, filters: int, stride: int, dilation: int) -> Value:
    """Depthwise and 1x1 convolution, each with norm and activation (Howard et al. 2017)."""
    act = block.activation
    y = layers.depthwise(
        x, f"{path}/_dwconv0", f"{path}/_norm0", block.kernels[0], stride, dilation=dilation, activation=act
    )
    return layers.conv(y, f"{path}/_conv1", f"{path}/_norm1", filters, activation=act)


def inverted(layers: Layers, path: str, block: Block, x: Value, filters: int, stride: int, dilation: int) -> Value:
    """1x1 expand, depthwise, linear 1x1 project, and the input again where shapes agree (Sandler et al. 2018)."""
    act, y = block.activation, x
    if block.expand != 1:
        expanded = make_divisible(x.shape[-1] * block.expand)
        y = layers.conv(y, f"{path}/_conv0", f"{path}/_norm0", expanded, activation=act)
    y = layers.depthwise(
        y, f"{path}/_conv1", f"{path}/_norm1", block.kernels[0], stride, dilation=dilation, activation=act
    )
    if block.squeeze:
        squeezed = make_divisible(max(1, int(SQUEEZE * y.shape[-1])))
        y = layers.squeeze_excitation(y, f"{path}/_squeeze_excitation", squeezed, gate="hard_sigmoid")
    return residual(layers, path, block, x, layers.conv(y, f"{path}/_conv2", f"{path}/_norm2", filters), stride)


def fused(layers: Layers, path: str, block: Block, x: Value, filters: int, stride: int, dilation: int) -> Value:
    """One convolution for expand and depthwise, then linear 1x1 project (Gupta and Akin 2020)."""
    y = x
    if block.expand != 1:
        expanded = make_divisible(x.shape[-1] * block.expand)
        conv0, norm0 = f"{path}/_conv0", f"{path}/_norm0"
        y = layers.conv(y, conv0, norm0, expanded, block.kernels[0], stride, activation=block.activation)
    return residual(layers, path, block, x, layers.conv(y, f"{path}/_conv2", f"{path}/_norm2", filters), stride)


def universal(layers: Layers, path: str, block: Block, x: Value, filters: int, stride: int, dilation: int) -> Value:
    """Optional depthwise, 1x1 expand, optional depthwise, linear 1x1 project (Qin et al. 2024)."""
    start, middle = block.kernels
    y, act = x, block.activation
    if start:
        y = layers.depthwise(y, f"{path}/_start_dw_conv", f"{path}/_start_dw_norm", start, dilation=dilation)
    expanded = make_divisible(x.shape[-1] * block.expand)
    y = layers.conv(y, f"{path}/_expand_conv", f"{path}/_expand_norm", expanded, activation=act)
    if middle:
        conv1, norm1 = f"{path}/_middle_dw_conv", f"{path}/_middle_dw_norm"
        y = layers.depthwise(y, conv1, norm1, middle, stride, dilation=dilation, activation=act)
    y = layers.conv(y, f"{path}/_proj_conv", f"{path}/_proj_norm", filters)
    return residual(layers, path, block, x, y, stride)


def residual(layers: Layers, path: str, block: Block, x: Value, y: Value, stride: int) -> Value:
    """The input again where shapes agree."""
    return layers.add(x, y, path) if block.residual and x.shape == y.shape and stride == 1 else y


KINDS: dict[str, Callable[..., Value]] = {"c": conv, "d": separable, "b": inverted, "f": fused, "u": universal}


def make_divisible(value: float, divisor: int = 8, least: int = 8) -> int:
    """Round filters to a multiple of `divisor`, never losing more than a tenth (Howard et al. 2017)."""
    rounded = max(least, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
