"""The cheapest mix of integer and float layers that keeps as many stable pixels as wanted."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.quantization.calibration import CalibrationSet
from maskconver_mobile.converters.quantization.recipes import Operation, Recipe
from maskconver_mobile.converters.quantization.sensitivity import Cost, HeadNoise, decibel, layer_costs
from maskconver_mobile.converters.quantization.static_model import StaticModel
from maskconver_mobile.errors import GateShut, MaskConverError
from maskconver_mobile.evaluation.stability import CategoryMap, Where, agreement, noisy_images, stable_pixels
from maskconver_mobile.inference.image import load_image
from maskconver_mobile.segmenter import Segmenter

SWITCH = 0.005
"""What turning maps into floats and back is worth, as a share of the network's multiply-adds: with it, layers that
multiply next to nothing are no bargain."""

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


@contextmanager
def silent(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Progress that nobody watches."""
    yield lambda: None


@dataclass(frozen=True)
class Mix:
    """Integer and float layers, and how they do; shares are 0..1.

    Attributes:
        kept: paths of the layers that the search kept float.
        stable: share of the stable pixels whose category stays, mean over the images.
        agreement: the same of all pixels.
        snr_db: signal to noise at the heads.
        bytes: of the file without its verdict; of one that was only tried, by its weights.
        float_work: share of the multiply-adds that the recipe makes integer, which these layers take back.
    """

    kept: tuple[str, ...]
    stable: float
    agreement: float
    snr_db: float
    bytes: int
    float_work: float


