"""The verbs of the command line as functions: the same names, the same one-line errors, results as objects."""

import datetime
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from maskconver_mobile.extras import require, require_quantizer
from maskconver_mobile.files import refuse_own_input

if TYPE_CHECKING:
    from maskconver_mobile.benchmarks.host.session import HostOptions
    from maskconver_mobile.benchmarks.report.results import Report, Result
    from maskconver_mobile.card import ModelCard
    from maskconver_mobile.converters.quantization.quantize_file import Quantized
    from maskconver_mobile.converters.spec import GraphSpec
    from maskconver_mobile.evaluation.comparison import Comparison
    from maskconver_mobile.evaluation.evaluate import Evaluation
    from maskconver_mobile.formats.inspection import ModelInfo
    from maskconver_mobile.segmenter import Segmenter

PathLike: TypeAlias = str | os.PathLike[str]
Paths: TypeAlias = PathLike | Sequence[PathLike]


def convert(
    config: PathLike,
    checkpoint: PathLike,
    output: PathLike,
    *,
    spec: "GraphSpec | None" = None,
    precision: str = "float32",
    half_precision: bool | None = None,
    input_size: tuple[int, int] | None = None,
    labels: PathLike | None = None,
    drop_unlabelled: bool = False,
    experiment: str | None = None,
    weights: Literal["auto", "raw", "ema"] = "auto",
) -> "ModelCard":
    """Turn a Model Garden checkpoint into one self-describing .tflite, .onnx or .ort file.

    Args:
        config: the experiment's YAML.
        checkpoint: prefix, `.index` file or folder.
        output: file to write; it appears whole or not at all.
        spec: where the graph ends, what it takes and for whom it is written: `GraphSpec(level="panoptic")`.
        precision: of the weights, `float32` or `float16`.
        half_precision: whether the file permits processors to compute in float16; if not given, .tflite files of level
            masks and panoptic do.
        input_size: (height, width) instead of the configuration's.
        labels: JSON in the COCO panoptic format; COCO's own names for COCO's class count if not given.
        drop_unlabelled: do not compute the classes that the label set does not name.
        experiment: of Model Garden, such as `maskconver_seg_pascal`; what the YAML shows if not given.
        weights: of a trainer's checkpoint: `raw` as trained, `ema` their moving averages, `auto` the averages where all
            of the model has them.

    Returns:
        The card that stands in the file.

    Raises:
        MaskConverError: anything about the input or the output is not as it should be.
    """
    require("convert", "converting")
    if _path(output).suffix.lower() in (".onnx", ".ort"):
        require("onnx", f"{os.fspath(output)}: writing it")
    from maskconver_mobile.converters import convert as converter

    return converter.convert(
        _path(config),
        _path(checkpoint),
        _path(output),
        spec=spec,
        precision=precision,
        half_precision=half_precision,
        input_size=input_size,
        labels=None if labels is None else _path(labels),
        drop_unlabelled=drop_unlabelled,
        experiment=experiment,
        weights=weights,
    )


