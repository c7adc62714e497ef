"""Images of a folder -> input tensors, and the ranges that a graph's tensors take on them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from maskconver_mobile.batch import IMAGE_SUFFIXES
from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.flatbuffer import FLOAT32, Flatbuffer
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.image import load_image, preprocess

Tensor = NDArray[np.generic]
Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class CalibrationSet:
    """Input tensors [1, H, W, 3] of the model's own type, and the images that could not be read, with the reason."""

    inputs: tuple[Tensor, ...]
    skipped: tuple[tuple[Path, str], ...]


def choose_images(folder: Path, count: int) -> list[Path]:
    """`count` images of a folder, evenly spread over its sorted names; all where it holds fewer.

    Raises:
        MaskConverError: no such folder, or no images in it.
    """
    if not folder.is_dir():
        raise MaskConverError(f"{folder}: no such folder; calibration needs a folder of images like those of later use")
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise MaskConverError(f"{folder}: no images in this folder; calibration needs some like those of later use")
    return [images[i * len(images) // count] for i in range(count)] if count < len(images) else images


def read_calibration(
    folder: Path, count: int, card: ModelCard, on_image: Callable[[], None] = lambda: None
) -> CalibrationSet:
    """Input tensors made as the runtime makes them; unreadable images are skipped.

    Args:
        folder: of images.
        count: how many to take.
        card: of the model, which says what it takes.
        on_image: called after each image, for progress.

    Raises:
        MaskConverError: no such folder, or no readable image in it.
    """
    inputs, skipped = [], []
    for path in choose_images(folder, count):
        try:
            inputs.append(preprocess(load_image(path), card)[0])
        except MaskConverError as error:
            skipped.append((path, str(error)))
        on_image()
    if not inputs:
        raise MaskConverError(f"{folder}: none of {len(skipped)} images can be read (first: {skipped[0][1]})")
    return CalibrationSet(tuple(inputs), tuple(skipped))


def measure_ranges(content: bytes, inputs: Iterable[Tensor], on_image: Callable[[], None] = lambda: None) -> Ranges:
    """Smallest and largest value of every float tensor that an operator computes, and of the input.

    Args:
        content: a float flatbuffer.
        inputs: tensors, cast to the type that the flatbuffer takes.
        on_image: called after each.
    """
    flatbuffer = Flatbuffer(content)
    computed = {int(t) for op in flatbuffer.graph.operators for t in op.outputs}
    tensors = sorted(t for t in computed | set(flatbuffer.graph.inputs) if flatbuffer.graph.tensors[t].type == FLOAT32)
    interpreter = Interpreter(model_content=content, num_threads=2, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]
    low, high = np.full(len(tensors), np.inf), np.full(len(tensors), -np.inf)
    for value in inputs:
        interpreter.set_tensor(image["index"], value.astype(image["dtype"]))
        interpreter.invoke()
        for i, tensor in enumerate(tensors):
            values = interpreter.get_tensor(tensor)
            low[i], high[i] = min(low[i], values.min()), max(high[i], values.max())
        on_image()
    return {flatbuffer.name(t): (float(a), float(b)) for t, a, b in zip(tensors, low, high, strict=True)}
