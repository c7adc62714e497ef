"""The `TFLITE_METADATA` buffer that MediaPipe, Android Studio and the TFLite metadata tools read.

Written field by field after the published schema (`metadata_schema.fbs` 1.5.0): each table is a mapping from field
number to value.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers

from maskconver_mobile.card import ModelCard

KEY = "TFLITE_METADATA"
LABELS = "labels.txt"
IDENTIFIER = b"M001"
MIN_PARSER_VERSION = "1.0.0"

TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS = 2, 3
IMAGE_PROPERTIES = 2
NORMALIZATION_OPTIONS = 1
RGB = 1

DESCRIPTIONS = {
    "image": "RGB image, scaled with its aspect kept to fit the top left corner; the rest is the mean colour",
    "class_heatmap": "Class logits of object centres",
    "mask_embedding_map": "Mask embedding at every location",
    "pixel_embeddings": "Embedding of every pixel, to be multiplied by mask kernels",
    "classes": "Class ids of the proposals, best first",
    "scores": "Probabilities of the proposals, descending",
    "mask_logits": "Mask logits of the proposals",
    "category_map": "Class id of every pixel, 0 is void",
    "instance_map": "1 + the proposal's index for things, else 0",
}


def labels(card: ModelCard) -> str:
    """One name a line, by class id; `???` where the label set has no such id."""
    names = {category.id: category.name for category in card.categories}
    return "".join(f"{names.get(i, '???')}\n" for i in range(card.num_classes))


def build(card: ModelCard, tensors: tuple[Sequence[str], Sequence[str]], *, axis_labels: bool = False) -> bytes:
    """The metadata flatbuffer for a model with these input and output tensors.

    Labels name the values of `classes` and `category_map`, or with `axis_labels` the channels of `category_map`.
    """
    builder = flatbuffers.Builder(1024)
    inputs = [_image(builder, card) for _ in tensors[0]]
    kind = TENSOR_AXIS_LABELS if axis_labels else TENSOR_VALUE_LABELS
    labelled = {"classes": kind, "category_map": kind}
    outputs = [_tensor(builder, name, labels_of=labelled.get(name)) for name in tensors[1]]
    subgraph = _table(builder, {2: _vector(builder, inputs), 3: _vector(builder, outputs)})
    description = f"MaskConver panoptic segmentation, fusion level {card.level}"
    model = {
        0: builder.CreateString(card.name),
        1: builder.CreateString(description),
        3: _vector(builder, [subgraph]),
        7: builder.CreateString(MIN_PARSER_VERSION),
    }
    builder.Finish(_table(builder, model), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _image(builder: Any, card: ModelCard) -> int:
    properties = _table(builder, {}, int8={0: RGB})
    normalized = card.input_type == "float32"
    mean, std = (card.mean, card.std) if normalized else ((0.0,), (1.0,))
    options = _table(builder, {0: _floats(builder, mean), 1: _floats(builder, std)})
    unit = _table(builder, {1: options}, int8={0: NORMALIZATION_OPTIONS})
    content = _table(builder, {1: properties}, int8={0: IMAGE_PROPERTIES})
    return _tensor(builder, "image", {3: content, 4: _vector(builder, [unit])})


def _tensor(builder: Any, name: str, fields: Mapping[int, int] | None = None, *, labels_of: int | None = None) -> int:
    values = {0: builder.CreateString(name), 1: builder.CreateString(DESCRIPTIONS[name]), **(fields or {})}
    if labels_of is not None:
        file = {0: builder.CreateString(LABELS), 1: builder.CreateString("Class names by id")}
        values[6] = _vector(builder, [_table(builder, file, int8={2: labels_of})])
    return _table(builder, values)


def _table(builder: Any, offsets: Mapping[int, int], int8: Mapping[int, int] | None = None) -> int:
    builder.StartObject(8)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (int8 or {}).items():
        builder.PrependInt8Slot(slot, value, 0)
    return int(builder.EndObject())


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())
