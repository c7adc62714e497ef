"""A Model Garden YAML as the network needs it: only `task.model` is read, with the experiment's defaults filled in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from maskconver_mobile.converters.experiments import EXPERIMENTS, MODEL, MULTI_SCALE, Experiment, guess
from maskconver_mobile.converters.network.aspp import Aspp
from maskconver_mobile.converters.network.fpn import LAST_OF_BACKBONE, Fpn
from maskconver_mobile.converters.network.heads import GROUPS, Head
from maskconver_mobile.converters.network.mobilenet import REFUSED, TABLES, MobileNet
from maskconver_mobile.converters.network.resnet import REPEATS, ResNet, ResNetUNet
from maskconver_mobile.converters.yaml_keys import Keys, read_yaml, shown
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.inference.tail import MAX_EMBEDDING

MAX_LEVEL = 7
PER_PIXEL = "per_pixel_embedding_head"
HEADS = ("class_head", "mask_embedding_head", PER_PIXEL)
GIVEN = "chosen by name"


@dataclass(frozen=True)
class ModelConfig:
    """The whole network. Sizes are (height, width) in pixels, thresholds as the panoptic generator has them.

    Attributes:
        experiment: of Model Garden; multi-scale ones have heads on all levels of a pyramid, semantic ones no things.
        experiment_reason: why it is this one.
        input_size: of the image.
        padded_output_size: of the canvas on which masks are merged.
        num_classes: class ids run from 0 to num_classes - 1.
        num_thing_classes: ids from 1 to below this are things; 0 where none is.
        num_instances: K, the number of proposals.
        embedding_size: of mask and pixel embeddings.
        norm_epsilon: of batch norms.
        activation: of decoder, heads and MLP, and of a ResNet.
        backbone: its configuration, and so are `decoder` and the heads.
        decoder: of all heads.
        mask_decoder: another one for the pixel head, None if there is none.
        class_head: class logits.
        mask_embedding_head: an embedding for each place.
        per_pixel_embedding_head: an embedding for each pixel of a mask.
        object_mask_threshold: scores above it take part.
        overlap_threshold: share of its own area that a segment must win.
        small_area_threshold: segments must have more pixels than this, at `padded_output_size`.
        rescale_predictions: masks are merged at the size of the photograph, else on the canvas as it is.
        hard_sigmoid: the merge uses relu6(x + 3) * 0.16667 at mask size.
    """

    experiment: Experiment
    experiment_reason: str
    input_size: tuple[int, int]
    padded_output_size: tuple[int, int]
    num_classes: int
    num_thing_classes: int
    num_instances: int
    embedding_size: int
    norm_epsilon: float
    activation: str
    backbone: MobileNet | ResNet | ResNetUNet
    decoder: Aspp | Fpn
    mask_decoder: Fpn | None
    class_head: Head
    mask_embedding_head: Head
    per_pixel_embedding_head: Head
    object_mask_threshold: float
    overlap_threshold: float
    small_area_threshold: float
    rescale_predictions: bool
    hard_sigmoid: bool

    @property
    def multi_scale(self) -> bool:
        """Whether heads stand on all levels of a pyramid."""
        return self.experiment == MULTI_SCALE

    @property
    def semantic(self) -> bool:
        """Whether no class is a thing, and class 0 is a real one."""
        return "_seg_" in self.experiment

    def with_input_size(self, size: tuple[int, int]) -> "ModelConfig":
        """The same network at another input size; the merge of the hardware variant follows the masks.

        So does its area threshold, which counts their pixels.
        """
        config = replace(self, input_size=size)
        config.check_input_size("input size")
        if not self.hard_sigmoid:
            return config
        (height, width), (h, w) = self.padded_output_size, config.mask_size
        area = self.small_area_threshold * (h * w) / (height * width)
        return replace(config, padded_output_size=(h, w), small_area_threshold=area)

    def check_input_size(self, name: str) -> None:
        """A pyramid's maps fit each other only where every level halves the one below.

        Raises:
            MaskConverError: they do not; `name` says what is at fault.
        """
        if not isinstance(self.decoder, Fpn):
            return
        fused = self.per_pixel_embedding_head.fusion != "none"
        top = self.decoder.max_level if fused else min(LAST_OF_BACKBONE, self.decoder.max_level)
        step = 2 ** (max(LAST_OF_BACKBONE, top) if isinstance(self.backbone, ResNetUNet) else top)
        if any(side % step for side in self.input_size):
            height, width = self.input_size
            raise MaskConverError(f"{name} {height}x{width}: sides must be multiples of {step} for this pyramid")

    @property
    def mask_size(self) -> tuple[int, int]:
        """Height and width of the masks: the stride of the level that the pixel head fuses to."""
        head = self.per_pixel_embedding_head
        if self.multi_scale:
            level = head.level
        elif head.fusion == "none":
            level = self.decoder.level if isinstance(self.decoder, Aspp) else head.level
        else:
            level = head.low_level
        return tuple(-(-side // 2**level) * head.upsample_factor for side in self.input_size)

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the class maps, where heads stand on several levels."""
        if not isinstance(self.decoder, Fpn):
            return ()
        factor = self.class_head.upsample_factor
        height, width = self.input_size
        levels = range(self.decoder.min_level, self.decoder.max_level + 1)
        return tuple((-(-height // 2**level) * factor, -(-width // 2**level) * factor) for level in levels)

    @property
    def default_output_size(self) -> tuple[int, int]:
        """Where an in-graph panoptic merge runs unless told otherwise."""
        return self.mask_size if self.hard_sigmoid else self.padded_output_size


def read_config(path: str | Path, experiment: str | None = None) -> ModelConfig:
    """Read a Model Garden YAML.

    Args:
        path: of the file.
        experiment: one of `EXPERIMENTS`; what the YAML shows if not given (`guess`).

    Raises:
        MaskConverError: the file is missing, no YAML mapping, lacks `task.model`, or asks for what is not supported.
    """
    if experiment is not None and experiment not in EXPERIMENTS:
        raise MaskConverError(f"unknown experiment {shown(experiment)}; known ones: {', '.join(EXPERIMENTS)}")
    keys = read_yaml(Path(path))
    if not isinstance(keys.get(MODEL), Mapping):
        raise keys.fail(MODEL, "is missing; expected the `task: model:` section of a Model Garden experiment")
    if not any(isinstance(keys.get(f"{MODEL}.{head}"), Mapping) for head in HEADS):
        raise keys.fail(MODEL, f"has none of {', '.join(HEADS)}: this is the configuration of another task")
    return _Reader(keys, *((experiment, GIVEN) if experiment else guess(keys))).model()


class _Reader(Keys):
    """Reads `task.model` as that of an experiment."""

    def __init__(self, keys: Keys, experiment: str, reason: str) -> None:
        super().__init__(keys.path, keys.document)
        self.experiment, self.reason = cast("Experiment", experiment), reason
        self.defaults = EXPERIMENTS[self.experiment]

    def model(self) -> ModelConfig:
        m, d = MODEL, self.defaults
        num_classes = self.integer(f"{m}.num_classes", d.num_classes, 2, 4096)
        backbone = self.backbone()
        decoder = self.decoder(f"{m}.decoder")
        heads = [self.head(name, decoder) for name in HEADS]
        self.check_maps(decoder, heads)
        g = f"{m}.panoptic_generator"
        config = ModelConfig(
            experiment=self.experiment,
            experiment_reason=self.reason,
            input_size=self.input_size(),
            padded_output_size=self.pair(f"{m}.padded_output_size", d.padded_output_size),
            num_classes=num_classes,
            num_thing_classes=0 if "_seg_" in self.experiment else self.things(num_classes),
            num_instances=self.integer(f"{m}.num_instances", d.num_instances, 1, 1024),
            embedding_size=self.integer(f"{m}.embedding_size", d.embedding_size, 1, MAX_EMBEDDING),
            norm_epsilon=self.number(f"{m}.norm_activation.norm_epsilon", 0.001, 1e-9, 1.0),
            activation=self.only(f"{m}.norm_activation.activation", "relu", "relu", "relu6", "swish", "gelu"),
            backbone=backbone,
            decoder=decoder,
            mask_decoder=self.mask_decoder(),
            class_head=heads[0],
            mask_embedding_head=heads[1],
            per_pixel_embedding_head=heads[2],
            object_mask_threshold=self.number(f"{g}.object_mask_threshold", 0.001, 0.0, 1.0),
            overlap_threshold=self.number(f"{g}.overlap_threshold", 0.5, 0.0, 1.0),
            small_area_threshold=self.number(f"{g}.small_area_threshold", 0.0, 0.0, 1e9),
            rescale_predictions=self.flag(f"{g}.rescale_predictions", True),
            hard_sigmoid=self.flag(f"{g}.use_hardware_optimization", False),
        )
        if config.hard_sigmoid and config.padded_output_size != config.mask_size:
            size = list(config.mask_size)
            raise self.fail(
                f"{m}.padded_output_size", f"has to be the masks' size {size} with use_hardware_optimization"
            )
        config.check_input_size(f"{self.path}: {MODEL}.input_size")
        return config

    def things(self, num_classes: int) -> int:
        return self.integer("task.model.num_thing_classes", self.defaults.num_thing_classes, 0, num_classes)

    def pair(self, key: str, default: tuple[int, ...]) -> tuple[int, int]:
        height, width = self.integers(key, default, range(2, 3), 1, 4096)
        return height, width

    def input_size(self) -> tuple[int, int]:
        key = "task.model.input_size"
        value = self.get(key)
        if isinstance(value, list) and value[:2] == [None, None]:
            return self.pair("task.model.padded_output_size", self.defaults.padded_output_size)
        size = self.integers(key, (*self.defaults.input_size, 3), range(2, 4), 3, 4096)
        if size[2:] not in ((), (3,)):
            raise self.fail(key, f"is {list(size)}; expected 3 channels")
        if min(size[:2]) < 32:
            raise self.fail(key, f"is {list(size)}; expected at least 32x32")
        return size[0], size[1]

    def backbone(self) -> MobileNet | ResNet | ResNetUNet:
        b = "task.model.backbone"
        if self.get(f"{b}.type") == "spinenet_seg":
            raise self.fail(f"{b}.type", "is spinenet_seg, which is not supported: it has no published source")
        kind = self.only(f"{b}.type", "mobilenet", "mobilenet", "resnet", "resnet_unet")
        if kind == "mobilenet":
            name = self.get(f"{b}.mobilenet.model_id")
            if name in REFUSED:
                raise self.fail(f"{b}.mobilenet.model_id", f"is {name}, which needs attention; that is not supported")
            return MobileNet(
                self.only(f"{b}.mobilenet.model_id", None, *TABLES),
                self.number(f"{b}.mobilenet.filter_size_scale", 1.0, 0.05, 4.0),
                self.only(f"{b}.mobilenet.output_stride", None, None, 8, 16, 32),
            )
        r = f"{b}.{kind}"
        resnet = ResNet(
            self.only(f"{r}.model_id", 50, *REPEATS),
            self.number(f"{r}.depth_multiplier", 1.0, 0.01, 4.0),
            self.only(f"{r}.stem_type", "v0", "v0", "v1"),
            self.flag(f"{r}.scale_stem", True),
            self.number(f"{r}.se_ratio", 0.0, 0.0, 1.0),
            self.flag(f"{r}.resnetd_shortcut", False),
            self.flag(f"{r}.replace_stem_max_pool", False),
        )
        if kind == "resnet":
            return resnet
        lists = [
            self.integers(f"{r}.upsample_{name}", default, range(3, 4), 1, 4096)
            for name, default in (("filters", (384,) * 3), ("repeats", (18, 1, 1)), ("kernel_sizes", (7,) * 3))
        ]
        return ResNetUNet(resnet, *lists)

    def decoder(self, d: str) -> Aspp | Fpn:
        kinds = ("fpn", "maskconver_fpn") if self.experiment == MULTI_SCALE else ("aspp",)
        kind = self.only(f"{d}.type", kinds[0], *kinds)
        if kind != "aspp":
            return self.fpn(f"{d}.{kind}", kind)
        a = f"{d}.aspp"
        self.only(f"{a}.spp_layer_version", "v1", "v1")
        self.only(f"{a}.use_depthwise_convolution", False, True)
        pool = self.get(f"{a}.pool_kernel_size")
        return Aspp(
            level=self.level(f"{a}.level", 4, 3, 5),
            num_filters=self.integer(f"{a}.num_filters", 256, 1, 4096),
            dilation_rates=self.integers(f"{a}.dilation_rates", (), range(0, 9), 1, 64),
            pool_kernel_size=self.pair(f"{a}.pool_kernel_size", ()) if pool else None,
        )

    def fpn(self, f: str, kind: str) -> Fpn:
        m = "task.model"
        low = self.integer(f"{m}.min_level", 3, 2, LAST_OF_BACKBONE)
        return Fpn(
            min_level=low,
            max_level=self.integer(f"{m}.max_level", 7, low, MAX_LEVEL),
            num_filters=self.integer(f"{f}.num_filters", 256, 1, 4096),
            fusion_type=self.only(f"{f}.fusion_type", "sum", "sum", "concat"),
            use_separable_conv=(separable := self.flag(f"{f}.use_separable_conv", False)),
            kernel_size=self.integer(f"{f}.depthwise_kernel_size", 7, 1, 31) if separable and kind != "fpn" else 3,
            use_layer_norm=kind != "fpn" and self.flag(f"{f}.use_layer_norm", True),
            use_keras_layer=self.flag(f"{f}.use_keras_layer", False),
        )

    def mask_decoder(self) -> Fpn | None:
        d = "task.model.mask_decoder"
        if self.experiment != MULTI_SCALE or self.get(f"{d}.type", "identity") == "identity":
            return None
        kind = self.only(f"{d}.type", None, "fpn", "maskconver_fpn")
        return self.fpn(f"{d}.{kind}", kind)

    def head(self, name: str, decoder: Aspp | Fpn) -> Head:
        h = f"task.model.{name}"
        multi = isinstance(decoder, Fpn)
        shared = multi and name != PER_PIXEL
        fusion = self.get(f"{h}.feature_fusion", "none")
        allowed = (
            ("pyramid_fusion", "panoptic_fpn_fusion") if multi else ("deeplabv3plus_sum_to_merge", "deeplabv3plus")
        )
        self.only(f"{h}.feature_fusion", "none", "none", *(() if shared else allowed))
        low, high = (decoder.min_level, decoder.max_level) if isinstance(decoder, Fpn) else (0, 0)
        return Head(
            num_filters=self.integer(f"{h}.num_filters", 256, 1, 4096),
            num_convs=self.integer(f"{h}.num_convs", 4 if shared else 2, 0, 16),
            use_depthwise_convolution=self.flag(f"{h}.use_depthwise_convolution", False),
            kernel_size=self.integer(f"{h}.depthwise_kernel_size", 7, 1, 31),
            prediction_kernel_size=self.only(f"{h}.prediction_kernel_size", 3 if shared else 1, 1, 3),
            upsample_factor=self.integer(f"{h}.upsample_factor", 1, 1, 8),
            use_layer_norm=self.flag(f"{h}.use_layer_norm", multi),
            fusion=fusion,
            level=self.level(f"{h}.level", 3, 0, MAX_LEVEL),
            low_level=self.level(f"{h}.low_level", 2, 2, 4),
            low_level_filters=self.integer(f"{h}.low_level_num_filters", 48, 1, 4096),
            decoder_min_level=self.integer(f"{h}.decoder_min_level", low, 0, MAX_LEVEL),
            decoder_max_level=self.integer(f"{h}.decoder_max_level", high, 0, MAX_LEVEL),
        )

    def check_maps(self, decoder: Aspp | Fpn, heads: list[Head]) -> None:
        """Class map and mask embeddings have the same places."""
        classes, embeddings, _ = heads
        if classes.upsample_factor != embeddings.upsample_factor:
            key = f"{MODEL}.mask_embedding_head.upsample_factor"
            raise self.fail(key, f"is {embeddings.upsample_factor}; expected that of class_head")
        if isinstance(decoder, Fpn):
            self.check_levels(decoder, heads)
        elif len({head.low_level if head.fusion != "none" else decoder.level for head in (classes, embeddings)}) > 1:
            key = f"{MODEL}.mask_embedding_head"
            raise self.fail(key, "is at another resolution than class_head; give both one feature_fusion and low_level")

    def check_levels(self, decoder: Fpn, heads: list[Head]) -> None:
        """Heads of a pyramid read levels that it has."""
        pixels = heads[2]
        low, high = decoder.min_level, decoder.max_level
        if not low <= pixels.decoder_min_level <= pixels.decoder_max_level <= high:
            key = f"{MODEL}.{PER_PIXEL}.decoder_min_level"
            raise self.fail(key, f"to decoder_max_level is outside the decoder's levels {low}..{high}")
        reach = {"none": range(low, high + 1), "pyramid_fusion": range(low + 1)}
        levels = reach.get(pixels.fusion, range(pixels.decoder_min_level + 1))
        if pixels.level not in levels:
            key = f"{MODEL}.{PER_PIXEL}.level"
            raise self.fail(key, f"is {pixels.level}; {pixels.fusion} needs {levels[0]} to {levels[-1]}")
        if pixels.fusion == "panoptic_fpn_fusion" and pixels.num_filters % GROUPS:
            key = f"{MODEL}.{PER_PIXEL}.num_filters"
            raise self.fail(key, f"is {pixels.num_filters}; expected a multiple of {GROUPS} for its group norms")
