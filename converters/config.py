"""A Model Garden YAML as the network needs it: only `task.model` is read, with the experiment's defaults filled in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from maskconver_mobile.converters.backbones import BACKBONES
from maskconver_mobile.errors import MaskConverError

MAX_YAML_BYTES = 1 << 20

Fusion = Literal["deeplabv3plus_sum_to_merge", "deeplabv3plus", "none"]
FUSIONS: dict[str | None, Fusion] = {
    "deeplabv3plus_sum_to_merge": "deeplabv3plus_sum_to_merge",
    "deeplabv3plus": "deeplabv3plus",
    "none": "none",
    None: "none",
}


@dataclass(frozen=True)
class DecoderConfig:
    """The `aspp` decoder."""

    level: int
    num_filters: int
    dilation_rates: tuple[int, ...]
    pool_kernel_size: tuple[int, int] | None


@dataclass(frozen=True)
class HeadConfig:
    """One of the three heads; `num_convs` counts pairs of a depthwise and a pointwise convolution."""

    low_level: int
    low_level_filters: int
    num_filters: int
    num_convs: int
    kernel_size: int
    fusion: Fusion
    use_layer_norm: bool


@dataclass(frozen=True)
class ModelConfig:
    """The whole network. Sizes are (height, width) in pixels, thresholds as the panoptic generator has them."""

    input_size: tuple[int, int]
    padded_output_size: tuple[int, int]
    num_classes: int
    num_thing_classes: int
    num_instances: int
    embedding_size: int
    backbone: str
    filter_size_scale: float
    norm_epsilon: float
    decoder: DecoderConfig
    class_head: HeadConfig
    mask_embedding_head: HeadConfig
    per_pixel_embedding_head: HeadConfig
    object_mask_threshold: float
    overlap_threshold: float
    small_area_threshold: float
    hard_sigmoid: bool

    def with_input_size(self, size: tuple[int, int]) -> "ModelConfig":
        """The same network at another input size; the merge of the hardware variant follows the masks."""
        config = replace(self, input_size=size)
        return replace(config, padded_output_size=config.mask_size) if self.hard_sigmoid else config

    @property
    def mask_size(self) -> tuple[int, int]:
        """Height and width of the head maps: the stride of the level that the heads fuse with."""
        head = self.per_pixel_embedding_head
        stride = 2 ** (head.low_level if head.fusion != "none" else self.decoder.level)
        return -(-self.input_size[0] // stride), -(-self.input_size[1] // stride)

    @property
    def default_output_size(self) -> tuple[int, int]:
        """Where an in-graph panoptic merge runs unless told otherwise."""
        return self.mask_size if self.hard_sigmoid else self.padded_output_size


def read_config(path: str | Path) -> ModelConfig:
    """Read a Model Garden YAML.

    Raises:
        MaskConverError: the file is missing, no YAML mapping, lacks `task.model`, or asks for what is not supported.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise MaskConverError(f"{path}: larger than {MAX_YAML_BYTES} bytes; expected a Model Garden YAML")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MaskConverError(f"{path}: cannot be read as a YAML file ({error}); check --config") from error
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MaskConverError(f"{path}: is not valid YAML ({reason})") from error
    if not isinstance(document, Mapping):
        raise MaskConverError(f"{path}: holds no mapping; expected a Model Garden YAML with the key task.model")
    return _Reader(path, document).model()


