"""Quantization recipes, and which operations of a float model they may turn into integers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from maskconver_mobile.errors import MaskConverError

WEIGHT_BITS = 8
NETWORK = re.compile(r"(backbone|decoder|class_head|embedding_head|per_pixel_embeddings_head)/")


@dataclass(frozen=True)
class Recipe:
    """Number formats of a model.

    Attributes:
        name: as the command line and the card spell it.
        activation_bits: of integer activations; 0 where they stay float and no calibration is needed.
        keep_float: patterns of layers that stay float without being asked.
    """

    name: str
    activation_bits: int
    keep_float: tuple[str, ...] = ()

    @property
    def equalized(self) -> bool:
        """Whether channels are evened out first; steps of 16 bits are fine enough for all."""
        return self.activation_bits == 8

    @property
    def passes(self) -> int:
        """How often the network runs on each calibration image: to equalize, to round, and for the ranges."""
        return 3 if self.equalized else 2


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("float16", 0),
        Recipe("dynamic", 0),
        Recipe("int8", 8),
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


def select(found: Sequence[Operation], keep_float: Sequence[str]) -> list[Operation]:
    """The operations that are left to quantize.

    Raises:
        MaskConverError: a pattern matches no layer.
    """
    for pattern in keep_float:
        if not any(fnmatchcase(op.layer, pattern) for op in found):
            layers = sorted({op.layer for op in found if op.integer})
            shown = ", ".join(layers[:: max(1, len(layers) // 3)][:3])
            raise MaskConverError(f"--keep-float {pattern!r} matches no layer; layers are named like {shown}")
    return [op for op in found if not any(fnmatchcase(op.layer, pattern) for pattern in keep_float)]
