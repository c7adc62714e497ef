"""The whole network, as a function of configuration and weights (inference only, batch norm folded).

Follows Rashwan et al., "MaskConver: Revisiting Pure Convolution Model for Panoptic Segmentation" (WACV 2024), as its
Model Garden checkpoints define it. Maps are NHWC and padding is TensorFlow's `SAME` throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from maskconver_mobile.converters.backbones import BACKBONES, Block, make_divisible
from maskconver_mobile.converters.config import DecoderConfig, HeadConfig, ModelConfig
from maskconver_mobile.converters.folding import Array
from maskconver_mobile.converters.layers import Depthwise, Layers, Pointwise
from maskconver_mobile.converters.ops import Tensor, TensorFlowOps


@dataclass(frozen=True)
class Head:
    """A head up to its last separable convolution, and the layers that are left to apply.

    Where only a few places of a head are read, those layers need not run on the whole map (`fast.gather_embeddings`).

    Attributes:
        x: map [1, h, w, c].
        before: per-location layers of the separable convolution before the last.
        depthwise: of the last separable convolution; None if there is none.
        pointwise: the per-location layers behind it.
    """

    x: Tensor
    before: tuple[Pointwise, ...]
    depthwise: Depthwise | None
    pointwise: tuple[Pointwise, ...]

    def features(self, layers: Layers) -> Tensor:
        """The whole map up to the last depthwise convolution."""
        x = layers.apply(self.x, self.before)
        return x if self.depthwise is None else layers.convolve(x, self.depthwise)

    def only(self, channels: tuple[int, ...]) -> "Head":
        """The same head with only these of its output channels, which do not depend on the others."""
        *before, last = self.pointwise
        columns = list(channels)
        kept = replace(last, kernel=last.kernel[:, columns], bias=last.bias[columns])
        return replace(self, pointwise=(*before, kept))

    def padded(self, multiple: int, bias: float) -> "Head":
        """The same head with further output channels of this value, up to a multiple."""
        *before, last = self.pointwise
        added = -last.kernel.shape[1] % multiple
        kernel = np.pad(last.kernel, ((0, 0), (0, added)))
        padded = replace(last, kernel=kernel, bias=np.pad(last.bias, (0, added), constant_values=bias))
        return replace(self, pointwise=(*before, padded))

    def dense(self, layers: Layers, *, blocked: bool = False) -> Tensor:
        """The head's whole output map; `blocked` if it is the sum of blocks (`Layers.blocked`)."""
        x = self.features(layers)
        if blocked and len(self.pointwise) == 2 and self.pointwise[0].norm is None:
            return layers.blocked(x, *self.pointwise)
        return layers.apply(x, self.pointwise)


@dataclass(frozen=True)
class Heads:
    """The three heads of the network."""

    classes: Head
    mask_embeddings: Head
    pixel_embeddings: Head


def maskconver(layers: Layers, config: ModelConfig, image: Tensor, input_scale: Array | None = None) -> Heads:
    """Image [1, H, W, 3], normalised once the first convolution multiplies it by `input_scale` -> heads at stride 8."""
    endpoints = backbone(layers, config, image, input_scale)
    with layers.ops.scope("decoder/aspp"):
        decoded = aspp(layers, config.decoder, endpoints[str(config.decoder.level)])
    parts = (
        ("class_head", config.class_head, config.num_classes),
        ("embedding_head", config.mask_embedding_head, config.embedding_size),
        ("per_pixel_embeddings_head", config.per_pixel_embedding_head, config.embedding_size),
    )
    return Heads(*(head(layers, path, spec, endpoints, decoded, outputs) for path, spec, outputs in parts))


def backbone(layers: Layers, config: ModelConfig, x: Tensor, input_scale: Array | None) -> dict[str, Tensor]:
    """MobileNet blocks at output stride 16; a stride that would go beyond becomes dilation from that block on."""
    endpoints: dict[str, Tensor] = {}
    running_stride, dilation = 1, 1
    for index, block in enumerate(BACKBONES[config.backbone]):
        stride = block.stride
        if running_stride == 16:
            dilation, stride = dilation * stride, 1
        running_stride *= stride
        filters = make_divisible(block.filters * config.filter_size_scale)
        path = f"backbone/layer_with_weights-{index}"
        if block.kind == "conv":
            scale = input_scale if index == 0 else None
            x = layers.conv(x, f"{path}/_conv0", f"{path}/_norm0", filters, block.kernel, stride, input_scale=scale)
        else:
            x = inverted_bottleneck(layers, path, block, x, filters, stride, dilation)
        if block.endpoint:
            endpoints[block.endpoint] = x
    return endpoints


def inverted_bottleneck(
    layers: Layers, path: str, block: Block, x: Tensor, filters: int, stride: int, dilation: int
) -> Tensor:
    """1x1 expand, depthwise, linear 1x1 project, and the input again where the shapes agree (Sandler et al. 2018)."""
    inputs = layers.ops.shape(x)[-1]
    y = layers.conv(x, f"{path}/_conv0", f"{path}/_norm0", make_divisible(inputs * block.expand))
    y = layers.depthwise(y, f"{path}/_conv1", f"{path}/_norm1", block.kernel, stride=stride, dilation=dilation)
    y = layers.conv(y, f"{path}/_conv2", f"{path}/_norm2", filters, relu=False)
    return layers.merge(x, y, path) if inputs == filters and stride == 1 else y


