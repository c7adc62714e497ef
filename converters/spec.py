"""What a graph is to be: chosen before any weights are read."""

from dataclasses import dataclass

from maskconver_mobile.card import InputType, Level
from maskconver_mobile.converters.targets import Target


@dataclass(frozen=True)
class GraphSpec:
    """Where the graph ends, what it takes, and for whom it is written. `output_size` belongs to `panoptic` alone."""

    level: Level = "masks"
    target: Target = "cpu"
    input_type: InputType = "uint8"
    output_size: tuple[int, int] | None = None
