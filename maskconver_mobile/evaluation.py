"""Panoptic quality of models over annotated images, spread over worker processes."""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path

from maskconver_mobile.coco import GroundTruth, Label, Sample, SegmentMap, read_predictions
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.quality import PanopticCounts, PanopticQuality, count_segments, panoptic_quality
from maskconver_mobile.workers import process_map

Predictor = Callable[[Sample], SegmentMap]


def evaluate(
    models: Sequence[Path],
    truth: GroundTruth,
    *,
    workers: int = 1,
    num_threads: int = 1,
    on_image: Callable[[], None] = lambda: None,
) -> list[PanopticQuality]:
    """Panoptic quality of each model.

    Args:
        models: model files, or COCO panoptic predictions (`NAME.json`, its PNGs in the folder `NAME` beside
            it).
        truth: what to evaluate against.
        workers: processes that share the images. With more than one, a script that calls this must guard its
            entry by `if __name__ == "__main__":`, as `multiprocessing` with the spawn method asks for.
        num_threads: threads of each process's inference runtime.
        on_image: called after each image, for progress.

    Raises:
        MaskConverError: a model or an image cannot be read, a prediction does not fit the annotations, or a
            worker process died.
    """
    judge = _Judge(tuple(models), truth.labels, num_threads)
    totals = [PanopticCounts.zero(len(truth.labels)) for _ in models]
    with closing(process_map(judge, truth.samples, workers)) as results:
        for counts in results:
            totals = [total + one for total, one in zip(totals, counts, strict=True)]
            on_image()
    return [panoptic_quality(total, truth.labels) for total in totals]


def load_predictor(model: Path, num_threads: int = 1) -> Predictor:
    """What gives the segmentation of a sample: a model, or predictions made before (a `.json` file).

    Raises:
        MaskConverError: the file cannot be read as what its name says.
    """
    if model.suffix == ".json":
        return _stored(model)
    from maskconver_mobile.segmenter import Segmenter

    segmenter = Segmenter(model, num_threads=num_threads)

    def predict(sample: Sample) -> SegmentMap:
        return SegmentMap.of(segmenter.segment(sample.image), f"{model.name} on {sample.image}")

    return predict


def _stored(path: Path) -> Predictor:
    predictions = read_predictions(path)

    def predict(sample: Sample) -> SegmentMap:
        image_id = sample.truth.image_id
        if image_id not in predictions:
            raise MaskConverError(f"{path}: no prediction for image_id {image_id!r}; predict every annotated image")
        return predictions[image_id].load()

    return predict


class _Judge:
    """Counts one sample for every model; models are loaded on first use, in the process that uses them."""

    def __init__(self, models: tuple[Path, ...], labels: tuple[Label, ...], num_threads: int) -> None:
        self.models, self.labels, self.num_threads = models, labels, num_threads

    @cached_property
    def predictors(self) -> list[Predictor]:
        return [load_predictor(model, self.num_threads) for model in self.models]

    def __call__(self, sample: Sample) -> list[PanopticCounts]:
        truth = sample.truth.load()
        return [count_segments(truth, predict(sample), self.labels) for predict in self.predictors]
