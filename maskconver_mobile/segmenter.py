"""The one path that every caller takes: image -> tensor -> graph -> merge -> result."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from numbers import Real
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats.engines import Optimization
from maskconver_mobile.formats.runtimes import HEADS, Tensors, load
from maskconver_mobile.inference.id_map import IdMap
from maskconver_mobile.inference.image import (
    ColorOrder,
    ImageSource,
    Letterbox,
    Pixels,
    load_image,
    preprocess,
    restore,
)
from maskconver_mobile.inference.merge import MergeRule, merge_image
from maskconver_mobile.inference.tail import finish_heads
from maskconver_mobile.result import PanopticResult, build_result

DEFAULT_MODEL = Path(__file__).parent / "demo" / "maskconver_256_demo.tflite"

T = TypeVar("T")


def segment(
    image: ImageSource, model: str | os.PathLike[str] | None = None, *, color: ColorOrder = "rgb"
) -> PanopticResult:
    """Panoptic segmentation of one image.

    Args:
        image: path, bytes, file object, PIL image, or uint8 array [h, w, 3] RGB, [h, w] grey or [h, w, 4] RGBA.
        model: a .tflite or .onnx file of ours; the bundled demo model if not given. Loaded once per process, and again
            when the file has changed.
        color: "bgr" for an array of OpenCV's.

    Raises:
        MaskConverError: the image or the model cannot be read.
    """
    path = os.path.abspath(model_path(model))
    try:
        found = os.stat(path)
    except OSError:
        return Segmenter(model).segment(image)  # which says what is wrong
    return _loaded(path, (found.st_ino, found.st_size, found.st_mtime_ns)).segment(image, color=color)


def model_path(model: str | os.PathLike[str] | None) -> Path:
    """Path of a model file as it was given, with `~` as your home; the bundled demo model if none was."""
    return DEFAULT_MODEL if model is None else Path(model).expanduser()


class Segmenter:
    """A loaded model. May be used from many threads, after a fork, and pickled where the file is still there.

        with Segmenter("mine.tflite") as segmenter:
            result = segmenter("photo.jpg")
            result = segmenter(frame, color="bgr")  # a frame of OpenCV's

    Attributes:
        card: the model's card.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        num_threads: int | None = None,
        providers: Sequence[str] | None = None,
        graph_optimization: Optimization | None = None,
        half_precision: bool = True,
        object_mask_threshold: float | None = None,
        overlap_threshold: float | None = None,
        small_area_threshold: float | None = None,
    ) -> None:
        """Load a model file.

        Args:
            model: path of a .tflite, .onnx or .ort file; the bundled demo model if not given.
            num_threads: threads of the runtime; by default one per core, up to four.
            providers: execution providers in order of preference; like the next one for .onnx and .ort files only.
            graph_optimization: what ONNX Runtime does to the graph when it loads it; `all` if not given.
            half_precision: False computes in float32 even where the file permits float16 (`card.half_precision`).
            object_mask_threshold: instead of the card's. Like the next two only where the merge runs on the host,
                that is for graphs of level `heads` and `masks`.
            overlap_threshold: instead of the card's.
            small_area_threshold: instead of the card's, in pixels of the image.

        Raises:
            MaskConverError: no model of ours, an option that cannot be, or thresholds for a graph that has its own.
        """
        self._path = path = model_path(model)
        self._thresholds = _given(object_mask_threshold, overlap_threshold, small_area_threshold)
        self._options = {
            "num_threads": num_threads,
            "providers": providers if providers is None or isinstance(providers, str) else tuple(providers),
            "graph_optimization": graph_optimization,
            "half_precision": half_precision,
        }
        self._runtime = load(path, num_threads, providers, graph_optimization, half_precision)
        self.card: ModelCard = self._runtime.card
        self._rule = self._rule_with(self._thresholds)

    def __repr__(self) -> str:
        card = self.card
        height, width = card.input_size
        return f"Segmenter({str(self._path)!r}: {width}x{height} {card.input_type}, level {card.level}, {card.recipe})"

    def __enter__(self) -> "Segmenter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., "Segmenter"], tuple[object, ...]]:
        return _unpickle, (os.path.abspath(self._path), self._options | self._thresholds)

    def close(self) -> None:
        """Free the loaded graph; using it after that raises `MaskConverError`."""
        self._runtime.close()

    def warmup(self, runs: int = 1) -> None:
        """Run the graph on an empty image: the first runs of a runtime are slower than those that follow."""
        for _ in range(runs):
            self._runtime.run(np.zeros((1, *self.card.input_size, 3), self.card.input_dtype))

    @property
    def labels(self) -> dict[int, str]:
        """Names of the model's classes by category id."""
        return {category.id: category.name for category in self.card.categories}

    def segment(
        self,
        image: ImageSource,
        *,
        color: ColorOrder = "rgb",
        object_mask_threshold: float | None = None,
        overlap_threshold: float | None = None,
        small_area_threshold: float | None = None,
    ) -> PanopticResult:
        """Panoptic segmentation of one image; calling the segmenter is the same.

        Args:
            image: see `segment` for what it may be.
            color: "bgr" for an array of OpenCV's; other sources say themselves what they are.
            object_mask_threshold: of this image; like the next two instead of what the segmenter was made with.
            overlap_threshold: of this image.
            small_area_threshold: of this image, in its pixels.

        Raises:
            MaskConverError: the image cannot be read, or a threshold cannot be.
        """
        thresholds = _given(object_mask_threshold, overlap_threshold, small_area_threshold)
        rule = self._rule_with(self._thresholds | thresholds) if thresholds else self._rule
        return self._segment(image, color, rule)[0]

    __call__ = segment

    def segment_batch(self, images: Iterable[ImageSource], *, color: ColorOrder = "rgb") -> list[PanopticResult]:
        """Results of several images, one after another: a graph takes one image, with all threads of the runtime.

        Results hold their images; of more than fit in memory, segment each in a loop.
        """
        return [self.segment(image, color=color) for image in images]

    def segment_with_outputs(self, image: ImageSource) -> tuple[PanopticResult, Tensors]:
        """The segmentation of an image, and the tensors that it was made from (see `run_tensor`), in one run."""
        return self._segment(image, "rgb", self._rule)

    def _segment(self, image: ImageSource, color: ColorOrder, rule: MergeRule) -> tuple[PanopticResult, Tensors]:
        timings: dict[str, float] = {}
        pixels = _timed(timings, "decode", lambda: load_image(image, color))
        tensor, letterbox = _timed(timings, "preprocess", lambda: preprocess(pixels, self.card))
        outputs = _timed(timings, "invoke", lambda: self.run_tensor(tensor))
        return _timed(timings, "merge", lambda: self._result(outputs, letterbox, pixels, timings, rule)), outputs

    def run(self, image: ImageSource) -> Tensors:
        """The graph's own outputs for an image, by tensor name."""
        tensor, _ = preprocess(load_image(image), self.card)
        return self._runtime.run(tensor)

    def run_tensor(self, tensor: NDArray[np.generic]) -> Tensors:
        """Outputs for a prepared input tensor [1, H, W, 3] of the card's input type.

        A graph of level `heads` is finished on the host, so that `classes`, `scores` and `mask_logits` are there for
        every level but `panoptic`, which has `category_map` and `instance_map` instead of the logits.

        Raises:
            MaskConverError: wrong shape or dtype, NaN or infinity in a float tensor, or a graph that cannot be run or
                puts out classes that its card lacks.
        """
        expected = (1, *self.card.input_size, 3)
        if tensor.shape != expected or tensor.dtype != self.card.input_dtype:
            raise MaskConverError(
                f"input tensor is {tensor.dtype} {list(tensor.shape)}; "
                f"expected {self.card.input_dtype} {list(expected)}"
            )
        if tensor.dtype == np.float32 and not np.isfinite(tensor).all():
            raise MaskConverError("input tensor holds NaN or infinity; expected finite numbers")
        return self._finish(self._runtime.run(tensor))

    def category_map(self, outputs: Tensors, letterbox: Letterbox) -> NDArray[np.int32]:
        """Categories [h, w] at the image's own size from the graph's own outputs (see `run`), whoever computed them."""
        return self._merge(self._finish(outputs), letterbox, self._rule).category_map

    def _finish(self, outputs: Tensors) -> Tensors:
        """Do on the host what a graph of level `heads` leaves out."""
        tail = self._runtime.tail
        if tail is not None:
            heatmap, embeddings, pixels = (outputs[name].astype(np.float32) for name in HEADS)
            finished = finish_heads(heatmap, embeddings, pixels, tail, self.card.num_instances, self.card.heads)
            outputs = {**outputs, **dict(zip(("classes", "scores", "mask_logits"), finished, strict=True))}
        bounds = {"classes": self.card.num_classes - 1, "category_map": self.card.num_classes - 1}
        for name, most in {**bounds, "instance_map": self.card.num_instances}.items():
            if name in outputs and not 0 <= outputs[name].min() <= outputs[name].max() <= most:
                raise MaskConverError(f"{self._path}: puts out {name} beyond 0..{most}; convert it again")
        return outputs

    def _result(
        self, outputs: Tensors, letterbox: Letterbox, pixels: Pixels, timings: dict[str, float], rule: MergeRule
    ) -> PanopticResult:
        merged = self._merge(outputs, letterbox, rule)
        classes, scores = outputs["classes"][0], outputs["scores"][0]
        return build_result(merged, classes, scores, pixels, self.card.categories, timings)

    def _merge(self, outputs: Tensors, letterbox: Letterbox, rule: MergeRule) -> IdMap:
        """Category and instance of each pixel, at the image's own size."""
        if self.card.level == "panoptic":
            small = IdMap.of(outputs["category_map"][0], outputs["instance_map"][0])
            return replace(small, ids=restore(small.ids, letterbox))
        logits, scores, classes = (outputs[name][0] for name in ("mask_logits", "scores", "classes"))
        return merge_image(logits, scores, classes, letterbox, rule)

    def _rule_with(self, thresholds: dict[str, float]) -> MergeRule:
        if thresholds and self.card.level == "panoptic":
            name = next(iter(thresholds))
            raise MaskConverError(f"{self._path}: {name} is fixed in a panoptic graph; use one of level masks")
        return MergeRule.from_card(self.card, **thresholds)


def _given(
    object_mask_threshold: float | None, overlap_threshold: float | None, small_area_threshold: float | None
) -> dict[str, float]:
    """The thresholds that were given, by name.

    Raises:
        MaskConverError: one cannot be.
    """
    values = {
        "object_mask_threshold": object_mask_threshold,
        "overlap_threshold": overlap_threshold,
        "small_area_threshold": small_area_threshold,
    }
    given = {name: value for name, value in values.items() if value is not None}
    for name, value in given.items():
        most = math.inf if name == "small_area_threshold" else 1.0
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value <= most or value == math.inf:
            wanted = "a number from 0 on" if most == math.inf else "a number from 0 to 1"
            raise MaskConverError(f"{name} is {value!r}; expected {wanted}")
    return given


def _unpickle(path: str, options: dict[str, Any]) -> Segmenter:
    return Segmenter(path, **options)


@lru_cache(maxsize=4)
def _loaded(path: str, _: tuple[int, ...]) -> Segmenter:
    return Segmenter(path)


def _timed(timings: dict[str, float], stage: str, work: Callable[[], T]) -> T:
    start = perf_counter()
    result = work()
    timings[stage] = (perf_counter() - start) * 1e3
    return result
