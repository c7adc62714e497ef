"""A float model file in, a quantized one out, if it passes its gate."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskconver_mobile.card import ModelCard, Verdict
from maskconver_mobile.converters.backends.registry import BACKENDS, backend_of
from maskconver_mobile.converters.convert import check_format, convert
from maskconver_mobile.converters.quantization.calibration import (
    CalibrationSet,
    choose_images,
    read_calibration,
    spread,
)
from maskconver_mobile.converters.quantization.recipes import Recipe, check_calibration, find_recipe
from maskconver_mobile.converters.quantization.sensitivity import Sensitivity, analyse, check_analysable
from maskconver_mobile.converters.quantization.static_model import StaticModel
from maskconver_mobile.converters.quantization.target import (
    Judge,
    MixSearch,
    Progress,
    Search,
    check_target,
    silent,
    write_to_target,
)
from maskconver_mobile.converters.quantization.verdict import doubts, verdict_of
from maskconver_mobile.errors import GateShut, MaskConverError
from maskconver_mobile.evaluation.comparison import Comparison, compare
from maskconver_mobile.files import ensure_writable, replacing
from maskconver_mobile.formats import format_of
from maskconver_mobile.inference.batch import find_images
from maskconver_mobile.segmenter import Segmenter

NUM_CALIBRATION = 64
NUM_JUDGED = 32
"""On so many images it is measured how much of the answer is kept."""
FEWEST = 16
"""Calibration images from which some can be held aside for a search."""
MAX_LOSS = 0.07


@dataclass(frozen=True)
class Quantized:
    """What was written.

    Attributes:
        card: the card in the file.
        skipped: images that could not be read, with the reason.
        loss: share of the pixels whose category changed, of the gate's images; None without a gate, and after a search.
        notes: why the calibration may have told too little, or the result be bad, in words.
        search: what was tried for a target agreement; None without one.
    """

    card: ModelCard
    skipped: tuple[tuple[Path, str], ...]
    loss: float | None
    notes: tuple[str, ...] = ()
    search: Search | None = None

    @property
    def verdict(self) -> Verdict | None:
        """How much of the answer is kept, as the card says it; None where there were no images to measure on."""
        return self.card.verdict


@dataclass(frozen=True)
class Choice:
    """Images by their files.

    Attributes:
        calibration: to calibrate on.
        others: that may be held aside.
        gated: of the gate.
    """

    calibration: list[Path]
    others: list[Path]
    gated: list[Path]

    def read(self, card: ModelCard, progress: Progress) -> tuple[CalibrationSet, CalibrationSet]:
        """What to calibrate on, and what to judge by: of the gate, or else held aside, or else the former."""
        if self.gated:
            return _read(card, self.calibration, progress), _read(card, spread(self.gated, NUM_JUDGED), progress)
        data, aside = _read(card, sorted(self.calibration + self.others), progress).hold_aside(self.calibration)
        return data, aside if aside.paths else data


def quantize_file(
    model: Path,
    output: Path,
    recipe: str,
    *,
    calibration: Path | None = None,
    num_calibration: int = NUM_CALIBRATION,
    keep_float: Sequence[str] = (),
    gate: Path | None = None,
    max_loss: float = MAX_LOSS,
    target_agreement: float | None = None,
    progress: Progress = silent,
) -> Quantized:
    """Write a quantized .tflite, .onnx or .ort file; it appears whole or not at all.

    Args:
        model: a float32 model of ours.
        output: file to write, of the same format; .ort from .onnx too.
        recipe: a name of `quantize.RECIPES`.
        calibration: folder of images, for recipes with integer activations; some are held aside (`hold_aside`).
        num_calibration: on how many of them to calibrate at most.
        keep_float: layer paths or patterns to leave as they are.
        gate: an image file or a folder of images; with it, a model that changes too many pixels is not written.
        max_loss: share of pixels whose category may change, 0..1.
        target_agreement: share of stable pixels that keep their category, above 0 and up to 1; as few further layers
            as possible stay float for it. Measured on the images of the gate, which takes no `max_loss` then, or else
            on some of the calibration folder that are held aside.
        progress: called with a description and a count, gives a context whose value is called after each step.

    Raises:
        MaskConverError: anything about input or output is not as it should be; `GateShut`: the result is not good.
    """
    chosen = find_recipe(recipe)
    keep_float = (keep_float,) if isinstance(keep_float, str) else keep_float
    if not 0 <= max_loss <= 1:
        raise MaskConverError(f"--max-loss {max_loss}: give a share of pixels from 0 to 1, such as {MAX_LOSS}")
    if num_calibration < 1:
        raise MaskConverError(f"--num-calibration {num_calibration}: give a number of images from 1 on")
    content, card = backend_of(model).read(model, chosen, keep_float)
    _check_output(output, model)
    target = backend_of(output)
    target.check_recipe(chosen, output)
    choice = _choose(chosen, calibration, num_calibration, gate, target_agreement)
    data, judged = choice.read(card, progress)
    quantized = b""

    with replacing(output) as temporary:

        def write(kept: Sequence[str] = ()) -> ModelCard:
            nonlocal quantized
            with progress("Calibrating", chosen.passes * len(data.inputs)) as advance:
                quantized, written = target.quantize(
                    content, card, recipe, calibration=data.inputs, keep_float=(*keep_float, *kept), on_image=advance
                )
            temporary.write_bytes(target.finish(quantized, written))
            return written

        search = None
        if target_agreement is None:
            written = write()
        else:
            if not choice.gated:
                _check_enough(calibration, len(data.hashes | judged.hashes))
            judge = Judge(model, judged.paths, progress)
            mixes = MixSearch(
                _make_ready(model, content, card, chosen, data, keep_float, progress), data, judge, progress
            )
            written, search = write_to_target(target_agreement, mixes, judge, temporary, write)
        loss, unread = None, data.skipped + judged.skipped
        if judged.paths:
            found = _compare(model, temporary, judged.paths, progress, stable=True)
            written = replace(written, verdict=verdict_of(found, held_aside=not data.overlaps(judged)))
            loss = 1 - found.agreement if choice.gated and search is None else None
        if len(choice.gated) > NUM_JUDGED and search is None:
            whole = _compare(model, temporary, choice.gated, progress)
            loss, unread = 1 - whole.agreement, unread + whole.skipped
        if loss is not None and loss > max_loss:
            ways = "--keep-float, --target-agreement, --analyse" if chosen.activation_bits else "--keep-float"
            raise GateShut(
                f"{output}: not written; recipe {recipe} changes the category of {loss:.2%} of the pixels, more than "
                f"{max_loss:.2%}; keep layers float ({ways}) or choose another recipe"
            )
        if written.verdict is not None:
            temporary.write_bytes(target.finish(quantized, written))
    skipped = tuple(dict.fromkeys(unread))
    notes = (*data.doubts, *doubts(written, data, judged, searched=search is not None))
    return Quantized(written, skipped, loss, notes, search)


def convert_quantized(
    recipe: str,
    config: Path,
    checkpoint: Path,
    output: Path,
    *,
    format: str | None = None,
    precision: str = "float32",
    calibration: Path | None = None,
    num_calibration: int = NUM_CALIBRATION,
    keep_float: Sequence[str] = (),
    gate: Path | None = None,
    max_loss: float = MAX_LOSS,
    target_agreement: float | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Quantized:
    """Convert a checkpoint and quantize the result; `options` are further ones of `convert`.

    Raises:
        MaskConverError: anything about the input or the output is not as it should be, or the gate is shut.
    """
    if precision != "float32":
        raise MaskConverError(f"precision {precision} and recipe {recipe} are two choices; leave the precision away")
    check_format(output, format)
    ensure_writable(output)
    backend = backend_of(output)
    chosen = find_recipe(recipe)
    backend.check_recipe(chosen, output)
    _choose(chosen, calibration, num_calibration, gate, target_agreement)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / output.with_suffix(backend.source).name
        with progress("Converting", 1) as advance:
            convert(config, checkpoint, plain, **options)
            advance()
        return quantize_file(
            plain,
            output,
            recipe,
            calibration=calibration,
            num_calibration=num_calibration,
            keep_float=keep_float,
            gate=gate,
            max_loss=max_loss,
            target_agreement=target_agreement,
            progress=progress,
        )


def analyse_file(
    model: Path,
    recipe: str,
    *,
    calibration: Path | None = None,
    num_calibration: int = NUM_CALIBRATION,
    progress: Progress = silent,
) -> tuple[Sensitivity, CalibrationSet]:
    """The sensitivity report of a float32 model of ours, and the images that it is based on."""
    chosen = find_recipe(recipe)
    check_analysable(chosen)
    backend = backend_of(model)
    backend.check_recipe(chosen, model)
    content, card = backend.read(model, chosen, ())
    data = _read(card, _choose(chosen, calibration, num_calibration).calibration, progress)
    heads = _make_ready(model, content, card, chosen, data, (), progress).heads()
    with progress("Analysing", len(heads.layers)) as advance:
        return analyse(heads, data, advance), data


def _compare(
    model: Path, other: Path, images: Sequence[Path], progress: Progress, *, stable: bool = False
) -> Comparison:
    with progress("Checking", len(images)) as advance:
        return compare(Segmenter(model), Segmenter(other), images, advance, stable=stable)


def _make_ready(
    model: Path,
    content: bytes,
    card: ModelCard,
    recipe: Recipe,
    data: CalibrationSet,
    keep_float: Sequence[str],
    progress: Progress,
) -> StaticModel:
    with progress("Calibrating", recipe.passes * len(data.inputs)) as advance:
        return backend_of(model).ready(
            content, card, recipe, calibration=data.inputs, keep_float=keep_float, on_image=advance
        )


def _read(card: ModelCard, images: Sequence[Path], progress: Progress) -> CalibrationSet:
    with progress("Reading images", len(images)) as advance:
        return read_calibration(images, card, advance) if images else CalibrationSet()


def _choose(
    recipe: Recipe, folder: Path | None, count: int, gate: Path | None = None, target: float | None = None
) -> Choice:
    """Images to calibrate on, and those that decide whether the result is good enough."""
    if target is not None:
        check_target(target, recipe)
    gated = find_images([str(gate)]) if gate is not None else []
    check_calibration(recipe, folder)
    if folder is None or not recipe.activation_bits:
        return Choice([], [], gated)
    images = choose_images(folder)
    if target is not None and not gated:
        _check_enough(folder, len(images))
    taken = spread(images, count)
    return Choice(taken, spread(sorted(set(images) - set(taken)), NUM_JUDGED), gated)


def _check_enough(folder: Path | None, count: int) -> None:
    """Whether some of so many calibration images can be held aside for a search."""
    if count < FEWEST:
        raise MaskConverError(
            f"{folder}: {count} different images are too few to hold some aside for --target-agreement; "
            f"give {FEWEST} or more, or others with --gate"
        )


def _check_output(output: Path, model: Path) -> None:
    """Whether the quantized form of a model can be written there."""
    allowed = [suffix for suffix, backend in BACKENDS.items() if backend.source == format_of(model).suffix]
    if output.suffix.lower() not in allowed:
        raise MaskConverError(f"{output}: is no place for a quantized model; name it *{' or *'.join(allowed)}")
    ensure_writable(output)
