"""Panoptic quality of models over annotated images, spread over worker processes."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.evaluation.bootstrap import Interval, difference_interval
from maskconver_mobile.evaluation.coco import GroundTruth, Label, Sample, SegmentMap, read_predictions
from maskconver_mobile.evaluation.comparison import Comparison, ImageComparison, agreement_measures, shared_errors
from maskconver_mobile.evaluation.quality import PanopticCounts, PanopticQuality, count_segments, panoptic_quality
from maskconver_mobile.evaluation.stability import CategoryMap, noisy_images
from maskconver_mobile.evaluation.workers import process_map
from maskconver_mobile.formats.runtimes import HEADS, Tensors
from maskconver_mobile.inference.image import load_image
from maskconver_mobile.inference.image_file import note, stored_size


class Predictor(Protocol):
    """What segments samples: a model, or predictions made before."""

    def segment(self, sample: Sample, as_stored: bool = False) -> tuple[SegmentMap, Tensors]:
        """The segmentation of a sample, and the outputs of a graph of level `heads`; of any other model none.

        `as_stored` takes its image without heed of EXIF.
        """

    def noisy(self, sample: Sample, as_stored: bool = False) -> Iterable[CategoryMap]:
        """Category maps of noisy versions of its image; predictions made before have none."""


@dataclass(frozen=True)
class Evaluation:
    """What was found of one model.

    Attributes:
        quality: panoptic quality.
        difference: how much higher its PQ is than the first model's, a 95% interval; None for the first itself.
        comparison: how far its pixels, and heads where both have them, are from the first model's; None for the first.
    """

    quality: PanopticQuality
    difference: Interval | None = None
    comparison: Comparison | None = None


def evaluate(
    models: Sequence[Path],
    truth: GroundTruth,
    *,
    workers: int = 1,
    num_threads: int = 1,
    stable: bool = False,
    ignore_exif: bool = False,
    on_image: Callable[[], None] = lambda: None,
) -> list[Evaluation]:
    """Panoptic quality of each model, and how far the others are from the first.

    Args:
        models: model files, or COCO panoptic predictions (`NAME.json`, its PNGs in the folder `NAME` beside
            it).
        truth: what to evaluate against.
        workers: processes that share the images. With more than one, a script that calls this must guard its
            entry by `if __name__ == "__main__":`, as `multiprocessing` with the spawn method asks for.
        num_threads: threads of each process's inference runtime.
        stable: measure agreement on stable pixels too, which takes six more runs of the first model per image.
        ignore_exif: take images as they are stored, as the annotations of some data sets do. Without it that is done
            where the annotations state a size that fits no other way.
        on_image: called after each image, for progress.

    Raises:
        MaskConverError: a model or an image cannot be read, a prediction does not fit the annotations, a worker
            process died, or `stable` is asked of predictions made before.
    """
    if stable and models[0].suffix == ".json":
        raise MaskConverError(f"{models[0]}: stable pixels need a model to run on noisy images; name one first")
    judge = _Judge(tuple(models), truth.labels, num_threads, stable, ignore_exif)
    judged: list[list[_Judged]] = []
    with closing(process_map(judge, truth.samples, workers)) as results:
        for one in results:
            judged.append(one)
            on_image()
    as_stored = 0 if ignore_exif else sum(one[0].as_stored for one in judged)
    if as_stored:
        note(f"{as_stored} images were not turned as their EXIF says, since the annotations state the size as stored")
    images = [sample.image for sample in truth.samples]
    first, *others = zip(*judged, strict=True)
    return [
        Evaluation(_quality(first, truth.labels)),
        *(
            Evaluation(
                _quality(other, truth.labels),
                difference_interval([one.counts for one in first], [one.counts for one in other]),
                Comparison(tuple(ImageComparison(i, one.measures) for i, one in zip(images, other, strict=True)), ()),
            )
            for other in others
        ),
    ]


def load_predictor(model: Path, num_threads: int = 1) -> Predictor:
    """What gives the segmentation of a sample: a model, or predictions made before (a `.json` file).

    Raises:
        MaskConverError: the file cannot be read as what its name says.
    """
    return _Stored(model) if model.suffix == ".json" else _Model(model, num_threads)


class _Stored:
    def __init__(self, path: Path) -> None:
        self.path, self.predictions = path, read_predictions(path)
        self.by_name = {annotation.png.stem: annotation for annotation in self.predictions.values()}

    def segment(self, sample: Sample, as_stored: bool = False) -> tuple[SegmentMap, Tensors]:
        image_id = sample.truth.image_id
        found = self.predictions.get(image_id) or self.by_name.get(sample.image.stem)
        if found is None:
            raise MaskConverError(
                f"{self.path}: no prediction for image_id {image_id!r} or {sample.image.name}; "
                "predict every annotated image"
            )
        return found.load(), {}

    def noisy(self, sample: Sample, as_stored: bool = False) -> Iterable[CategoryMap]:
        return ()


class _Model:
    def __init__(self, model: Path, num_threads: int) -> None:
        from maskconver_mobile.segmenter import Segmenter

        self.model, self.segmenter = model, Segmenter(model, num_threads=num_threads)

    def segment(self, sample: Sample, as_stored: bool = False) -> tuple[SegmentMap, Tensors]:
        image = load_image(sample.image, upright=False) if as_stored else sample.image
        result, outputs = self.segmenter.segment_with_outputs(image)
        heads = {name: outputs[name] for name in HEADS if name in outputs}
        return SegmentMap.of(result, f"{self.model.name} on {sample.image}"), heads

    def noisy(self, sample: Sample, as_stored: bool = False) -> Iterable[CategoryMap]:
        pixels = load_image(sample.image, upright=not as_stored)
        return (self.segmenter.segment(image).category_map for image in noisy_images(pixels))


@dataclass(frozen=True)
class _Judged:
    """One model on one image; `measures` are against the first model, and empty for that.

    `as_stored` says that the image was not turned as its EXIF says.
    """

    counts: PanopticCounts
    measures: dict[str, float]
    as_stored: bool


class _Judge:
    """Judges one sample for every model; models are loaded on first use, in the process that uses them."""

    def __init__(
        self, models: tuple[Path, ...], labels: tuple[Label, ...], num_threads: int, stable: bool, ignore_exif: bool
    ) -> None:
        self.models, self.labels, self.num_threads = models, labels, num_threads
        self.stable, self.ignore_exif = stable, ignore_exif

    @cached_property
    def predictors(self) -> list[Predictor]:
        return [load_predictor(model, self.num_threads) for model in self.models]

    def __call__(self, sample: Sample) -> list[_Judged]:
        truth = sample.truth.load()
        as_stored = self.ignore_exif or _annotated_as_stored(sample)
        maps, heads = zip(*(predictor.segment(sample, as_stored) for predictor in self.predictors), strict=True)
        counts = [count_segments(truth, one, self.labels) for one in maps]
        if len(maps) == 1:
            return [_Judged(counts[0], {}, as_stored)]
        noisy = list(self.predictors[0].noisy(sample, as_stored)) if self.stable else None
        categories = [one.category_map for one in maps]
        measures = [
            agreement_measures(categories[0], other, noisy) | shared_errors(heads[0], own_heads)
            for other, own_heads in zip(categories[1:], heads[1:], strict=True)
        ]
        return [_Judged(*pair, as_stored) for pair in zip(counts, [{}, *measures], strict=True)]


def _annotated_as_stored(sample: Sample) -> bool:
    """Whether the stated size is that of the file's pixels, and not that of the picture which EXIF makes of them."""
    if sample.size is None:
        return False
    try:
        width, height, turned = stored_size(sample.image)
    except MaskConverError:  # who needs the picture says so
        return False
    return turned and width != height and (width, height) == sample.size


def _quality(judged: Sequence[_Judged], labels: Sequence[Label]) -> PanopticQuality:
    total = sum((one.counts for one in judged), PanopticCounts.zero(len(labels)))
    return panoptic_quality(total, labels)
