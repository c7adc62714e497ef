"""A float model file in, a quantized one out, if it passes its gate."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskconver_mobile.card import ModelCard, Verdict
from maskconver_mobile.converters.backends.registry import BACKENDS, backend_of
from maskconver_mobile.converters.convert import check_format, convert
from maskconver_mobile.converters.quantization.calibration import (
    NUM_JUDGED,
    CalibrationSet,
    choose_images,
    read_calibration,
    spread,
)
from maskconver_mobile.converters.quantization.recipes import (
    Recipe,
    check_calibration,
    check_quantizable,
    find_recipe,
)
from maskconver_mobile.converters.quantization.sensitivity import Sensitivity, analyse, layer_paths
from maskconver_mobile.converters.quantization.verdict import doubts, verdict_of
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.comparison import Comparison, compare
from maskconver_mobile.files import ensure_writable, replacing
from maskconver_mobile.formats import TFLITE, format_of
from maskconver_mobile.formats.tflite.file import read_tflite
from maskconver_mobile.inference.batch import find_images
from maskconver_mobile.segmenter import Segmenter

NUM_CALIBRATION = 64
MAX_LOSS = 0.07

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


@contextmanager
def silent(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Progress that nobody watches."""
    yield lambda: None


@dataclass(frozen=True)
class Quantized:
    """What was written.

    Attributes:
        card: the card in the file.
        skipped: calibration images that could not be read, with the reason.
        loss: share of the pixels whose category changed, of the gate's images; None without a gate.
        notes: why the calibration may have told too little, or the result be bad, in words.
    """

    card: ModelCard
    skipped: tuple[tuple[Path, str], ...]
    loss: float | None
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict | None:
        """How much of the answer is kept, as the card says it; None where there were no images to measure on."""
        return self.card.verdict


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
        progress: called with a description and a count, gives a context whose value is called after each step.

    Raises:
        MaskConverError: anything about the input or the output is not as it should be, or the gate is shut.
    """
    chosen = find_recipe(recipe)
    content, card = backend_of(model).read(model, chosen, keep_float)
    _check_output(output, model)
    target = backend_of(output)
    target.check_recipe(chosen, output)
    gated = find_images([str(gate)]) if gate is not None else []
    data, judged = _images(card, chosen, calibration, num_calibration, gated, progress)
    with progress("Calibrating", chosen.passes * len(data.inputs)) as advance:
        quantized, written = target.quantize(
            content, card, recipe, calibration=data.inputs, keep_float=keep_float, on_image=advance
        )
    loss = None
    with replacing(output) as temporary:
        temporary.write_bytes(target.finish(quantized, written))
        if judged.paths:
            found = _compare(model, temporary, judged.paths, progress, stable=True)
            written = replace(written, verdict=verdict_of(found, data.paths))
            loss = 1 - found.agreement if gated else None
        if len(gated) > len(judged.paths):
            loss = measure_loss(model, temporary, gated, progress)
        if loss is not None and loss > max_loss:
            raise MaskConverError(
                f"{output}: not written; recipe {recipe} changes the category of {loss:.1%} of the pixels, "
                f"more than {max_loss:.1%}; keep layers float (--keep-float, --analyse) or choose another recipe"
            )
        temporary.write_bytes(target.finish(quantized, written))
    return Quantized(written, data.skipped, loss, (*data.doubts, *doubts(written, data, judged)))


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
    backend.check_recipe(find_recipe(recipe), output)
    _choose(recipe, calibration, num_calibration)
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
    if format_of(model) is not TFLITE:
        raise MaskConverError(f"{model}: layers are analysed in .tflite files; convert the checkpoint to one")
    file = read_tflite(model)
    check_quantizable(file.card)
    data = _read(file.card, _choose(recipe, calibration, num_calibration), progress)
    with progress("Analysing", len(layer_paths(file.content, file.card.roles))) as advance:
        return analyse(file.content, file.card, recipe, data.inputs, on_layer=advance), data


def measure_loss(model: Path, other: Path, images: Sequence[Path], progress: Progress = silent) -> float:
    """Share of pixels whose category differs between two models, mean over images."""
    return 1 - _compare(model, other, images, progress).agreement


def _compare(
    model: Path, other: Path, images: Sequence[Path], progress: Progress, *, stable: bool = False
) -> Comparison:
    with progress("Checking", len(images)) as advance:
        return compare(Segmenter(model), Segmenter(other), images, advance, stable=stable)


def _images(
    card: ModelCard, recipe: Recipe, folder: Path | None, count: int, gated: Sequence[Path], progress: Progress
) -> tuple[CalibrationSet, CalibrationSet]:
    """What to calibrate on, and what to judge by: of the gate, or else held aside, or else the former."""
    chosen = _choose(recipe.name, folder, count + (0 if gated else NUM_JUDGED))
    data = _read(card, chosen, progress)
    if gated:
        return data, _read(card, spread(gated, NUM_JUDGED), progress)
    data, aside = data.hold_aside(count)
    return data, aside if aside.paths else data


def _read(card: ModelCard, images: Sequence[Path], progress: Progress) -> CalibrationSet:
    with progress("Reading images", len(images)) as advance:
        return read_calibration(images, card, advance) if images else CalibrationSet()


def _choose(recipe: str, folder: Path | None, count: int) -> list[Path]:
    chosen = find_recipe(recipe)
    check_calibration(chosen, folder)
    return choose_images(folder, count) if folder is not None and chosen.activation_bits else []


def _check_output(output: Path, model: Path) -> None:
    """Whether the quantized form of a model can be written there."""
    allowed = [suffix for suffix, backend in BACKENDS.items() if backend.source == format_of(model).suffix]
    if output.suffix.lower() not in allowed:
        raise MaskConverError(f"{output}: is no place for a quantized model; name it *{' or *'.join(allowed)}")
    ensure_writable(output)
