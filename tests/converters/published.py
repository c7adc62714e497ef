"""The published configurations that convert, with the keys that their networks depend on."""

from typing import Any

Model = dict[str, Any]
HEADS = ("class_head", "mask_embedding_head", "per_pixel_embedding_head")
MERGE = {"feature_fusion": "deeplabv3plus_sum_to_merge", "low_level": 3, "low_level_num_filters": 256, "num_convs": 2}
SPINE = {"feature_fusion": "deeplabv3", "num_convs": 2, "prediction_kernel_size": 3, "use_depthwise_convolution": False}
UNET = {
    "model_id": 50,
    "upsample_kernel_sizes": [7, 7, 7],
    "upsample_repeats": [18, 1, 1],
    "upsample_filters": [384, 384, 384],
}


def single(size: list[int], head: Model, filters: int = 256, **model: Any) -> Model:
    """A network on MobileNetMultiAVGSeg."""
    aspp = {"level": 4, "dilation_rates": [6, 12, 18], "num_filters": filters, "use_depthwise_convolution": True}
    backbone = {"model_id": "MobileNetMultiAVGSeg", "output_stride": 16}
    return {
        "input_size": [*size, 3],
        "padded_output_size": size,
        "embedding_size": filters,
        "backbone": {"type": "mobilenet", "mobilenet": backbone},
        "decoder": {"type": "aspp", "aspp": aspp},
        **{name: {"num_filters": filters, "use_depthwise_convolution": True, **head} for name in HEADS},
        **model,
    }


def multi(activation: str, decoder: Model, head: Model, pixels: Model, **model: Any) -> Model:
    """A network on levels 3 to 7."""
    (kind,) = decoder
    return {
        "input_size": [640, 640, 3],
        "padded_output_size": [640, 640],
        "embedding_size": 256,
        "min_level": 3,
        "max_level": 7,
        "norm_activation": {"activation": activation},
        "decoder": {"type": kind, **decoder},
        **{name: dict(head) for name in HEADS[:2]},
        "per_pixel_embedding_head": {**head, "level": 2, "decoder_min_level": 3, "decoder_max_level": 7, **pixels},
        **model,
    }


def spinenet(**model: Any) -> Model:
    """What has no source."""
    backbone = {"type": "spinenet_seg", "spinenet_seg": {"model_id": "49"}}
    decoder = {"type": "aspp", "aspp": {"level": 3, "dilation_rates": [12, 24, 36]}}
    return {"backbone": backbone, "decoder": decoder, **dict.fromkeys(HEADS, SPINE), **model}


UNET_HEAD = {
    "num_convs": 4,
    "num_filters": 256,
    "prediction_kernel_size": 1,
    "use_depthwise_convolution": True,
    "depthwise_kernel_size": 7,
}
RESNET_HEAD = {"num_convs": 2, "num_filters": 256, "prediction_kernel_size": 3, "use_depthwise_convolution": False}
RESNET50FPN = multi(
    "swish",
    {"fpn": {"num_filters": 256}},
    RESNET_HEAD,
    {"feature_fusion": "panoptic_fpn_fusion"},
    backbone={"type": "resnet"},
    num_instances=100,
)
RESNETUFPN = multi(
    "gelu",
    {"maskconver_fpn": {"num_filters": 256, "use_separable_conv": True, "fusion_type": "concat"}},
    UNET_HEAD,
    {"feature_fusion": "pyramid_fusion"},
    backbone={"type": "resnet_unet", "resnet_unet": UNET},
    num_classes=201,
    num_thing_classes=91,
    num_instances=256,
    mask_decoder=None,
)
CITYSCAPES = single(
    [1024, 2048],
    {"feature_fusion": "deeplabv3plus", "low_level": "4", "low_level_num_filters": 48, "num_convs": 2},
    128,
    num_classes=19,
    panoptic_generator={"rescale_predictions": False},
)
CONVERTS: dict[str, tuple[Model, str]] = {
    "maskconver_mobilenetv3p5_rf_256_coco": (single([256, 256], MERGE), "maskconver_coco"),
    "maskconver_mobilenetv3p5_rf_640_coco": (single([640, 640], MERGE, num_instances=50), "maskconver_coco"),
    "maskconver_seg_mobilenetv3p5_rf_dlv3psummerge_cityscapes": (CITYSCAPES, "maskconver_seg_cityscapes"),
    "maskconver_seg_mobilenetv3p5_rf_dlv3psummerge_pascal": (
        single([512, 512], {**MERGE, "low_level": 4}, num_classes=21),
        "maskconver_seg_pascal",
    ),
    "maskconver_seg_mobilenetv3p5_rf_coco, its quote mended": (
        single([640, 640], MERGE, num_classes=91),
        "maskconver_seg_pascal",
    ),
    "multiscale_maskconver_resnet50fpn_coco": (RESNET50FPN, "multiscale_maskconver_coco"),
    "multiscale_maskconver_resnetufpn_coco": (RESNETUFPN, "multiscale_maskconver_coco"),
}
