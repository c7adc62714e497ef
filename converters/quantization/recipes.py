"""Quantization recipes, and which operations of a float model they may turn into integers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from maskconver_mobile.card import ModelCard, Role
from maskconver_mobile.errors import MaskConverError

WEIGHT_BITS = 8
Roles = Mapping[str, Role]
Joined = Mapping[str, Sequence[str]]
"""Both by the paths of layers; see `policy`."""


@dataclass(frozen=True)
class Recipe:
    """Number formats of a model.

    Attributes:
        name: as the command line and the card spell it.
        activation_bits: of integer activations; 0 where they stay float and no calibration is needed.
        keep_float: patterns of layers that stay float without being asked; not every network has such layers.
    """

    name: str
    activation_bits: int
    keep_float: tuple[str, ...] = ()

    def kept(self, keep_float: Sequence[str]) -> tuple[str, ...]:
        """The user's patterns, and the recipe's own."""
        return (*keep_float, *self.keep_float)

    @property
    def equalized(self) -> bool:
        """Whether channels are evened out first; steps of 16 bits are fine enough for all."""
        return self.activation_bits == 8

    @property
    def rounds_dense(self) -> bool:
        """Whether dense weights are rounded by their layer's error, too; noise of 8-bit maps hides what they lose."""
        return self.activation_bits == 16

    @property
    def passes(self) -> int:
        """How often the network runs on each calibration image: to equalize, to round, and for the ranges."""
        return 3 if self.equalized else 2


SENSITIVE = (
    "backbone/layer_with_weights-[0-6]",
    "backbone/layer_with_weights-[0-6]/*",
    "decoder/aspp/projection/*",
    *("class_head", "embedding_head", "per_pixel_embeddings_head"),
    *("class_head/_convs/[23]", "per_pixel_embeddings_head/_convs/[23]"),
)
"""Of the mobile networks, those that bring most noise for their multiply-adds: all blocks carry on what the first ones
lose, the last map of a head is what proposals are made of, and sums cost nothing. They have a third of the work."""

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("float16", 0),
        Recipe("dynamic", 0),
        Recipe("int8", 8),
        Recipe("int8-balanced", 8, SENSITIVE),
        Recipe("int16x8", 16),
    )
}
"""What each is for stands in docs/quantization.md."""
ONNX_RECIPES = tuple(name for name, recipe in RECIPES.items() if recipe.activation_bits != 16)


@dataclass(frozen=True)
class Operation:
    """An operator that a recipe may quantize.

    Attributes:
        kind: as its format calls it, such as CONV_2D.
        name: of its output tensor.
        layer: path of its layer in the checkpoint, such as `class_head/_convs/0`; several operations may share it.
        integer: whether its activations may be integers, or only its weights.
    """

    kind: str
    name: str
    layer: str
    integer: bool


def find_recipe(name: str) -> Recipe:
    """A recipe by name.

    Raises:
        MaskConverError: there is none of this name.
    """
    if name not in RECIPES:
        raise MaskConverError(f"unknown recipe {name!r}; known ones: {', '.join(RECIPES)}")
    return RECIPES[name]


def select(
    found: Sequence[Operation], keep_float: Sequence[str], recipe: Recipe, joined: Joined | None = None
) -> list[Operation]:
    """The operations that are left to quantize: all but those that the user or the recipe keeps.

    A pattern that names any of the layers that are `joined` in an operation keeps it.

    Raises:
        MaskConverError: a pattern matches no layer.
    """
    for pattern in keep_float:
        if not any(matches(op.layer, with_joined((pattern,), joined)) for op in found):
            layers = sorted({op.layer for op in found if op.integer})
            shown = ", ".join(layers[:: max(1, len(layers) // 3)][:3])
            raise MaskConverError(f"--keep-float {pattern!r} matches no layer; layers are named like {shown}")
    return [op for op in found if not matches(op.layer, with_joined(recipe.kept(keep_float), joined))]


def with_joined(patterns: Sequence[str], joined: Joined | None) -> tuple[str, ...]:
    """These patterns, and the layers whose operations compute others that they match."""
    others = (joined or {}).items()
    return (*patterns, *(layer for layer, parts in others if any(matches(part, patterns) for part in parts)))


def allowed(layer: str, roles: Roles, *, whole: bool, convolution: bool) -> bool:
    """Whether an operation of a layer may have integer maps.

    Args:
        layer: its path.
        roles: of all layers.
        whole: whether its format has the operation for integers.
        convolution: whether it is one.
    """
    role = roles.get(layer)
    return whole if role == "integer" else convolution and role == "convolutions"


def check_quantizable(card: ModelCard) -> None:
    """Refuse a file that cannot be quantized, whatever its format, before any work.

    Raises:
        MaskConverError: it is quantized already, or of an earlier version, which does not say what its layers are.
    """
    if card.recipe != "float32":
        raise MaskConverError(
            f"model {card.name} has recipe {card.recipe} already; quantize the float32 model it was made from"
        )
    if not card.roles:
        raise MaskConverError(
            f"model {card.name} does not say which of its layers may be integers; convert its checkpoint again"
        )


def check_calibration(recipe: Recipe, given: object) -> None:
    """Refuse integer maps without images to calibrate on; `given` is what there is of them.

    Raises:
        MaskConverError: the recipe needs some, and nothing is given.
    """
    if recipe.activation_bits and not given:
        raise MaskConverError(
            f"recipe {recipe.name} needs calibration images; give a folder of them with --calibration"
        )


def matches(layer: str, patterns: Sequence[str]) -> bool:
    """Whether any of the patterns matches a layer's path."""
    return any(fnmatchcase(layer, pattern) for pattern in patterns)


def layer_of(name: str) -> str:
    """The path of the layer whose operation makes a tensor of this name."""
    return name.split(";")[0].rpartition("/")[0] or name.split(";")[0]
