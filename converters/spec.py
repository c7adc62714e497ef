"""What a graph is to be: chosen before any weights are read."""

from dataclasses import dataclass
from typing import Literal, get_args

from maskconver_mobile.card import InputType, Level
from maskconver_mobile.errors import MaskConverError

Target = Literal["cpu", "arm", "gpu", "reference"]
Precision = Literal["float32", "float16"]


@dataclass(frozen=True)
class GraphSpec:
    """Where the graph ends, what it takes, and for whom it is written.

    Attributes:
        level: where the graph ends.
        target: the kernels it is written for.
        input_type: of the image.
        output_size: (height, width) of the maps; level `panoptic` alone.
        class_ids: the only classes that proposals may have, ascending; the others' channels are not computed. All if
            None. Not for level `heads`, whose class map has all channels.
        thing_ids: the classes that are things; what the configuration says if None.
    """

    level: Level = "masks"
    target: Target = "cpu"
    input_type: InputType = "pixels"
    output_size: tuple[int, int] | None = None
    class_ids: tuple[int, ...] | None = None
    thing_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what no graph can be.

        Raises:
            MaskConverError: a value is none of those that there are.
        """
        for name, value, known in (
            ("level", self.level, get_args(Level)),
            ("target", self.target, get_args(Target)),
            ("input type", self.input_type, get_args(InputType)),
        ):
            if value not in known:
                raise MaskConverError(f"unknown {name} {value!r}; known ones: {', '.join(known)}")
        if self.output_size is not None and self.level != "panoptic":
            raise MaskConverError(f"an output size belongs to level panoptic; level {self.level} has none")
        if self.class_ids is not None and self.level == "heads":
            raise MaskConverError(
                "level heads has the class map of all classes; dropping some needs level masks or panoptic"
            )

    @property
    def input_dtype(self) -> str:
        """Of the image tensor."""
        return "uint8" if self.input_type == "uint8" else "float32"
