"""What an .onnx file holds besides its graph: the card and the weights behind the heads, in its metadata."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskconver_mobile.card import KEY, ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import read_model_bytes
from maskconver_mobile.formats.onnx.wire import has_external_weights
from maskconver_mobile.inference.tail import TAIL_KEY

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class OnnxFile:
    """A parsed model file.

    Attributes:
        model: the model as the onnx package reads it.
        card: the model card.
        content: the file's bytes.
    """

    model: "onnx.ModelProto"
    card: ModelCard
    content: bytes


def read_onnx(path: Path) -> OnnxFile:
    """Read a model of ours; needs the onnx package, which running a model does not.

    Raises:
        MaskConverError: onnx is not installed, or the file is missing, damaged, in several parts or without a card.
    """
    return parse_onnx(read_model_bytes(path), path)


def parse_onnx(content: bytes, path: Path) -> OnnxFile:
    """As `read_onnx`, of the file's bytes."""
    try:
        import onnx
    except ImportError as error:
        raise MaskConverError(
            f"{path}: reading it needs onnx; install it with: pip install 'maskconver-mobile[onnx]'"
        ) from error
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError, or whatever its backend raises
        raise MaskConverError(f"{path}: is no ONNX model, or is truncated or overwritten") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    card = read_card(metadata, str(path))
    if has_external_weights(content):
        raise MaskConverError(f"{path}: keeps weights in another file; convert the checkpoint again, into one file")
    return OnnxFile(model, card, content)


def read_card(metadata: Mapping[str, str], file: str) -> ModelCard:
    """The card among a model's metadata; `file` names its origin in errors.

    Raises:
        MaskConverError: there is none, or it cannot be read.
    """
    if KEY not in metadata:
        raise MaskConverError(f"{file}: carries no model card; convert the checkpoint with `maskconver-mobile convert`")
    return ModelCard.from_json(metadata[KEY], file)


def read_tail(metadata: Mapping[str, str], file: str) -> bytes | None:
    """The weights behind the heads, if they are there.

    Raises:
        MaskConverError: they are damaged.
    """
    try:
        return base64.b64decode(metadata[TAIL_KEY], validate=True) if TAIL_KEY in metadata else None
    except binascii.Error as error:
        raise MaskConverError(f"{file}: the weights behind its heads are damaged; convert it again") from error


def attach(model: Any, card: ModelCard, tail: bytes | None = None) -> bytes:
    """Put the card, and for graphs of level `heads` the weights behind them, into a model; returns the file."""
    entries = {KEY: card.to_json()}
    if tail is not None:
        entries[TAIL_KEY] = base64.b64encode(tail).decode()
    del model.metadata_props[:]
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString(deterministic=True)
    return content