def quantize(
    model: PathLike,
    output: PathLike,
    recipe: str = "int8",
    *,
    calibration: PathLike | None = None,
    num_calibration: int = 64,
    keep_float: Sequence[str] = (),
    gate: PathLike | None = None,
    max_loss: float = 0.07,
    target_agreement: float | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> "Quantized":
    """Write a smaller model from a float one.

    Args:
        model: a float32 model of ours.
        output: file to write, of the same format; it appears whole or not at all.
        recipe: `float16`, `dynamic`, `int8`, `int8-balanced` or `int16x8`.
        calibration: folder of images like those of later use, for the last three; some of ten or more are held aside
            to judge the result by.
        num_calibration: on how many of them to calibrate at most.
        keep_float: layer paths or patterns such as `class_head/*` to leave as they are.
        gate: an image file or folder; with it, a model that changes too many pixels is not written.
        max_loss: share of pixels whose category may change, 0..1.
        target_agreement: share of stable pixels that keep their category, above 0 and up to 1; as few further layers
            as possible stay float for it, and the result's `search` says which. Measured on the images of the gate,
            which takes no `max_loss` then, or else on some of the calibration folder that are held aside.
        on_step: called after each step of the work, for progress.

    Returns:
        The card of what was written, its `verdict`, and `notes` on what is doubtful.

    Raises:
        MaskConverError: anything about the input or the output is not as it should be, or the gate is shut.
    """
    require_quantizer(_path(model).suffix, recipe)
    from contextlib import nullcontext

    from maskconver_mobile.converters.quantization.quantize_file import quantize_file

    refuse_own_input(_path(output), _path(model))

    return quantize_file(
        _path(model),
        _path(output),
        recipe,
        calibration=None if calibration is None else _path(calibration),
        num_calibration=num_calibration,
        keep_float=keep_float,
        gate=None if gate is None else _path(gate),
        max_loss=max_loss,
        target_agreement=target_agreement,
        progress=lambda _words, _steps: nullcontext(on_step),
    )


def evaluate(
    models: Paths,
    images: Paths,
    annotations: Paths,
    panoptic_dirs: Paths,
    *,
    limit: int | None = None,
    workers: int = 1,
    num_threads: int = 1,
    stable: bool = False,
    ignore_exif: bool = False,
    on_image: Callable[[], None] = lambda: None,
) -> "list[Evaluation]":
    """Panoptic quality of models on annotated images, and how far the others are from the first.

    Args:
        models: model files, or COCO panoptic predictions (`NAME.json`, its PNGs in the folder `NAME` beside it).
        images: folder of the images; like the next two one per set, where there are several.
        annotations: COCO panoptic JSON of the truth.
        panoptic_dirs: folder of the truth's PNGs.
        limit: only so many images, from the beginning.
        workers: processes that share the images; a script must guard its entry by `if __name__ == "__main__":`.
        num_threads: threads of each process's runtime.
        stable: agreement on stable pixels too, which takes six more runs of the first model per image.
        ignore_exif: take images as they are stored; without it, only where the annotations' sizes fit no other way.
        on_image: called after each image, for progress.

    Raises:
        MaskConverError: a model, an image or an annotation cannot be read, or they do not fit each other.
    """
    from maskconver_mobile.evaluation import evaluate as evaluator
    from maskconver_mobile.evaluation.coco import read_ground_truth

    truth = read_ground_truth(_paths(images), _paths(annotations), _paths(panoptic_dirs), limit=limit)
    return evaluator.evaluate(
        _paths(models),
        truth,
        workers=workers,
        num_threads=num_threads,
        stable=stable,
        ignore_exif=ignore_exif,
        on_image=on_image,
    )


def compare(
    a: "PathLike | Segmenter",
    b: "PathLike | Segmenter",
    images: Paths,
    *,
    stable: bool = True,
    num_threads: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> "Comparison":
    """How far model `b` strays from model `a` on images without ground truth.

    Args:
        a: the reference, a model file or a loaded one.
        b: any model of any format, level and input size.
        images: image files, folders and glob patterns.
        stable: agreement on stable pixels too, which takes six more runs of `a` per image.
        num_threads: threads of the runtime, for models that are loaded here.
        on_image: called after each image, for progress.

    Raises:
        MaskConverError: a model cannot be read, or no image can.
    """
    from maskconver_mobile.evaluation import comparison
    from maskconver_mobile.inference.batch import find_images
    from maskconver_mobile.segmenter import Segmenter

    first, second = (one if isinstance(one, Segmenter) else Segmenter(one, num_threads=num_threads) for one in (a, b))
    found = find_images([str(path) for path in _paths(images)])
    return comparison.compare(first, second, found, on_image, stable=stable)


def inspect(model: PathLike) -> "ModelInfo":
    """What a .tflite or .onnx file says of itself and holds: card, tensors, operators, multiply-adds.

    Raises:
        MaskConverError: it is no model of ours.
    """
    from maskconver_mobile.formats.inspection import inspect_model

    return inspect_model(_path(model))


def benchmark(
    models: Paths,
    options: "HostOptions | None" = None,
    *,
    progress: Callable[[str, int, int], None] = lambda _words, _done, _total: None,
) -> "Report":
    """Measure models on this machine over photographs: latency, stages, memory, loading.

    Args:
        models: model files, or folders of them; the first is the baseline of the ratios.
        options: `HostOptions(threads=(1, 4), runs=100)`, for example.
        progress: called with a few words, steps done and steps expected.

    Returns:
        A report, whose `save` writes what `benchmark compare` and `benchmark report` read.

    Raises:
        MaskConverError: a model cannot be loaded, or dies.
    """
    from maskconver_mobile.benchmarks.host.session import HostOptions, benchmark_host
    from maskconver_mobile.benchmarks.models import find_models
    from maskconver_mobile.benchmarks.report.results import Report

    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    options = options or HostOptions()
    results: list[Result] = []
    paths = _paths(models)
    machine = benchmark_host(find_models(paths), options, progress, results.append)
    settings = {"models": list(map(str, paths)), "threads": options.threads, "runs": options.runs}
    return Report(created=created, settings=settings, machines=(machine,), results=tuple(results), complete=True)


def _path(path: PathLike) -> Path:
    return Path(path).expanduser()


def _paths(paths: Paths) -> list[Path]:
    return [_path(paths)] if isinstance(paths, str | os.PathLike) else [_path(path) for path in paths]
