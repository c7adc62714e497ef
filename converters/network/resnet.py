"""ResNets (He et al. 2016; stems and shortcuts of He et al. 2019) and the ConvNeXt-UNet on top of one."""

from dataclasses import dataclass

from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.network.layers import Layers

REPEATS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
WIDTHS = (64, 128, 256, 512)
SQUEEZE_OF_CONVNEXT = 0.0625


@dataclass(frozen=True)
class ResNet:
    """Keys of `backbone.resnet`."""

    model_id: int
    depth_multiplier: float
    stem_type: str
    scale_stem: bool
    se_ratio: float
    resnetd_shortcut: bool
    replace_stem_max_pool: bool


@dataclass(frozen=True)
class ResNetUNet:
    """Keys of `backbone.resnet_unet`: a ResNet, and ConvNeXt blocks (Liu et al. 2022) on the way up from its top."""

    resnet: ResNet
    upsample_filters: tuple[int, ...]
    upsample_repeats: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]


class Counter:
    """Names of the backbone's layers, in order."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self) -> str:
        """The next one."""
        self._next += 1
        return f"backbone/layer_with_weights-{self._next - 1}"


def resnet(layers: Layers, config: ResNet, x: Value) -> dict[str, Value]:
    """Endpoints "2" to "5" at strides 4 to 32."""
    return _resnet(layers, config, x, Counter())


def _resnet(layers: Layers, config: ResNet, x: Value, name: Counter) -> dict[str, Value]:
    graph, act, scale = layers.graph, layers.activation, config.depth_multiplier
    stem = ((64, 7, 2),) if config.stem_type == "v0" else ((32, 3, 2), (32, 3, 1), (64, 3, 1))
    stem_scale = scale if config.scale_stem else 1.0
    for filters, kernel, stride in stem:
        x = layers.conv(x, name(), name(), int(filters * stem_scale), kernel, stride, activation=act)
    if config.replace_stem_max_pool:
        x = layers.conv(x, name(), name(), int(64 * stem_scale), 3, 2, activation=act)
    else:
        x = graph.max_pool(x, 3, stride=2)
    endpoints = {}
    for group, (width, repeats) in enumerate(zip(WIDTHS, REPEATS[config.model_id], strict=True)):
        for i in range(repeats):
            stride = 2 if group and i == 0 else 1
            x = bottleneck(layers, config, name(), x, int(width * scale), stride, shortcut=i == 0)
        endpoints[str(group + 2)] = x
    return endpoints


def bottleneck(
    layers: Layers, config: ResNet, path: str, x: Value, filters: int, stride: int, *, shortcut: bool
) -> Value:
    """1x1, 3x3 with the stride, 1x1 to four times the filters, plus a shortcut."""
    graph, act = layers.graph, layers.activation
    y = layers.conv(x, f"{path}/_conv1", f"{path}/_norm1", filters, activation=act)
    y = layers.conv(y, f"{path}/_conv2", f"{path}/_norm2", filters, 3, stride, activation=act)
    y = layers.conv(y, f"{path}/_conv3", f"{path}/_norm3", 4 * filters)
    if config.se_ratio > 0:
        y = layers.squeeze_excitation(y, f"{path}/_squeeze_excitation", max(1, int(4 * filters * config.se_ratio)))
    if shortcut and config.resnetd_shortcut:
        with graph.scope(path):
            x = graph.average_pool(x, (2, 2), stride=stride)
        x = layers.conv(x, f"{path}/_shortcut1", f"{path}/_norm0", 4 * filters)
    elif shortcut:
        x = layers.conv(x, f"{path}/_shortcut", f"{path}/_norm0", 4 * filters, 1, stride)
    with graph.scope(path):
        return graph.activation(act, y + x)


def resnet_unet(layers: Layers, config: ResNetUNet, image: Value) -> dict[str, Value]:
    """The ResNet's endpoints, of which "5", "4" and "3" are replaced on the way up."""
    graph, name = layers.graph, Counter()
    endpoints = _resnet(layers, config.resnet, image, name)
    x = None
    steps = zip(config.upsample_filters, config.upsample_repeats, config.upsample_kernel_sizes, strict=True)
    for n, (filters, repeats, kernel) in enumerate(steps):
        filters = int(filters * config.resnet.depth_multiplier)
        level = str(5 - n)
        if x is not None:
            x = graph.upsample(layers.conv(x, name(), name(), filters, layer_norm=True), 2)
        side = layers.conv(endpoints[level], name(), name(), filters, layer_norm=True)
        x = side if x is None else x + side
        for _ in range(repeats):
            x = convnext(layers, name(), x, kernel)
        x = graph.activation(layers.activation, x)
        endpoints[level] = x
    return endpoints


def convnext(layers: Layers, path: str, x: Value, kernel: int) -> Value:
    """Depthwise, layer norm, expand, gelu, squeeze-excitation, project, scale by channel, plus the input."""
    graph, filters = layers.graph, x.shape[-1]
    y = layers.depthwise(x, f"{path}/depthwise_conv", f"{path}/norm", kernel, bias=True, layer_norm=True)
    y = layers.conv(y, f"{path}/pointwise_conv1", None, 4 * filters, bias=True, activation="gelu", dense=True)
    squeezed = max(1, int(4 * filters * SQUEEZE_OF_CONVNEXT))
    y = layers.squeeze_excitation(y, f"{path}/_squeeze_excitation", squeezed, activation="gelu_tanh")
    y = layers.conv(y, f"{path}/pointwise_conv2", None, filters, bias=True, dense=True)
    gamma = layers.weights(f"{path}/gamma", (1, 1, 1, filters)).reshape(filters)
    with graph.scope(path):
        return y * graph.constant(gamma) + x
