"""The model card: what a model file says of itself, as JSON inside the file."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from maskconver_mobile.errors import MaskConverError

SCHEMAS = (1, 2)
"""Those that are read; the last is written. 2 knows input type `pixels` and half precision."""
KEY = "maskconver_card"

Level = Literal["heads", "masks", "panoptic"]
InputType = Literal["pixels", "uint8", "float32"]


@dataclass(frozen=True)
class Category:
    """One class of the label set; `id` is the value that stands in category maps."""

    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int]


@dataclass(frozen=True)
class ModelCard:
    """Everything a reader of a model file needs besides its tensors.

    Attributes:
        name: what the model is called, for people.
        level: where the graph ends: three head maps, `masks` (classes, scores, mask logits) or `panoptic` maps.
        target: the kernels the graph was rewritten for (`reference` is the plain graph).
        recipe: number format of weights and activations, such as `float32` or `float16`.
        input_size: (height, width) in pixels.
        input_type: `pixels` takes RGB values 0..255 as float32, as resizing leaves them; `uint8` takes them rounded;
            `float32` takes `(pixel - mean) / std`.
        mean: per RGB channel, in pixel units 0..255.
        std: per RGB channel, in pixel units.
        output_size: (height, width) of the canvas on which proposals are merged, in pixels.
        num_instances: K, the number of proposals.
        num_classes: class ids run from 0 to num_classes - 1; 0 is void.
        object_mask_threshold: a proposal must score above it to take part in the merge.
        overlap_threshold: part of its own area that a segment must win to be kept.
        small_area_threshold: a kept segment has more pixels than this, at `output_size`.
        hard_sigmoid: the merge uses relu6(x + 3) / 6 at mask resolution (the hardware variant).
        categories: the label set.
        half_precision: whether the file permits processors to compute in float16.
        source: where the weights come from (checkpoint name, sha256).
        tools: versions of what wrote the file.
    """

    name: str
    level: Level
    target: str
    recipe: str
    input_size: tuple[int, int]
    input_type: InputType
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    output_size: tuple[int, int]
    num_instances: int
    num_classes: int
    object_mask_threshold: float
    overlap_threshold: float
    small_area_threshold: float
    hard_sigmoid: bool
    categories: tuple[Category, ...]
    half_precision: bool = False
    source: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """The card as it stands in a model file."""
        return json.dumps({"schema": SCHEMAS[-1], **asdict(self)}, separators=(",", ":"), sort_keys=True)

    @property
    def input_dtype(self) -> str:
        """Of the input tensor: `uint8` or `float32`."""
        return "uint8" if self.input_type == "uint8" else "float32"

    @classmethod
    def from_json(cls, text: str | bytes, file: str) -> "ModelCard":
        """Read a card back; `file` names its origin in errors.

        Raises:
            MaskConverError: the text is no card, or a card of a newer schema.
        """
        try:
            raw = json.loads(text)
            schema = raw["schema"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise MaskConverError(f"{file}: its model card is not readable ({error}); convert it again") from error
        if schema not in SCHEMAS:
            raise MaskConverError(
                f"{file}: its model card has schema {schema!r} and this version reads up to {SCHEMAS[-1]}; "
                "upgrade maskconver-mobile"
            )
        try:
            return cls._from_dict(raw)
        except (KeyError, TypeError, ValueError) as error:
            raise MaskConverError(f"{file}: its model card is malformed ({error!r}); convert it again") from error

    @classmethod
    def _from_dict(cls, raw: dict[str, Any]) -> "ModelCard":
        values = {f.name: raw[f.name] for f in fields(cls) if f.name != "half_precision"}
        values["half_precision"] = bool(raw["half_precision"]) if raw["schema"] > 1 else False
        for key in ("input_size", "mean", "std", "output_size"):
            values[key] = tuple(values[key])
        values["categories"] = tuple(
            Category(int(c["id"]), str(c["name"]), bool(c["is_thing"]), tuple(c["color"])) for c in raw["categories"]
        )
        card = cls(**values)
        if card.level not in get_args(Level) or card.input_type not in get_args(InputType):
            raise ValueError(f"level {card.level!r}, input type {card.input_type!r}")
        if card.input_type == "pixels" and raw["schema"] < 2:
            raise ValueError("input type 'pixels' in schema 1")
        sizes = (*card.input_size, *card.output_size, card.num_instances, card.num_classes)
        if len(sizes) != 6 or not all(isinstance(v, int) and 0 < v <= 1 << 14 for v in sizes):
            raise ValueError(f"sizes {sizes}")
        if len(card.mean) != 3 or len(card.std) != 3 or not all(s > 0 for s in card.std):
            raise ValueError(f"mean {card.mean}, std {card.std}")
        return card
