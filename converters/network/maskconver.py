"""The whole network (inference only).

Follows Rashwan et al., "MaskConver: Revisiting Pure Convolution Model for Panoptic Segmentation" (WACV 2024), as its
Model Garden checkpoints define it. Maps are NHWC and padding is TensorFlow's `SAME` throughout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.graph.ir import Value
from maskconver_mobile.converters.network.aspp import Aspp, aspp
from maskconver_mobile.converters.network.fpn import Fpn, fpn
from maskconver_mobile.converters.network.heads import head, shared_head
from maskconver_mobile.converters.network.layers import Layers
from maskconver_mobile.converters.network.mobilenet import MobileNet, mobilenet
from maskconver_mobile.converters.network.resnet import ResNet, ResNetUNet, resnet, resnet_unet

Maps = dict[str, Value]
BACKBONES: dict[type, Callable[[Layers, Any, Value], Maps]] = {
    MobileNet: mobilenet,
    ResNet: resnet,
    ResNetUNet: resnet_unet,
}
DECODERS: dict[type, Callable[..., Maps]] = {Aspp: aspp, Fpn: fpn}


@dataclass(frozen=True)
class Heads:
    """Maps [1, h, w, c]: class logits and mask embeddings of each level, and pixel embeddings."""

    classes: list[Value]
    mask_embeddings: list[Value]
    pixel_embeddings: Value


def maskconver(layers: Layers, config: ModelConfig, image: Value, class_ids: tuple[int, ...] | None = None) -> Heads:
    """Normalized image [1, H, W, 3] -> heads; `class_ids` are the classes that get a channel, all if None."""
    endpoints = BACKBONES[type(config.backbone)](layers, config.backbone, image)
    decoded = DECODERS[type(config.decoder)](layers, config.decoder, endpoints)
    size, of_classes, of_masks = config.embedding_size, config.class_head, config.mask_embedding_head
    if config.multi_scale:
        classes = shared_head(layers, "class_head", of_classes, decoded, config.num_classes, class_ids)
        embeddings = shared_head(layers, "embedding_head", of_masks, decoded, size)
    else:
        classes = [head(layers, "class_head", of_classes, endpoints, decoded, config.num_classes, class_ids)]
        embeddings = [head(layers, "embedding_head", of_masks, endpoints, decoded, size)]
    if config.mask_decoder is not None:
        decoded = DECODERS[type(config.mask_decoder)](layers, config.mask_decoder, endpoints, "mask_decoder")
    pixels = head(layers, "per_pixel_embeddings_head", config.per_pixel_embedding_head, endpoints, decoded, size)
    return Heads(classes, embeddings, pixels)
