"""The mobile backbones as tables; another one is a few lines here."""

from typing import NamedTuple


class Block(NamedTuple):
    """One row: `conv` is convolution-norm-relu, `ib` an inverted bottleneck; `expand` multiplies its input filters."""

    kind: str
    kernel: int
    stride: int
    filters: int
    expand: float = 1.0
    endpoint: str = ""


BACKBONES: dict[str, tuple[Block, ...]] = {
    "MobileNetMultiAVGSeg": (
        Block("conv", 3, 2, 32),
        Block("ib", 3, 2, 32, 3),
        Block("ib", 3, 1, 32, 2, "2"),
        Block("ib", 5, 2, 64, 5),
        Block("ib", 3, 1, 64, 3),
        Block("ib", 3, 1, 64, 2),
        Block("ib", 3, 1, 64, 3, "3"),
        Block("ib", 5, 2, 128, 6),
        Block("ib", 3, 1, 128, 3),
        Block("ib", 3, 1, 128, 3),
        Block("ib", 3, 1, 128, 3),
        Block("ib", 3, 1, 160, 6),
        Block("ib", 3, 1, 160, 4),
        Block("ib", 3, 2, 192, 6),
        Block("ib", 5, 1, 96, 2),
        Block("ib", 5, 1, 96, 4),
        Block("ib", 5, 1, 96, 4),
        Block("conv", 1, 1, 448, endpoint="4"),
    ),
    "MobileNetMultiMAXSeg": (
        Block("conv", 3, 2, 32),
        Block("ib", 3, 2, 32, 3, "2"),
        Block("ib", 5, 2, 64, 6),
        Block("ib", 3, 1, 64, 2),
        Block("ib", 3, 1, 64, 2, "3"),
        Block("ib", 5, 2, 128, 6),
        Block("ib", 3, 1, 128, 4),
        Block("ib", 3, 1, 128, 3),
        Block("ib", 3, 1, 128, 3),
        Block("ib", 3, 1, 128, 6),
        Block("ib", 3, 1, 128, 3, "4"),
        Block("ib", 3, 2, 160, 6),
        Block("ib", 5, 1, 96, 2),
        Block("ib", 3, 1, 96, 4),
        Block("ib", 5, 1, 96, 320 / 96, "4"),
        Block("conv", 1, 1, 448, endpoint="4"),
    ),
}


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round filters to a multiple of `divisor`, never losing more than a tenth (Howard et al. 2017)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
