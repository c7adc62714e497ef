"""The one path that every caller takes: image -> tensor -> graph -> merge -> result."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.image import ImageSource, Letterbox, load_image, preprocess, restore
from maskconver_mobile.merge import MergeRule, merge_image
from maskconver_mobile.panoptic import PanopticResult, from_maps
from maskconver_mobile.runtimes import Optimization, Tensors, load
from maskconver_mobile.tail import finish_heads

DEFAULT_MODEL = Path(__file__).parent / "demo" / "maskconver_256_demo.tflite"

T = TypeVar("T")
Maps = tuple[NDArray[np.int32], NDArray[np.int32]]


def segment(image: ImageSource, model: str | Path | None = None) -> PanopticResult:
    """Panoptic segmentation of one image.

    Args:
        image: path, bytes, PIL image, or uint8 array [h, w, 3] RGB, [h, w] grey or [h, w, 4] RGBA.
        model: a .tflite or .onnx file of ours; the bundled demo model if not given. Loaded once per process.

    Raises:
        MaskConverError: the image or the model cannot be read.
    """
    return _cached(str(DEFAULT_MODEL if model is None else model)).segment(image)


class Segmenter:
    """A loaded model. May be used from many threads.

    Attributes:
        card: the model's card.
    """

    def __init__(
        self,
        model: str | Path | None = None,
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
            MaskConverError: no model of ours, or thresholds for a graph that has its own.
        """
        path = Path(DEFAULT_MODEL if model is None else model)
        self._runtime = load(path, num_threads, providers, graph_optimization, half_precision)
        self.card: ModelCard = self._runtime.card
        overrides = {
            "object_mask_threshold": object_mask_threshold,
            "overlap_threshold": overlap_threshold,
            "small_area_threshold": small_area_threshold,
        }
        given = {name: value for name, value in overrides.items() if value is not None}
        if given and self.card.level == "panoptic":
            raise MaskConverError(f"{path}: {next(iter(given))} is fixed in a panoptic graph; use one of level masks")
        self._rule = MergeRule.from_card(self.card, **given)

    def segment(self, image: ImageSource) -> PanopticResult:
        """Panoptic segmentation of one image; see `segment` for what an image may be."""
        timings: dict[str, float] = {}
        pixels = _timed(timings, "decode", lambda: load_image(image))
        tensor, letterbox = _timed(timings, "preprocess", lambda: preprocess(pixels, self.card))
        outputs = _timed(timings, "invoke", lambda: self.run_tensor(tensor))
        category_map, instance_map = _timed(timings, "merge", lambda: self._maps(outputs, letterbox))
        return from_maps(
            category_map,
            instance_map,
            outputs["classes"][0],
            outputs["scores"][0],
            pixels,
            self.card.categories,
            timings,
        )

    def run(self, image: ImageSource) -> Tensors:
        """The graph's own outputs for an image, by tensor name."""
        tensor, _ = preprocess(load_image(image), self.card)
        return self._runtime.run(tensor)

    def run_tensor(self, tensor: NDArray[np.generic]) -> Tensors:
        """Outputs for a prepared input tensor [1, H, W, 3] of the card's input type.

        A graph of level `heads` is finished on the host, so that `classes`, `scores` and `mask_logits` are there for
        every level but `panoptic`, which has `category_map` and `instance_map` instead of the logits.

        Raises:
            MaskConverError: wrong shape or dtype, or NaN or infinity in a float tensor.
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
        return self._maps(self._finish(outputs), letterbox)[0]

    def _finish(self, outputs: Tensors) -> Tensors:
        """Do on the host what a graph of level `heads` leaves out."""
        tail = self._runtime.tail
        if tail is not None:
            names = ("class_heatmap", "mask_embedding_map", "pixel_embeddings")
            heatmap, embeddings, pixels = (outputs[name].astype(np.float32) for name in names)
            finished = finish_heads(heatmap, embeddings, pixels, tail, self.card.num_instances)
            return {**outputs, **dict(zip(("classes", "scores", "mask_logits"), finished, strict=True))}
        return outputs

    def _maps(self, outputs: Tensors, letterbox: Letterbox) -> Maps:
        """Category and instance map at the image's own size."""
        if self.card.level == "panoptic":
            return restore(outputs["category_map"][0], letterbox), restore(outputs["instance_map"][0], letterbox)
        logits, scores, classes = (outputs[name][0] for name in ("mask_logits", "scores", "classes"))
        return merge_image(logits, scores, classes, letterbox, self._rule)


@lru_cache(maxsize=4)
def _cached(model: str) -> Segmenter:
    return Segmenter(model)


def _timed(timings: dict[str, float], stage: str, work: Callable[[], T]) -> T:
    start = perf_counter()
    result = work()
    timings[stage] = (perf_counter() - start) * 1e3
    return result
