"""Label sets: those of COCO, PASCAL VOC and Cityscapes, a user's own, or generic names."""

import colorsys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from maskconver_mobile.card import MAX_ID, Category
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import read_json

MAX_JSON_BYTES = 64 << 20
_COCO = Path(__file__).with_name("coco_panoptic.json")
_COCO_THINGS = 91
_PASCAL = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv/monitor"),
)
_CITYSCAPES = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}


@lru_cache(maxsize=1)
def coco_panoptic() -> tuple[Category, ...]:
    """COCO's 133 panoptic categories under their raw ids: things 1..90, stuff 92..200, by id."""
    return read_categories(_COCO)


def semantic_categories(num_classes: int) -> tuple[Category, ...]:
    """A semantic model's label set by its class count: 21 of PASCAL VOC, 19 of Cityscapes, 91 raw thing ids of COCO.

    Of any other count classes without names of their own. Ids run from 0, and none is a thing.
    """
    if num_classes == len(_PASCAL):
        return tuple(Category(i, name, False, _pascal_color(i)) for i, name in enumerate(_PASCAL))
    if num_classes == len(_CITYSCAPES):
        return tuple(Category(i, name, False, color) for i, (name, color) in enumerate(_CITYSCAPES.items()))
    if num_classes == _COCO_THINGS:
        things = (replace(c, is_thing=False) for c in coco_panoptic() if c.is_thing)
        return (Category(0, "background", False, (0, 0, 0)), *things)
    return tuple(Category(i, f"class {i}", False, color_of(i)) for i in range(num_classes))


def _pascal_color(number: int) -> tuple[int, int, int]:
    """PASCAL's color map: the bits of a number, three by three, from the highest bit of each color down."""
    channels = (sum((number >> 3 * j + channel & 1) << 7 - j for j in range(8)) for channel in range(3))
    red, green, blue = channels
    return red, green, blue


def generic_categories(num_classes: int, num_thing_classes: int) -> tuple[Category, ...]:
    """Categories 1..num_classes - 1 without names of their own; ids below num_thing_classes are things."""
    return tuple(
        Category(i, f"{'thing' if i < num_thing_classes else 'stuff'} {i}", i < num_thing_classes, color_of(i))
        for i in range(1, num_classes)
    )


def color_of(number: int) -> tuple[int, int, int]:
    """An RGB colour for a number from 0 on; neighbours differ."""
    # Steps of the golden ratio never come close to an earlier hue soon.
    hue = number * 0.618033988749895 % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, (0.9, 0.55, 0.75)[number % 3], (0.95, 0.9, 0.65)[number // 3 % 3])
    return round(red * 255), round(green * 255), round(blue * 255)


def read_categories(path: str | Path) -> tuple[Category, ...]:
    """Read a label set in the COCO panoptic format.

    Args:
        path: JSON; a list of `{"id", "name", "isthing", "color"}` or an object with such a list as its "categories".
            The colour may be missing.

    Returns:
        The categories by id.

    Raises:
        MaskConverError: the file cannot be read, or a category is not as it should be.
    """
    raw = read_json(Path(path), MAX_JSON_BYTES, "a label set in the COCO panoptic format")
    if isinstance(raw, dict):
        raw = raw.get("categories")
    if not isinstance(raw, list) or not raw:
        raise MaskConverError(
            f'{path}: no categories; expected a list of {{"id", "name", "isthing"}} or an object with "categories"'
        )
    found: dict[int, Category] = {}
    for position, entry in enumerate(raw):
        try:
            category = _category(entry)
        except KeyError as error:
            raise MaskConverError(f"{path}: category {position} lacks {error}") from error
        except (TypeError, ValueError) as error:
            raise MaskConverError(f"{path}: category {position}: {error}") from error
        if category.id in found:
            raise MaskConverError(f"{path}: id {category.id} is there twice; keep one")
        found[category.id] = category
    return tuple(found[i] for i in sorted(found))


def parse_flag(value: object, name: str) -> bool:
    """COCO's flags, such as `isthing`: 0 and 1, or JSON's own words for them.

    Raises:
        ValueError: it is anything else, of which Python would make up its own mind.
    """
    if not isinstance(value, int | float) or value not in (0, 1):
        raise ValueError(f"{name} is {value!r}; expected 0 or 1")
    return bool(value)


def _category(entry: Any) -> Category:
    if not isinstance(entry, dict):
        raise TypeError(f"is a {type(entry).__name__}; expected an object with id, name and isthing")
    identity, name, is_thing = entry["id"], entry["name"], parse_flag(entry["isthing"], "isthing")
    if not _is_integer(identity):
        raise ValueError(f"id is {identity!r}; expected a whole number in 0..{MAX_ID}")
    if not isinstance(name, str):
        raise ValueError(f"name is {name!r}; expected text")
    color = entry.get("color")
    if color is not None and (not isinstance(color, list) or len(color) != 3 or not all(map(_is_integer, color))):
        raise ValueError(f"color is {color!r}; expected [red, green, blue] in 0..255")
    red, green, blue = color_of(identity) if color is None else color
    category = Category(identity, name, is_thing, (red, green, blue))
    category.check()
    return category


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
