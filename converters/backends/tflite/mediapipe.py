"""A panoptic graph as MediaPipe's ImageSegmenter takes it: one output, a score for each class and pixel.

The calculator behind that task takes the largest score as a pixel's category, and reads an output of one channel as
foreground against background. So a map of ids goes in as one-hot scores, from which the largest is the id again.
"""

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from maskconver_mobile.converters.backends.tflite.flatbuffer import Flatbuffer
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import write_atomically
from maskconver_mobile.formats.tflite.file import attach, read_tflite

MAX_OUTPUT_BYTES = 1 << 28


def write_mediapipe(model: Path, output: Path) -> None:
    """Write a panoptic .tflite file in the form that MediaPipe's ImageSegmenter takes.

    Its output `category_map` is float32 [1, h, w, C]: 1 at a pixel's class, 0 elsewhere; class 0 is void. Instances
    are lost, as that task has no place for them. The names are in the metadata.

    Args:
        model: a .tflite file of level panoptic, of target gpu or reference.
        output: file to write; it appears whole or not at all.

    Raises:
        MaskConverError: the model is of another kind, or the scores would take over 256 MiB.
    """
    file = read_tflite(model)
    card = file.card
    if card.level != "panoptic":
        raise MaskConverError(f"{model}: is of level {card.level}; MediaPipe needs --level panoptic")
    flatbuffer = Flatbuffer(file.content)
    if len(flatbuffer.model.subgraphs) > 1:
        raise MaskConverError(f"{model}: has branches, which MediaPipe refuses; convert it with --target gpu")
    signature = flatbuffer.model.signatureDefs[0]
    ids = next(entry for entry in signature.outputs if entry.name == b"category_map")
    height, width = flatbuffer.shape(ids.tensorIndex)[1:3]
    classes = card.num_classes
    size = 4 * height * width * classes
    if size > MAX_OUTPUT_BYTES:
        raise MaskConverError(
            f"{model}: scores of {classes} classes at {height}x{width} take {size / 2**20:.0f} MiB; "
            "convert it with a smaller --output-size, such as 256x256"
        )
    scores = flatbuffer.add_tensor("scores_by_class", [1, height, width, classes])
    flatbuffer.graph.operators.append(_one_hot(flatbuffer, ids.tensorIndex, scores, classes))
    ids.tensorIndex = scores
    flatbuffer.graph.outputs = np.array([scores], np.int32)
    signature.outputs = [ids]
    write_atomically(output, attach(flatbuffer.to_bytes(), card, axis_labels=True))


def _one_hot(flatbuffer: Flatbuffer, ids: int, output: int, depth: int) -> Any:
    constants = (np.int32(depth), np.float32(1), np.float32(0))
    inputs = [flatbuffer.add_tensor(f"one_hot/{i}", [], np.asarray(value)) for i, value in enumerate(constants)]
    operator = flatbuffer.operator(schema.BuiltinOperator.ONE_HOT, [ids, *inputs], output)
    operator.builtinOptionsType = schema.BuiltinOptions.OneHotOptions
    operator.builtinOptions = schema.OneHotOptionsT()
    operator.builtinOptions.axis = -1
    return operator