class _Reader:
    """Typed look-ups by dotted key, so that every complaint names file and key."""

    def __init__(self, path: Path, document: Mapping[Any, Any]) -> None:
        self.path = path
        self.document = document

    def fail(self, key: str, problem: str) -> MaskConverError:
        return MaskConverError(f"{self.path}: {key} {problem}")

    def get(self, key: str, default: Any = None) -> Any:
        node: Any = self.document
        for part in key.split("."):
            if not isinstance(node, Mapping):
                return default
            node = node.get(part)
            if node is None:
                return default
        return node

    def number(self, key: str, default: float | None, low: float, high: float) -> float:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self.fail(key, f"is {value!r}; expected a number from {low:g} to {high:g}")
        return float(value)

    def integer(self, key: str, default: int | None, low: int, high: int) -> int:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fail(key, f"is {value!r}; expected a whole number from {low} to {high}")
        return value

    def integers(self, key: str, default: tuple[int, ...], lengths: range, low: int, high: int) -> tuple[int, ...]:
        value = self.get(key, default)
        good = isinstance(value, (list, tuple)) and len(value) in lengths
        if not good or not all(isinstance(v, int) and not isinstance(v, bool) and low <= v <= high for v in value):
            span = f"{lengths.start}" if len(lengths) == 1 else f"{lengths.start} to {lengths.stop - 1}"
            raise self.fail(key, f"is {value!r}; expected a list of {span} whole numbers from {low} to {high}")
        return tuple(value)

    def only(self, key: str, default: Any, *supported: Any) -> Any:
        value = self.get(key, default)
        if value not in supported:
            names = ", ".join(repr(s) for s in supported)
            raise self.fail(key, f"is {value!r}, which is not supported; supported: {names}")
        return value

    def model(self) -> ModelConfig:
        m = "task.model"
        if not isinstance(self.get(m), Mapping):
            raise self.fail(m, "is missing; expected the `task: model:` section of a Model Garden experiment")
        self.only(f"{m}.backbone.type", "mobilenet", "mobilenet")
        self.only(f"{m}.backbone.mobilenet.output_stride", None, 16)
        self.only(f"{m}.norm_activation.activation", "relu", "relu")
        self.only(f"{m}.level", 3, 3)
        num_classes = self.integer(f"{m}.num_classes", 201, 2, 4096)
        input_size = self.integers(f"{m}.input_size", (512, 512, 3), range(2, 4), 3, 4096)
        if input_size[2:] not in ((), (3,)):
            raise self.fail(f"{m}.input_size", f"is {list(input_size)}; expected 3 channels")
        height, width = input_size[:2]
        if min(height, width) < 32:
            raise self.fail(f"{m}.input_size", f"is {list(input_size)}; expected at least 32x32")
        output = self.integers(f"{m}.padded_output_size", (512, 512), range(2, 3), 1, 4096)
        decoder = self.decoder()
        heads = [self.head(name, decoder.level) for name in ("class_head", "mask_embedding_head", PER_PIXEL)]
        maps = {h.low_level if h.fusion != "none" else decoder.level for h in heads}
        if len(maps) > 1:
            raise self.fail(
                m, "has heads at different resolutions; give all heads the same feature_fusion and low_level"
            )
        g = f"{m}.panoptic_generator"
        return ModelConfig(
            input_size=(height, width),
            padded_output_size=(output[0], output[1]),
            num_classes=num_classes,
            num_thing_classes=self.integer(f"{m}.num_thing_classes", 91, 0, num_classes),
            num_instances=self.integer(f"{m}.num_instances", 100, 1, 1024),
            embedding_size=self.integer(f"{m}.embedding_size", 512, 1, 4096),
            backbone=self.only(f"{m}.backbone.mobilenet.model_id", None, *BACKBONES),
            filter_size_scale=self.number(f"{m}.backbone.mobilenet.filter_size_scale", 1.0, 0.05, 4.0),
            norm_epsilon=self.number(f"{m}.norm_activation.norm_epsilon", 0.001, 1e-9, 1.0),
            decoder=decoder,
            class_head=heads[0],
            mask_embedding_head=heads[1],
            per_pixel_embedding_head=heads[2],
            object_mask_threshold=self.number(f"{g}.object_mask_threshold", 0.001, 0.0, 1.0),
            overlap_threshold=self.number(f"{g}.overlap_threshold", 0.5, 0.0, 1.0),
            small_area_threshold=self.number(f"{g}.small_area_threshold", 0.0, 0.0, 1e9),
            hard_sigmoid=bool(self.only(f"{g}.use_hardware_optimization", False, True, False)),
        )

    def decoder(self) -> DecoderConfig:
        d = "task.model.decoder"
        self.only(f"{d}.type", "aspp", "aspp")
        a = f"{d}.aspp"
        self.only(f"{a}.spp_layer_version", "v1", "v1")
        self.only(f"{a}.use_depthwise_convolution", False, True)
        pool = self.get(f"{a}.pool_kernel_size")
        size = self.integers(f"{a}.pool_kernel_size", (), range(2, 3), 1, 4096) if pool else None
        level = self.only(f"{a}.level", 4, 4)
        return DecoderConfig(
            level=level,
            num_filters=self.integer(f"{a}.num_filters", 256, 1, 4096),
            dilation_rates=self.integers(f"{a}.dilation_rates", (), range(0, 9), 1, 64),
            pool_kernel_size=(size[0], size[1]) if size else None,
        )

    def head(self, name: str, decoder_level: int) -> HeadConfig:
        h = f"task.model.{name}"
        self.only(f"{h}.use_depthwise_convolution", False, True)
        self.only(f"{h}.prediction_kernel_size", 1, 1)
        self.only(f"{h}.upsample_factor", 1, 1)
        self.only(f"{h}.level", 3, decoder_level)
        self.only(f"{h}.feature_fusion", "none", *(name for name in FUSIONS if name))
        return HeadConfig(
            low_level=self.only(f"{h}.low_level", 2, 2, 3, 4),
            low_level_filters=self.integer(f"{h}.low_level_num_filters", 48, 1, 4096),
            num_filters=self.integer(f"{h}.num_filters", 256, 1, 4096),
            num_convs=self.integer(f"{h}.num_convs", 2, 0, 16),
            kernel_size=self.integer(f"{h}.depthwise_kernel_size", 7, 1, 31),
            fusion=FUSIONS[self.get(f"{h}.feature_fusion")],
            use_layer_norm=bool(self.only(f"{h}.use_layer_norm", False, True, False)),
        )


PER_PIXEL = "per_pixel_embedding_head"
