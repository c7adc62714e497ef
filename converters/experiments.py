"""The experiments of Model Garden that build a MaskConver: their defaults, and how to tell which one a YAML is of."""

import re
from dataclasses import dataclass
from typing import Literal

from maskconver_mobile.converters.yaml_keys import Keys

MODEL = "task.model"
PANOPTIC, MULTI_SCALE = "maskconver_coco", "multiscale_maskconver_coco"
CITYSCAPES_CLASSES = 19

Experiment = Literal[
    "maskconver_coco", "maskconver_seg_pascal", "maskconver_seg_cityscapes", "multiscale_maskconver_coco"
]


@dataclass(frozen=True)
class Defaults:
    """What an experiment takes where a YAML says nothing."""

    num_classes: int
    num_thing_classes: int
    num_instances: int
    embedding_size: int
    input_size: tuple[int, int]
    padded_output_size: tuple[int, int]


EXPERIMENTS: dict[str, Defaults] = {
    "maskconver_coco": Defaults(201, 91, 100, 512, (512, 512), (512, 512)),
    "maskconver_seg_pascal": Defaults(21, 0, 100, 512, (512, 512), (512, 512)),
    "maskconver_seg_cityscapes": Defaults(19, 0, 100, 512, (1024, 2048), (1024, 2048)),
    "multiscale_maskconver_coco": Defaults(201, 91, 100, 512, (640, 640), (640, 640)),
}


def guess(keys: Keys) -> tuple[str, str]:
    """The experiment that a YAML shows, and what shows it: a first line `# experiment: NAME`, or else signs of one.

    A pyramid is multi-scale. No things, or things that are no classes, are signs of a semantic model; so is the
    output size of its training data.
    """
    named = re.match(r"#\s*experiment:\s*(\S+)", keys.first_line)
    if named and named[1] in EXPERIMENTS:
        return named[1], "its first line names it"
    decoder, backbone = (keys.get(f"{MODEL}.{part}.type") for part in ("decoder", "backbone"))
    if decoder not in (None, "aspp"):
        return MULTI_SCALE, "its decoder is a pyramid"
    if decoder is None and backbone in ("resnet", "resnet_unet"):
        return MULTI_SCALE, "its backbone is a ResNet"
    classes, things = (keys.get(f"{MODEL}.{name}") for name in ("num_classes", "num_thing_classes"))
    semantic = "maskconver_seg_cityscapes" if classes == CITYSCAPES_CLASSES else "maskconver_seg_pascal"
    if things is None and classes not in (None, EXPERIMENTS[PANOPTIC].num_classes):
        return semantic, "its YAML has no num_thing_classes"
    if isinstance(classes, int) and isinstance(things, int) and not 1 <= things <= classes:
        return semantic, f"its num_thing_classes {things} is not in 1..{classes}"
    if keys.get("task.train_data.output_size") is not None:
        return semantic, "its YAML has task.train_data.output_size"
    return PANOPTIC, "its YAML shows no sign of another experiment"
