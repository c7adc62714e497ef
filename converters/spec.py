"""What a graph is to be: chosen before any weights are read."""

from dataclasses import dataclass
from typing import Literal

from maskconver_mobile.card import InputType, Level

Target = Literal["cpu", "arm", "gpu", "reference"]


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
    """

    level: Level = "masks"
    target: Target = "cpu"
    input_type: InputType = "pixels"
    output_size: tuple[int, int] | None = None
    class_ids: tuple[int, ...] | None = None

    @property
    def input_dtype(self) -> str:
        """Of the image tensor."""
        return "uint8" if self.input_type == "uint8" else "float32"
