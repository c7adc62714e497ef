"""Models of ours in the runtime of their format: the card, the mask head's weights, and a graph that fits both."""

import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.files import read_model_bytes
from maskconver_mobile.formats import TFLITE, Format, format_of, missing
from maskconver_mobile.formats.engines import Engine, OnnxEngine, Optimization, Specs, open_engine
from maskconver_mobile.inference.tail import TAIL_KEY, Tail

Tensors = dict[str, NDArray[np.generic]]
Shape: TypeAlias = tuple[int | None, ...]

MAX_THREADS = 256
HEADS = ("class_heatmap", "mask_embedding_map", "pixel_embeddings")
INTEGERS = frozenset({"classes", "category_map", "instance_map"})


class Runtime:
    """A loaded model of ours.

    Attributes:
        card: its card.
        tail: the weights behind the heads; there for graphs of level `heads` alone.
    """

    def __init__(
        self, path: Path, card: ModelCard, tail: Tail | None, engine: Engine, reopen: Callable[[], Engine]
    ) -> None:
        self.card, self.tail = card, tail
        self._path, self._lock = path, threading.Lock()
        self._engine: Engine | None = engine
        self._reopen: Callable[[], Engine] | None = reopen
        _RUNTIMES.add(self)

    def close(self) -> None:
        """Free the memory of the loaded graph once it is not running."""
        with self._lock:
            self._engine = self._reopen = None

    def _open(self) -> Engine:
        with self._lock:
            if self._engine is None:
                if self._reopen is None:
                    raise MaskConverError(f"{self._path}: the model was closed; load it again")
                self._engine = self._reopen()
            return self._engine

    def _after_fork(self) -> None:
        """A child has neither the threads of the engine nor those that may have held the lock."""
        _LEFT_BEHIND.append(self._engine)  # freeing it would wait for its threads
        self._engine, self._lock = None, threading.Lock()

    def run(self, image: NDArray[np.generic]) -> Tensors:
        """Run the graph on the input tensor [1, H, W, 3]; outputs by name. Safe to call from several threads.

        Raises:
            MaskConverError: the runtime fails.
        """
        engine = self._open()
        try:
            if isinstance(engine, OnnxEngine):
                return dict(engine.run({"image": image}))
            with self._lock:
                engine.feed({"image": image})
                engine.invoke()
                return dict(engine.results())
        except Exception as error:  # the runtimes' exceptions share no base class
            reason = " ".join(str(error).split())[:300]
            raise MaskConverError(f"{self._path}: cannot be run ({reason}); convert it again") from error


_RUNTIMES: "weakref.WeakSet[Runtime]" = weakref.WeakSet()
_LEFT_BEHIND: list[object] = []


def _renew_all() -> None:
    for runtime in list(_RUNTIMES):
        runtime._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)


def load(
    path: Path,
    num_threads: int | None = None,
    providers: Sequence[str] | None = None,
    graph_optimization: Optimization | None = None,
    half_precision: bool = True,
) -> Runtime:
    """Open a model file in the runtime that its suffix names.

    Args:
        path: a .tflite, .onnx or .ort file.
        num_threads: see `default_threads` if not given.
        providers: of ONNX Runtime, in order of preference.
        graph_optimization: what ONNX Runtime does to the graph when it loads it.
        half_precision: whether a .tflite file that permits float16 arithmetic may use it.

    Raises:
        MaskConverError: the file is no model of ours, its runtime is not installed, or an option does not fit it.
    """
    format = format_of(path)
    options = _options(path, format, num_threads, providers, graph_optimization)
    threads = default_threads() if num_threads is None else num_threads
    content = read_model_bytes(path)
    try:
        if format is TFLITE:
            from maskconver_mobile.formats.tflite.file import parse_tflite, without_half_precision

            file = parse_tflite(content, path)
            card, weights = file.card, file.metadata.get(TAIL_KEY)
            content = content if half_precision else without_half_precision(content)
            reopen = partial(open_engine, format, content, threads)
            engine = reopen()
        else:
            from maskconver_mobile.formats.onnx.file import read_card, read_tail

            reopen = partial(open_engine, format, content, threads, **options)
            engine = reopen()
            metadata = engine.session.get_modelmeta().custom_metadata_map if isinstance(engine, OnnxEngine) else {}
            card, weights = read_card(metadata, str(path)), read_tail(metadata, str(path))
    except ImportError as error:
        raise missing(path, format) from error
    except ValueError as error:
        raise MaskConverError(f"{path}: {format.package} cannot load it: {error}") from error
    tail = _tail(path, card, weights)
    _check_tensors(path, card, engine, tail)
    return Runtime(path, card, tail, engine, reopen)