@dataclass(frozen=True)
class Search:
    """What was tried for a target.

    Attributes:
        target: share of stable pixels that should keep their category, 0..1.
        images: on how many images that was measured.
        tried: all mixes, the fewest float layers first.
        written: the one in the file, measured there.
    """

    target: float
    images: int
    tried: tuple[Mix, ...]
    written: Mix

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the attributes by name, and those of each mix."""
        return asdict(self)


def check_target(target: float, recipe: Recipe) -> None:
    """Refuse a target that says nothing.

    Raises:
        MaskConverError: it is no share, or the recipe has no integer activations to choose from.
    """
    if not 0 < target <= 1:
        raise MaskConverError(f"--target-agreement {target}: give a share of pixels above 0 and up to 1, such as 0.97")
    if not recipe.activation_bits:
        raise MaskConverError(
            f"--target-agreement chooses among integer layers, and recipe {recipe.name} has none; choose recipe int8"
        )


def block_of(layer: str) -> str:
    """What a layer is kept float with: its block of the backbone; elsewhere each stands for itself."""
    parts = layer.split("/")
    return "/".join(parts[:2]) if parts[0] == "backbone" else layer


class Judge:
    """How many pixels keep the category that the float model gives them (`evaluation.stability`).

    Attributes:
        skipped: the images that could not be read, with the reason.
        count: of the others.
    """

    def __init__(self, model: Path, images: Sequence[Path], progress: Progress = silent) -> None:
        """Run the float model on images and on noisy versions of them.

        Raises:
            MaskConverError: no image can be read, or none has a stable pixel.
        """
        self.skipped: list[tuple[Path, str]] = []
        self._seen: list[tuple[Path, CategoryMap, Where]] = []
        self._progress = progress
        with Segmenter(model) as segmenter, progress("Looking for stable pixels", len(images)) as advance:
            for path in images:
                try:
                    pixels = load_image(path)
                except MaskConverError as error:
                    self.skipped.append((path, str(error)))
                else:
                    own, *others = (
                        segmenter.segment(each).category_map.astype(np.int16)
                        for each in (pixels, *noisy_images(pixels))
                    )
                    stable = stable_pixels([own, *others])
                    if stable.any():
                        self._seen.append((path, own, stable))
                advance()
        if not self._seen:
            reason = self.skipped[0][1] if self.skipped else f"{images[0]}: no pixel is stable"
            raise MaskConverError(f"--target-agreement: none of {len(images)} images tells anything (first: {reason})")
        self.count = len(self._seen)

    def __call__(self, model: Path, description: str) -> tuple[float, float]:
        """Of another model: shares of the stable pixels and of all, means over the images."""
        shares = []
        with Segmenter(model) as segmenter, self._progress(description, self.count) as advance:
            for path, own, stable in self._seen:
                other = segmenter.segment(path).category_map
                shares.append([agreement(own, other, stable), agreement(own, other)])
                advance()
        kept, same = np.mean(np.array(shares, np.float64), 0).tolist()
        return kept, same


class MixSearch:
    """Mixes of one model in the order in which its blocks turn float: the most noise for its work first."""

    def __init__(self, model: StaticModel, data: CalibrationSet, judge: Judge, progress: Progress = silent) -> None:
        """Of a whole model; blocks are ordered when first needed.

        Args:
            model: ready for integers.
            data: images to measure noise on.
            judge: measures agreement.
            progress: called with a description and a count, gives a context whose value is called after each step.
        """
        self._model, self._heads, self._judge, self._progress = model, model.heads(), judge, progress
        self._noise = HeadNoise(self._heads, data)
        self._costs = layer_costs(model.float_graph(), data.inputs[0], model.layers)
        self._blocks: list[tuple[str, ...]] | None = None
        self._mixes: dict[int, Mix] = {}

    @property
    def tried(self) -> tuple[Mix, ...]:
        """All mixes that were measured, the fewest float layers first."""
        return tuple(self._mixes[count] for count in sorted(self._mixes))

    def shortest(self, target: float, above: int = -1) -> int:
        """How many blocks in float reach a share of stable pixels; all if no fewer do.

        Agreement rises in the large only. So few blocks are tried first, then twice as many more each time; in between,
        bisection finds the fewest.

        Args:
            target: the share, 0..1.
            above: look for more blocks than this.
        """
        if above < 0 and self.mix(0).stable >= target:
            return 0
        low, step, last = max(above, 0), 1, len(self.blocks)
        while low + step < last and self.mix(low + step).stable < target:
            low, step = low + step, 2 * step
        high = min(low + step, last)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.mix(middle).stable >= target else (middle, high)
        return high

    @property
    def blocks(self) -> list[tuple[str, ...]]:
        """The layers of each block, the most rewarding first; last those behind the heads, whose noise is not known.

        What counts is the noise that a block brings alone. What all others leave is too near the whole to be told from
        chance: in that order, half of the network in float gave 38 dB; in this one, a third gave 44.
        """
        if self._blocks is None:
            by_name: dict[str, list[str]] = {}
            for layer in self._heads.layers:
                by_name.setdefault(block_of(layer), []).append(layer)
            found = [tuple(layers) for layers in by_name.values()]
            whole = self._noise(self._heads.operations)
            gains = {}
            with self._progress("Ranking blocks", len(found)) as advance:
                for block in found:
                    alone = self._noise([op for op in self._heads.operations if op.layer in block])
                    share = float(np.mean(alone / np.maximum(whole, 1e-20)))
                    gains[block] = share / (self._work(block) + SWITCH)
                    advance()
            tail = tuple(layer for layer in self._model.layers if layer not in self._heads.layers)
            self._blocks = [*sorted(found, key=lambda block: -gains[block]), *([tail] if tail else [])]
        return self._blocks

    def _work(self, layers: Sequence[str]) -> float:
        return self._cost(layers).multiply_adds / max(self._cost(self._model.layers).multiply_adds, 1)

    def _cost(self, layers: Sequence[str]) -> Cost:
        return sum((self._costs[layer] for layer in layers), Cost())

    def mix(self, count: int) -> Mix:
        """The first blocks in float, measured."""
        if count not in self._mixes:
            kept = tuple(layer for block in (self.blocks[:count] if count else []) for layer in block)
            content = self._model.file(_without(kept, self._model.operations))
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"mix{self._model.format.suffix}"
                path.write_bytes(content)
                stable, same = self._judge(path, f"Trying {len(kept)} layers in float")
            noise = float(self._noise(_without(kept, self._heads.operations)).mean())
            size = self.mix(0).bytes + self._cost(kept).bytes if count else len(content)
            self._mixes[count] = Mix(kept, stable, same, decibel(noise), size, self._work(kept))
        return self._mixes[count]


def _without(layers: Sequence[str], operations: Sequence[Operation]) -> list[Operation]:
    return [op for op in operations if op.layer not in layers]


def write_to_target(
    target: float, search: MixSearch, judge: Judge, path: Path, write: Callable[[Sequence[str]], ModelCard]
) -> tuple[ModelCard, Search]:
    """Write the cheapest mix that reaches a target, which is verified on the file itself.

    A file whose layers were kept float from the start differs a little from a mix of the search, which rounded them
    first; where it falls short, so much more is asked of the search. With all in float, the file alone decides.

    Args:
        target: share of stable pixels, 0..1.
        search: of the model.
        judge: that the search was made with.
        path: of the file.
        write: writes it with some layers kept float.

    Returns:
        The card in the file, and what was tried.

    Raises:
        GateShut: no mix reaches the target.
    """
    count, wanted, stable = -1, target, 0.0
    while count < 0 or count < len(search.blocks):
        count = search.shortest(wanted, count)
        mix = search.mix(count)
        card = write(mix.kept)
        stable, same = judge(path, "Checking")
        if stable >= target:
            written = replace(mix, stable=stable, agreement=same, bytes=path.stat().st_size)
            return card, Search(target, judge.count, search.tried, written)
        wanted = min(target + mix.stable - stable, 1.0)
    raise GateShut(
        f"--target-agreement {target}: not reached, nothing written; with every layer in float "
        f"{stable:.4f} of the stable pixels keep their category; ask for less"
    )
