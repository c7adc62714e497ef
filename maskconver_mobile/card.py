"""The model card: what a model file says of itself, as JSON inside the file."""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.typed_json import decode

SCHEMAS = (1, 2)
"""Those that are read; the last is written. 2 knows input type `pixels` and half precision."""
KEY = "maskconver_card"
MAX_BYTES = 16 << 20
MAX_TEXT = 300
MAX_LAYERS = 4096
MAX_SIDE = 1 << 14
MAX_AREA = 1 << 24
MAX_LEVELS = 16
MAX_DECIBEL = 200
MAX_ID = (1 << 14) - 1
"""Of classes and categories, whose ids are indices into tables."""

Level = Literal["heads", "masks", "panoptic"]
InputType = Literal["pixels", "uint8", "float32"]
Role = Literal["integer", "convolutions", "weights"]


@dataclass(frozen=True)
class Category:
    """One class of the label set; `id` is the value that stands in category maps."""

    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int]

    def check(self, max_id: int = MAX_ID) -> None:
        """What types alone do not say.

        Raises:
            ValueError: a value is out of bounds; the message names it.
        """
        if not 0 <= self.id <= max_id:
            raise ValueError(f"id is {self.id!r}; expected a whole number in 0..{max_id}")
        if not self.name.strip() or len(self.name) > MAX_TEXT:
            raise ValueError(f"name is {self.name[:40]!r}; expected text of up to {MAX_TEXT} characters")
        if not all(0 <= value <= 255 for value in self.color):
            raise ValueError(f"color is {list(self.color)!r}; expected [red, green, blue] in 0..255")


@dataclass(frozen=True)
class AppliedPass:
    """What one rewrite of the graph did: in how many places, and the graph's multiply-adds behind it."""

    name: str
    places: int
    multiply_adds: int


@dataclass(frozen=True)
class HeadsRule:
    """How a host finishes a graph of level `heads`.

    Attributes:
        levels: (height, width) of the maps that `class_heatmap` and `mask_embedding_map` hold one after the other;
            empty where each is one map.
        combination: of the embeddings of a place and of its class.
        activation: in the middle of the layers that make mask kernels of them.
    """

    levels: tuple[tuple[int, int], ...] = ()
    combination: Literal["product", "sum"] = "product"
    activation: Literal["relu", "relu6", "swish", "gelu"] = "relu"