def aspp(layers: Layers, config: DecoderConfig, x: Tensor) -> Tensor:
    """Parallel dilated branches and a pooled one, concatenated and projected (Chen et al. 2017)."""
    ops, filters = layers.ops, config.num_filters
    size = ops.shape(x)[1:3]
    path, shape = "decoder/aspp/aspp_layers/{}/layer_with_weights-{}", (ops.shape(x)[-1], filters)
    branches = [(x, layers.read_pointwise(path.format(0, 0), path.format(0, 1), shape, False))]
    for i, rate in enumerate(config.dilation_rates, start=1):
        pointwise = layers.read_pointwise(path.format(i, 1), path.format(i, 2), shape, False)
        branches.append(layers.separable(x, path.format(i, 0), pointwise, rate))
    last = path.format(len(branches), 0) + "/layer_with_weights-"
    pooled = layers.conv(pool(ops, config, x), f"{last}0", f"{last}1", filters)

    last = "decoder/aspp/projection/layer_with_weights-"
    projection = layers.read_pointwise(f"{last}0", f"{last}1", ((len(branches) + 1) * filters, filters), False)
    if not layers.rewrites.fold_pooled_branch or ops.shape(pooled)[1:3] != (1, 1):
        maps = [layers.apply(y, [pointwise]) for y, pointwise in branches]
        return layers.apply(ops.concat([*maps, ops.resize(pooled, size)]), [projection])
    *kernels, pooled_kernel = np.split(projection.kernel, len(branches) + 1)
    joined = join_branches(branches, kernels)
    maps = [layers.apply(y, [pointwise]) for y, pointwise, _ in joined]
    return layers.project(maps, [*(kernel for *_, kernel in joined), pooled_kernel], pooled, projection)


def join_branches(
    branches: Sequence[tuple[Tensor, Pointwise]], kernels: Sequence[Array]
) -> list[tuple[Tensor, Pointwise, Array]]:
    """Branches that read the same map become one layer with the outputs of both.

    Args:
        branches: map and layer of each.
        kernels: what a sum of products multiplies the output of each with.

    Returns:
        Map, layer and kernel of each that is left.
    """
    groups: dict[int, list[tuple[Tensor, Pointwise, Array]]] = {}
    for (x, layer), kernel in zip(branches, kernels, strict=True):
        groups.setdefault(id(x), []).append((x, layer, kernel))
    joined = []
    for group in groups.values():
        xs, same, parts = zip(*group, strict=True)
        wide = np.concatenate([layer.kernel for layer in same], 1), np.concatenate([layer.bias for layer in same])
        joined.append((xs[0], replace(same[0], kernel=wide[0], bias=wide[1]), np.concatenate(parts)))
    return joined


def pool(ops: TensorFlowOps, config: DecoderConfig, x: Tensor) -> Tensor:
    """The pooled branch's input: a global mean, or windows given in input pixels."""
    if config.pool_kernel_size is None:
        return ops.global_mean(x)
    height, width = (max(1, side // 2**config.level) for side in config.pool_kernel_size)
    return ops.average_pool(x, (height, width))


def head(
    layers: Layers, path: str, config: HeadConfig, endpoints: dict[str, Tensor], decoded: Tensor, outputs: int
) -> Head:
    """Fuse with the low-level endpoint, then separable convolutions; the last pointwise layers are left to apply.

    The heads share the resized decoder map. One wide convolution instead of their three of the low-level endpoint would
    have to be sliced again: measured, that is no faster in LiteRT and 3% slower in ONNX Runtime.
    """
    ops = layers.ops
    x = decoded
    if config.fusion != "none":
        low = endpoints[str(config.low_level)]
        y = layers.conv(
            low,
            f"{path}/_dlv3p_conv",
            f"{path}/_dlv3p_norm",
            config.low_level_filters,
            layer_norm=config.use_layer_norm,
        )
        with ops.scope(path):
            x = ops.resize(x, ops.shape(y)[1:3])
            x = ops.concat([x, y]) if config.fusion == "deeplabv3plus" else layers.merge(x, y, path)
    before: tuple[Pointwise, ...] = ()
    depthwise: Depthwise | None = None
    after: tuple[Pointwise, ...] = ()
    channels = ops.shape(x)[-1]
    for i in range(config.num_convs):
        if depthwise is not None:
            x, before = layers.convolve(layers.apply(x, before), depthwise), after
        paths = [(f"{path}/_convs/{j}", f"{path}/_norms/{j}") for j in (2 * i, 2 * i + 1)]
        depthwise = layers.read_depthwise(*paths[0], config.kernel_size, channels, config.use_layer_norm)
        after = (layers.read_pointwise(*paths[1], (channels, config.num_filters), config.use_layer_norm),)
        channels = config.num_filters
    classifier = layers.read_classifier(f"{path}/_classifier", (channels, outputs))
    return Head(x, before, depthwise, (*after, classifier))
