"""Which model files to measure, and what their cards say."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskconver_mobile.benchmarks.worker import RUNTIMES
from maskconver_mobile.card import KEY, ModelCard
from maskconver_mobile.errors import MaskConverError


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
    files = sorted(file for file in path.iterdir() if file.suffix in RUNTIMES)
    if not files:
        raise MaskConverError(f"{path}: no model file in this folder; expected {', '.join(RUNTIMES)}")
    return files


def _model(path: Path) -> ModelFile:
    if not path.is_file():
        raise MaskConverError(f"{path}: no such model file")
    if path.suffix not in RUNTIMES:
        raise MaskConverError(f"{path}: expected a model file ending in {', '.join(RUNTIMES)}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return ModelFile(path, digest, len(content), card_of(path))


def card_of(path: Path) -> ModelCard | None:
    """The card of a model file; None where it has none, or is damaged, of which the measurement itself tells more.

    Raises:
        MaskConverError: the card is not readable, or the file is missing.
    """
    text: str | bytes | None
    try:
        if path.suffix == ".tflite":
            from maskconver_mobile.tflite_file import read_metadata

            text = read_metadata(path.read_bytes(), str(path)).get(KEY)
        else:
            from maskconver_mobile.benchmarks.worker import OnnxRunner

            text = OnnxRunner(str(path), 1).session.get_modelmeta().custom_metadata_map.get(KEY)
    except FileNotFoundError as error:
        raise MaskConverError(f"{path}: no such model file") from error
    except Exception:  # the runtimes' exceptions share no base class
        return None
    return None if text is None else ModelCard.from_json(text, str(path))
