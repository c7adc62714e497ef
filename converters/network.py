"""The whole network, plainly, as a function of configuration and weights (inference only).

Follows Rashwan et al., "MaskConver: Revisiting Pure Convolution Model for Panoptic Segmentation" (WACV 2024), as its
Model Garden checkpoints define it. Maps are NHWC and padding is TensorFlow's `SAME` throughout.
"""

from dataclasses import dataclass

from maskconver_mobile.converters.backbones import BACKBONES, Block, make_divisible
from maskconver_mobile.converters.config import DecoderConfig, HeadConfig, ModelConfig
from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.layers import Layers


@dataclass(frozen=True)
class Heads:
    """Maps [1, h, w, c] at stride 8: class logits, mask embeddings, pixel embeddings."""

    classes: Value
    mask_embeddings: Value
    pixel_embeddings: Value


def maskconver(layers: Layers, config: ModelConfig, image: Value, class_ids: tuple[int, ...] | None = None) -> Heads:
    """Normalized image [1, H, W, 3] -> heads; `class_ids` are the classes that get a channel, all if None."""
    endpoints = backbone(layers, config, image)
    decoded = aspp(layers, config.decoder, endpoints[str(config.decoder.level)])
    size = config.embedding_size
    return Heads(
        head(layers, "class_head", config.class_head, endpoints, decoded, config.num_classes, class_ids),
        head(layers, "embedding_head", config.mask_embedding_head, endpoints, decoded, size),
        head(layers, "per_pixel_embeddings_head", config.per_pixel_embedding_head, endpoints, decoded, size),
    )


def backbone(layers: Layers, config: ModelConfig, x: Value) -> dict[str, Value]:
    """MobileNet blocks at output stride 16; a stride that would go beyond becomes dilation from that block on."""
    endpoints: dict[str, Value] = {}
    running_stride, dilation = 1, 1
    for index, block in enumerate(BACKBONES[config.backbone]):
        stride = block.stride
        if running_stride == 16:
            dilation, stride = dilation * stride, 1
        running_stride *= stride
        filters = make_divisible(block.filters * config.filter_size_scale)
        path = f"backbone/layer_with_weights-{index}"
        if block.kind == "conv":
            x = layers.conv(x, f"{path}/_conv0", f"{path}/_norm0", filters, block.kernel, stride)
        else:
            x = inverted_bottleneck(layers, path, block, x, filters, stride, dilation)
        if block.endpoint:
            endpoints[block.endpoint] = x
    return endpoints


def inverted_bottleneck(
    layers: Layers, path: str, block: Block, x: Value, filters: int, stride: int, dilation: int
) -> Value:
    """1x1 expand, depthwise, linear 1x1 project, and the input again where the shapes agree (Sandler et al. 2018)."""
    inputs = x.shape[-1]
    y = layers.conv(x, f"{path}/_conv0", f"{path}/_norm0", make_divisible(inputs * block.expand))
    y = layers.depthwise(y, f"{path}/_conv1", f"{path}/_norm1", block.kernel, stride=stride, dilation=dilation)
    y = layers.conv(y, f"{path}/_conv2", f"{path}/_norm2", filters, relu=False)
    return layers.add(x, y, path) if inputs == filters and stride == 1 else y


def aspp(layers: Layers, config: DecoderConfig, x: Value) -> Value:
    """Parallel dilated branches and a pooled one, concatenated and projected (Chen et al. 2017)."""
    graph, filters = layers.graph, config.num_filters
    part = "decoder/aspp/aspp_layers/{}/layer_with_weights-{}".format
    branches = [layers.conv(x, part(0, 0), part(0, 1), filters)]
    for i, rate in enumerate(config.dilation_rates, start=1):
        y = layers.depthwise(x, part(i, 0), None, 3, dilation=rate)
        branches.append(layers.conv(y, part(i, 1), part(i, 2), filters))
    with graph.scope("decoder/aspp"):
        pooled = pool(layers, config, x)
    last = part(len(branches), 0) + "/layer_with_weights-"
    pooled = layers.conv(pooled, f"{last}0", f"{last}1", filters)
    with graph.scope("decoder/aspp"):
        joined = graph.concat([*branches, graph.resize(pooled, x.shape[1:3])])
    projection = "decoder/aspp/projection/layer_with_weights-"
    return layers.conv(joined, f"{projection}0", f"{projection}1", filters)


def pool(layers: Layers, config: DecoderConfig, x: Value) -> Value:
    """The pooled branch's input: a global mean, or windows given in input pixels."""
    if config.pool_kernel_size is None:
        return layers.graph.global_mean(x)
    height, width = (max(1, side // 2**config.level) for side in config.pool_kernel_size)
    return layers.graph.average_pool(x, (height, width))


def head(
    layers: Layers,
    path: str,
    config: HeadConfig,
    endpoints: dict[str, Value],
    decoded: Value,
    outputs: int,
    channels: tuple[int, ...] | None = None,
) -> Value:
    """Fuse with the low-level endpoint, then separable convolutions and a 1x1 prediction.

    The heads share the resized decoder map. One wide convolution instead of their three of the low-level endpoint would
    have to be sliced again: measured, that is no faster in LiteRT and 3% slower in ONNX Runtime.
    """
    graph, layer_norm = layers.graph, config.use_layer_norm
    x = decoded
    if config.fusion != "none":
        low = endpoints[str(config.low_level)]
        conv, norm = f"{path}/_dlv3p_conv", f"{path}/_dlv3p_norm"
        y = layers.conv(low, conv, norm, config.low_level_filters, layer_norm=layer_norm)
        with graph.scope(path):
            x = graph.resize(x, y.shape[1:3])
        if config.fusion == "deeplabv3plus":
            with graph.scope(path):
                x = graph.concat([x, y])
        else:
            x = layers.add(x, y, path)
    for i in range(0, 2 * config.num_convs, 2):
        convs, norms = ([f"{path}/{kind}/{j}" for j in (i, i + 1)] for kind in ("_convs", "_norms"))
        x = layers.depthwise(x, convs[0], norms[0], config.kernel_size, layer_norm=layer_norm)
        x = layers.conv(x, convs[1], norms[1], config.num_filters, layer_norm=layer_norm)
    return layers.classifier(x, f"{path}/_classifier", outputs, channels)
