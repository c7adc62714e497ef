"""Checkpoint and YAML in, one model file out."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from maskconver_mobile.card import Category, ModelCard
from maskconver_mobile.converters.backends.registry import backend_of
from maskconver_mobile.converters.checkpoint import Averages, read_checkpoint
from maskconver_mobile.converters.compiler import compile_graph
from maskconver_mobile.converters.config import ModelConfig, read_config
from maskconver_mobile.converters.describe import make_card
from maskconver_mobile.converters.quantization.policy import joined_layers, layer_roles
from maskconver_mobile.converters.spec import GraphSpec, Precision
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import ensure_writable, write_atomically
from maskconver_mobile.formats import format_of
from maskconver_mobile.labels import coco_panoptic, generic_categories, read_categories, semantic_categories

SIZES = range(32, 4097)


def convert(
    config: str | Path,
    checkpoint: str | Path,
    output: str | Path,
    *,
    experiment: str | None = None,
    spec: GraphSpec | None = None,
    format: str | None = None,
    precision: str = "float32",
    input_size: tuple[int, int] | None = None,
    labels: str | Path | None = None,
    drop_unlabelled: bool = False,
    weights: Averages = "auto",
    half_precision: bool | None = None,
) -> ModelCard:
    """Write one self-describing .tflite, .onnx or .ort file.

    Args:
        config: Model Garden YAML.
        checkpoint: prefix, `.index` file or folder.
        output: file to write; it appears whole or not at all.
        experiment: of Model Garden, one of `config.EXPERIMENTS`; what the YAML shows if not given. The card's `source`
            says which it was, and why.
        spec: fusion level, target, input type and, for `panoptic`, output size (height, width).
        format: of the file; what the output's suffix says if not given.
        precision: of the weights, `float32` or `float16`.
        input_size: (height, width) instead of the configuration's.
        labels: JSON in the COCO panoptic categories format; if not given, the names of the data set that has this many
            classes: COCO, or of semantic models PASCAL VOC and Cityscapes.
        drop_unlabelled: do not compute the classes that the label set does not name. Exact for the others, whose
            proposals no longer compete with those.
        weights: of a trainer's checkpoint with moving averages: `raw`, `ema`, or `auto`, the averages where all of the
            model has them. The card's `source` says which.
        half_precision: whether the file permits processors to compute in float16; the graph is written so that it may.
            If not given, .tflite files of single-scale networks and level masks or panoptic do. Other formats and
            target reference cannot.

    Returns:
        The card that stands in the file.

    Raises:
        MaskConverError: anything about the input or the output is not as it should be.
    """
    output = Path(output)
    check_format(output, format)
    ensure_writable(output)
    spec = spec or GraphSpec()
    settings = read_config(config, experiment)
    if input_size is not None:
        settings = settings.with_input_size(input_size)
    for name, size in (("input size", settings.input_size), ("output size", spec.output_size)):
        if size is not None and not all(side in SIZES for side in size):
            raise MaskConverError(
                f"{name} {size[0]}x{size[1]}: each side must be from {SIZES[0]} to {SIZES[-1]} pixels"
            )
    if precision not in get_args(Precision):
        raise MaskConverError(f"unknown precision {precision!r}; known ones: {', '.join(get_args(Precision))}")
    categories = _categories(settings, labels)
    if labels is not None:
        spec = replace(spec, thing_ids=tuple(c.id for c in categories if c.is_thing))
    half_precision = _half_precision(half_precision, settings, spec, output)
    if drop_unlabelled:
        spec = replace(spec, class_ids=tuple(sorted(c.id for c in categories)))

    backend = backend_of(output)
    with _quiet():
        read, stored = read_checkpoint(checkpoint, weights), cast(Precision, precision)
        graph, passes = compile_graph(settings, read, spec, backend.pipeline)
        roles, joined = layer_roles(graph), joined_layers(graph)
        card = make_card(
            settings, read, spec, precision, output.stem, categories, half_precision, passes, roles, joined
        )
        card = backend.sign(card)
        content = backend.write(graph, spec, stored, card, settings, read)
    write_atomically(output, content)
    return card


def check_format(output: Path, format: str | None) -> None:
    """Refuse a file name of no known format, or of another than the one that is asked for.

    Raises:
        MaskConverError: the name does not fit.
    """
    if format not in (None, format_of(output).suffix[1:]):
        raise MaskConverError(f"{output}: a file of format {format} ends in .{format}; name it so")


def _half_precision(wanted: bool | None, config: ModelConfig, spec: GraphSpec, output: Path) -> bool:
    """Whether the file permits float16 arithmetic; by itself where that was measured, on mobile backbones."""
    if wanted and not backend_of(output).half_precision:
        raise MaskConverError(f"{output}: only .tflite files can permit half precision; leave it away")
    if wanted and spec.target == "reference":
        raise MaskConverError(f"{output}: the reference graph does not hold in half precision; use target cpu or gpu")
    by_itself = backend_of(output).half_precision and spec.target != "reference" and spec.level != "heads"
    by_itself = by_itself and not config.multi_scale
    return by_itself if wanted is None else wanted


def _categories(config: ModelConfig, labels: str | Path | None) -> tuple[Category, ...]:
    """The label set that fits the configuration's class count."""
    if labels is not None:
        categories = read_categories(labels)
        first = 0 if config.semantic else 1
        beyond = [c.id for c in categories if not first <= c.id < config.num_classes]
        if beyond:
            raise MaskConverError(f"{labels}: category id {beyond[0]} is outside {first}..{config.num_classes - 1}")
        return tuple(replace(c, is_thing=False) for c in categories) if config.semantic else categories
    if config.semantic:
        return semantic_categories(config.num_classes)
    if (config.num_classes, config.num_thing_classes) == (201, 91):
        return coco_panoptic()
    return generic_categories(config.num_classes, config.num_thing_classes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converter's logging off terminal and notebook; what is native shows if the conversion fails."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            with _errors_only():
                yield
        except MaskConverError:
            raise
        except Exception:
            log.seek(0)
            os.write(saved, log.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@contextmanager
def _errors_only() -> Iterator[None]:
    """Let TensorFlow's own logger, which writes on notebooks' standard output, tell of errors alone."""
    import tensorflow as tf

    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
