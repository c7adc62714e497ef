"""Which model files to measure, and what their cards say."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskconver_mobile.card import KEY, ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import read_model_bytes
from maskconver_mobile.formats import FORMATS, ONNX, TFLITE, Format, format_of, is_model
from maskconver_mobile.formats.engines import OnnxEngine, open_engine
from maskconver_mobile.formats.onnx import wire as onnx_wire


@dataclass(frozen=True)
class ModelFile:
    """A model file to measure; `card` is None for a model that is not ours."""

    path: Path
    sha256: str
    size_bytes: int
    card: ModelCard | None

    @property
    def facts(self) -> dict[str, Any]:
        """The fields of `Result` that describe the file."""
        found: dict[str, Any] = {
            "model": str(self.path),
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
        }
        if self.card is not None:
            recipe = f"{self.card.level}, {self.card.target}, {self.card.recipe}"
            found |= {"input_size": self.card.input_size, "recipe": recipe}
        return found


def find_models(paths: Sequence[Path], sizes: Collection[int] = ()) -> list[ModelFile]:
    """Model files among files and folders.

    Args:
        paths: model files, or folders whose model files are taken in order of their names.
        sizes: keep only models whose card has one of these image heights; all if empty.

    Raises:
        MaskConverError: a path is missing or no model file, or no model is left, or a size has none.
    """
    models = [_model(file) for path in paths for file in _files(path)]
    if not sizes:
        return models
    heights = {model.card.input_size[0] for model in models if model.card is not None}
    lost = sorted(set(sizes) - heights)
    if lost:
        raise MaskConverError(f"no model given takes images of {lost[0]} pixels; there are {sorted(heights)}")
    return [model for model in models if model.card is not None and model.card.input_size[0] in sizes]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if is_model(file))
    if not files:
        raise MaskConverError(f"{path}: no model file in this folder; expected {', '.join(FORMATS)}")
    return files


def _model(path: Path) -> ModelFile:
    if not path.is_file():
        raise MaskConverError(f"{path}: no such model file")
    content = read_model_bytes(path)
    return ModelFile(path, hashlib.sha256(content).hexdigest(), len(content), _card(path, content))


def card_of(path: Path) -> ModelCard | None:
    """The card of a model file; None where it has none, or is damaged, of which the measurement itself tells more.

    Raises:
        MaskConverError: the card is not readable, or the file is missing.
    """
    return _card(path, read_model_bytes(path))


def _card(path: Path, content: bytes) -> ModelCard | None:
    try:
        text = _metadata(format_of(path), content, path).get(KEY)
    except (MaskConverError, ValueError, ImportError):
        return None
    return None if text is None else ModelCard.from_json(text, str(path))


def _metadata(format: Format, content: bytes, path: Path) -> Mapping[str, str | bytes]:
    if format is TFLITE:
        from maskconver_mobile.formats.tflite.file import read_metadata

        return read_metadata(content, str(path))
    if format is ONNX:
        return onnx_wire.read_metadata(content)
    engine = open_engine(format, content, 1)
    return dict(engine.session.get_modelmeta().custom_metadata_map) if isinstance(engine, OnnxEngine) else {}