@dataclass(frozen=True)
class Verdict:
    """How much of a float model's answer its quantized form keeps: means over images.

    Attributes:
        images: on how many it was measured.
        held_aside: whether none of them was calibrated on.
        agreement: share of the pixels that keep their category, 0..1.
        stable_agreement: the same of the pixels that the float model is sure of, 0..1; None where there are none.
        segment_overlap: 2 x matching segments / segments of both, 0..1.
        snr_db: signal to noise in dB by output tensor: the heads where the file has them, else `scores` and
            `mask_logits` of the proposals in common.
    """

    images: int
    held_aside: bool
    agreement: float
    stable_agreement: float | None
    segment_overlap: float
    snr_db: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """For people, in one line."""
        stable = "" if self.stable_agreement is None else f", {self.stable_agreement:.1%} of the stable ones"
        decibel = "".join(f", {name} {value:.1f} dB" for name, value in self.snr_db.items())
        count = f"{self.images} image{'s' * (self.images != 1)}"
        where = "held aside" if self.held_aside else "of the calibration itself"
        return (
            f"keeps {self.agreement:.1%} of the pixels{stable}, {self.segment_overlap:.1%} of the segments{decibel} "
            f"({count} {where})"
        )

    def check(self) -> None:
        """What types alone do not say.

        Raises:
            ValueError: a value is out of bounds; the message names it.
        """
        _expect(self.images > 0, "verdict.images", "a number from 1 on")
        for key in ("agreement", "stable_agreement", "segment_overlap"):
            value = getattr(self, key)
            _expect(value is None or 0 <= value <= 1, f"verdict.{key}", "a number from 0 to 1")
        fits = all(len(name) <= MAX_TEXT and abs(value) <= MAX_DECIBEL for name, value in self.snr_db.items())
        _expect(fits and len(self.snr_db) <= MAX_TEXT, "verdict.snr_db", f"up to {MAX_DECIBEL} dB by a short name")


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
        num_classes: class ids run from 0 to num_classes - 1; 0 is void, unless a category has it (`semantic`).
        object_mask_threshold: a proposal must score above it to take part in the merge.
        overlap_threshold: part of its own area that a segment must win to be kept.
        small_area_threshold: a kept segment has more pixels than this, at `output_size`.
        hard_sigmoid: the merge uses relu6(x + 3) / 6 at mask resolution (the hardware variant).
        categories: the label set. One with id 0 has no things: that class is real, and what is left over gets it.
        half_precision: whether the file permits processors to compute in float16.
        rescale_predictions: whether masks are merged at the image's size; else on the canvas as it is. For level
            `panoptic`, whose graph merges, without effect.
        heads: of level `heads`, how to go on from there.
        source: where the weights come from (checkpoint name, sha256).
        tools: versions of what wrote the file.
        passes: the rewrites of the graph, in order; the first entry is the network as it is defined.
        roles: what quantization may do to each layer of the network, by its path in the checkpoint: `integer` for
            weights and maps, `convolutions` for those operations alone, or only the `weights`.
        joined: further layers that are computed together with one, by its path: their weights stand in its own.
        verdict: of a quantized file, what was measured when it was written; None where nothing was.
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
    rescale_predictions: bool = True
    heads: HeadsRule = HeadsRule()
    source: dict[str, str] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    passes: tuple[AppliedPass, ...] = ()
    roles: dict[str, Role] = field(default_factory=dict)
    joined: dict[str, tuple[str, ...]] = field(default_factory=dict)
    verdict: Verdict | None = None

    def to_json(self) -> str:
        """The card as it stands in a model file, without a verdict where there is none."""
        known = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps({"schema": SCHEMAS[-1], **known}, separators=(",", ":"), sort_keys=True)

    @property
    def semantic(self) -> bool:
        """Whether there are no things, and class 0 is a real one."""
        return any(category.id == 0 for category in self.categories)

    @property
    def input_dtype(self) -> str:
        """Of the input tensor: `uint8` or `float32`."""
        return "uint8" if self.input_type == "uint8" else "float32"

    @classmethod
    def from_json(cls, text: str | bytes, file: str) -> "ModelCard":
        """Read a card back; `file` names its origin in errors.

        Raises:
            MaskConverError: the text is no card, a card of a newer schema, or says what cannot be.
        """
        try:
            if len(text) > MAX_BYTES:
                raise ValueError(f"longer than {MAX_BYTES} characters")
            raw = json.loads(text)
            schema = raw["schema"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise MaskConverError(f"{file}: its model card is not readable ({error}); convert it again") from error
        if type(schema) is not int or schema not in SCHEMAS:
            raise MaskConverError(
                f"{file}: its model card has schema {str(schema)[:20]} and this version reads up to {SCHEMAS[-1]}; "
                "upgrade maskconver-mobile"
            )
        try:
            card: ModelCard = decode(cls, {**raw, "half_precision": schema > 1 and raw["half_precision"]})
            card.check(schema)
        except KeyError as error:
            raise MaskConverError(
                f"{file}: its model card is malformed ({error} is missing); convert it again"
            ) from error
        except ValueError as error:
            raise MaskConverError(f"{file}: its model card is malformed ({error}); convert it again") from error
        return card

    def check(self, schema: int = SCHEMAS[-1]) -> None:
        """What types alone do not say; `schema` is the one that the card was written in.

        Raises:
            ValueError: a value is out of bounds; the message names it.
        """
        for key in ("name", "target", "recipe"):
            _expect(len(getattr(self, key)) <= MAX_TEXT, key, f"text of up to {MAX_TEXT} characters")
        for key in ("source", "tools"):
            texts = [text for pair in getattr(self, key).items() for text in pair]
            _expect(len(texts) <= MAX_TEXT and all(len(t) <= MAX_TEXT for t in texts), key, "a few short texts")
        joined = [path for layer, others in self.joined.items() for path in (layer, *others)]
        for key, layers in (("roles", list(self.roles)), ("joined", joined)):
            short = all(len(path) <= MAX_TEXT for path in layers)
            _expect(short and len(layers) <= MAX_LAYERS, key, "a few thousand short paths")
        named = all(len(each.name) <= MAX_TEXT and each.places >= 0 for each in self.passes)
        _expect(named and len(self.passes) <= MAX_TEXT, "passes", "a few short entries")
        _expect(self.input_type != "pixels" or schema > 1, "input_type", "another than 'pixels' in schema 1")
        for key in ("input_size", "output_size"):
            height, width = getattr(self, key)
            fits = 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_AREA
            _expect(fits, key, f"sides of 1 to {MAX_SIDE} and up to {MAX_AREA} pixels")
        for key in ("num_instances", "num_classes"):
            _expect(0 < getattr(self, key) <= MAX_ID + 1, key, f"1 to {MAX_ID + 1}")
        levels = self.heads.levels
        fits = len(levels) <= MAX_LEVELS and all(0 < side <= MAX_SIDE for level in levels for side in level)
        _expect(fits, "heads.levels", f"up to {MAX_LEVELS} levels with sides of 1 to {MAX_SIDE}")
        _expect(all(0 <= value <= 255 for value in self.mean), "mean", "three numbers from 0 to 255")
        _expect(all(1e-3 <= value <= 1e6 for value in self.std), "std", "three numbers from 0.001 to 1000000")
        for key in ("object_mask_threshold", "overlap_threshold"):
            _expect(0 <= getattr(self, key) <= 1, key, "a number from 0 to 1")
        _expect(self.small_area_threshold >= 0, "small_area_threshold", "a number from 0 on")
        if self.verdict is not None:
            self.verdict.check()
        for category in self.categories:
            category.check(self.num_classes - 1)
        ids = {category.id for category in self.categories}
        _expect(len(ids) == len(self.categories), "categories", "every id once")
        things = any(category.is_thing for category in self.categories)
        _expect(not (self.semantic and things), "categories", "no things beside id 0")


def _expect(right: bool, key: str, wanted: str) -> None:
    if not right:
        raise ValueError(f"{key}: expected {wanted}")