def default_threads() -> int:
    """As many as there are usable cores, up to four: phones have four fast cores at most, and the network is small."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(4, usable or 1)


def _options(
    path: Path,
    format: Format,
    num_threads: int | None,
    providers: Sequence[str] | None,
    graph_optimization: Optimization | None,
) -> dict[str, Any]:
    """The options that the engine takes, checked."""
    if num_threads is not None and (type(num_threads) is not int or not 1 <= num_threads <= MAX_THREADS):
        raise MaskConverError(f"num_threads is {num_threads!r}; expected a whole number from 1 to {MAX_THREADS}")
    given = {"providers": providers, "optimization": graph_optimization}
    if format is TFLITE and any(value is not None for value in given.values()):
        raise MaskConverError(f"{path}: providers and graph optimization are for .onnx and .ort files; leave them out")
    if isinstance(providers, str) or (providers is not None and not all(isinstance(p, str) for p in providers)):
        raise MaskConverError(f"providers is {providers!r}; expected a list of names such as ['CPUExecutionProvider']")
    if graph_optimization is not None and graph_optimization not in get_args(Optimization):
        wanted = ", ".join(get_args(Optimization))
        raise MaskConverError(f"graph_optimization is {graph_optimization!r}; expected one of {wanted}")
    return {name: value for name, value in given.items() if value}


def _tail(path: Path, card: ModelCard, content: bytes | None) -> Tail | None:
    if (content is None) != (card.level != "heads"):
        raise MaskConverError(f"{path}: its card says level {card.level}, its contents do not; convert it again")
    return None if content is None else Tail.from_bytes(content, str(path), card.num_classes)


def _check_tensors(path: Path, card: ModelCard, engine: Engine, tail: Tail | None) -> None:
    """Compare the graph's inputs and outputs with what the card says.

    Raises:
        MaskConverError: they differ.
    """
    image = {"image": ((1, *card.input_size, 3), np.dtype(card.input_dtype))}
    if engine.inputs != image:
        raise MaskConverError(f"{path}: takes {_shown(engine.inputs)}, its card says {_shown(image)}; convert it again")
    wanted = _outputs(card, tail)
    if engine.outputs.keys() != wanted.keys():
        names = " and ".join(str(sorted(keys)) for keys in (engine.outputs, wanted))
        raise MaskConverError(f"{path}: its outputs and those that its card says differ: {names}; convert it again")
    for name, (shape, dtype) in engine.outputs.items():
        kind = np.integer if name in INTEGERS else np.floating
        if not _fits(shape, wanted[name]) or not np.issubdtype(dtype, kind):
            says = ", ".join("any" if side is None else str(side) for side in wanted[name])
            raise MaskConverError(
                f"{path}: its {name} is {dtype} {list(shape)}, its card says [{says}]; convert it again"
            )
    if tail is not None:
        heatmap, embeddings, _ = (engine.outputs[name][0] for name in HEADS)
        places = sum(height * width for height, width in card.heads.levels)
        other = places not in (0, heatmap[1] * heatmap[2])
        if heatmap[:3] != embeddings[:3] or other or card.num_instances > int(np.prod(heatmap)):
            raise MaskConverError(f"{path}: its heads do not fit each other, or its card; convert it again")


def _outputs(card: ModelCard, tail: Tail | None) -> dict[str, Shape]:
    """Shapes by name, with None for what the card does not say."""
    proposals = (1, card.num_instances)
    if tail is not None:
        size = tail.class_embeddings.shape[1]
        return dict(zip(HEADS, ((1, None, None, card.num_classes), *[(1, None, None, size)] * 2), strict=True))
    if card.level == "masks":
        return {"classes": proposals, "scores": proposals, "mask_logits": (1, None, None, card.num_instances)}
    maps = (1, *card.output_size)
    return {"classes": proposals, "scores": proposals, "category_map": maps, "instance_map": maps}


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(a > 0 and b in (None, a) for a, b in zip(shape, wanted, strict=True))


def _shown(specs: Specs | Mapping[str, tuple[tuple[int, ...], Any]]) -> str:
    return ", ".join(f"{name} {dtype} {list(shape)}" for name, (shape, dtype) in specs.items())[:200]
