"""A TF2 object checkpoint as named arrays, resolved through its object graph rather than by key."""

import hashlib
import re
from collections import deque
from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
MODEL_CHILDREN = {"backbone", "decoder", "class_head", "embedding_head", "per_pixel_embeddings_head", "mlp"}
MAX_VALUES = 1 << 28
MAX_STATE_BYTES = 1 << 20

Averages = Literal["auto", "raw", "ema"]
"""Which weights of a trainer's checkpoint: `ema` its moving averages, `auto` those where all of a model has them."""


class Weights:
    """Float arrays of one model by object path, such as `decoder/aspp/projection/layer_with_weights-0/kernel`.

    Attributes:
        origin: the checkpoint's prefix, for messages and the model card.
        sha256: digest of the checkpoint's data files.
        kind: in words, which of the weights in the checkpoint they are; empty where there is one kind.
    """

    def __init__(
        self, lookup: Callable[[str], NDArray[Any] | None], origin: str = "weights", sha256: str = "", kind: str = ""
    ) -> None:
        self._lookup = lookup
        self.origin = origin
        self.sha256 = sha256
        self.kind = kind

    def __call__(self, path: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The float32 array at `path`, which must have this shape.

        Raises:
            MaskConverError: there is no such variable, it has another shape, or holds NaN or infinity.
        """
        mismatch = "the configuration does not describe this checkpoint"
        array = self._lookup(path)
        if array is None:
            raise MaskConverError(f"{self.origin}: variable {path} is missing, wanted shape {list(shape)}; {mismatch}")
        if array.shape != shape:
            raise MaskConverError(
                f"{self.origin}: variable {path} has shape {list(array.shape)}, wanted {list(shape)}; {mismatch}"
            )
        if array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
        if array.dtype.kind != "f":
            raise MaskConverError(f"{self.origin}: variable {path} holds {array.dtype}, not numbers; {mismatch}")
        values = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(values).all():
            raise MaskConverError(f"{self.origin}: variable {path} holds NaN or infinity; take an earlier checkpoint")
        return values


def read_checkpoint(path: str | Path, averages: Averages = "auto") -> Weights:
    """Open the model in a checkpoint.

    Accepts a trainer checkpoint, an averaged one, `tf.train.Checkpoint(model=...)` with or without further roots, and
    the variables of an exported SavedModel.

    A trainer that keeps moving averages stores them beside the variables, as `average` slots of its optimizer. In
    `average_weights-N` and `best_ckpt-N`, which it writes too, both have changed places: the variables are averages.

    Args:
        path: the prefix, its `.index` file, or a directory (its latest checkpoint, or a SavedModel's variables).
        averages: `raw` takes the trained weights and `ema` their moving averages; `auto` takes the averages where all
            trained variables of the model have one, and else the variables as they are stored.

    Raises:
        MaskConverError: nothing is there, the files are damaged, or they hold no MaskConver model; or no averages, or
            no raw weights, where those are asked for.
    """
    if averages not in get_args(Averages):
        raise MaskConverError(f"weights {averages!r}: expected one of {', '.join(get_args(Averages))}")
    import tensorflow as tf

    prefix = _find_prefix(Path(path))

    def guarded(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Exception as error:  # TensorFlow raises RuntimeError, IndexError and its own types for damaged files
            reason = " ".join(str(error).split())[:200]
            raise MaskConverError(f"{prefix}: is no readable checkpoint, truncated or damaged ({reason})") from error

    reader = guarded(lambda: tf.train.load_checkpoint(str(prefix)))
    shapes: dict[str, list[int]] = guarded(reader.get_variable_to_shape_map)
    if OBJECT_GRAPH not in shapes:
        raise MaskConverError(f"{prefix}: has no object graph (a TF1 checkpoint?); save it with tf.train.Checkpoint")
    graph = guarded(lambda: _ObjectGraph(reader.get_tensor(OBJECT_GRAPH)))
    if graph.model is None:
        raise MaskConverError(
            f"{prefix}: holds no MaskConver model (an object with {', '.join(sorted(MODEL_CHILDREN))}); "
            f"its top-level objects are: {', '.join(graph.top_level) or 'none'}"
        )

    slots, kind = _choose_slots(graph, prefix, averages)

    def lookup(variable: str) -> NDArray[Any] | None:
        key = guarded(lambda: graph.key(variable, slots))
        if key is None or key not in shapes or int(np.prod(shapes[key])) > MAX_VALUES:
            return None
        array: NDArray[Any] = np.asarray(guarded(lambda: reader.get_tensor(key)))
        return array

    return Weights(lookup, str(prefix), _digest(prefix), kind)


def _choose_slots(graph: "_ObjectGraph", prefix: Path, averages: Averages) -> tuple[bool, str]:
    """Whether to read the `average` slots, and which weights those are that will be read, in words."""
    have, lack = graph.averaged()
    if not have:
        if averages == "ema":
            raise MaskConverError(f"{prefix}: holds no moving averages; leave --weights ema away")
        return False, ""
    swapped = prefix.name.startswith(("average_weights-", "best_ckpt-"))
    wanted = averages if averages != "auto" else "raw" if lack and not swapped else "ema"
    slots = (wanted == "raw") if swapped else (wanted == "ema")
    if slots and lack:
        what = "the raw weights" if swapped else "moving averages"
        raise MaskConverError(
            f"{prefix}: holds {what} of {len(have)} variables and not of {len(lack)}, such as {lack[0]}; "
            f"take --weights {'ema' if swapped else 'raw'}"
        )
    if wanted == "ema":
        return slots, "its moving averages"
    return slots, "its raw weights" + (f"; averages are stored of {len(have)} variables only" if lack else "")


class _ObjectGraph:
    """Names of objects and the keys of their variables (TensorFlow's `trackable_object_graph.proto`)."""

    def __init__(self, serialized: bytes) -> None:
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

        self._nodes = TrackableObjectGraph.FromString(serialized).nodes
        self._children = [{child.local_name: child.node_id for child in node.children} for node in self._nodes]
        self.top_level = sorted(self._children[0])[:10] if self._children else []
        slots = [slot for node in self._nodes for slot in node.slot_variables]
        self._trained = {slot.original_variable_node_id for slot in slots}
        self._averages = {
            slot.original_variable_node_id: slot.slot_variable_node_id for slot in slots if slot.slot_name == "average"
        }
        self.model = self._find_model()

    def _find_model(self) -> int | None:
        """The object nearest to the root that has a MaskConver model's children."""
        seen, pending = {0}, deque([0] if self._children else [])
        while pending:
            node = pending.popleft()
            if self._children[node].keys() >= MODEL_CHILDREN:
                return node
            fresh = [child for child in self._children[node].values() if child not in seen]
            seen.update(fresh)
            pending.extend(fresh)
        return None

    def key(self, path: str, slots: bool = False) -> str | None:
        """Where the values of a variable are, or where there are any, those of its average."""
        node = self.model
        for name in path.split("/"):
            node = None if node is None else self._children[node].get(name)
        return None if node is None else self._value(self._averages.get(node, node) if slots else node)

    def _value(self, node: int) -> str | None:
        attributes = self._nodes[node].attributes
        return next((a.checkpoint_key for a in attributes if a.name == "VARIABLE_VALUE"), None)

    def averaged(self) -> tuple[list[str], list[str]]:
        """The keys of the model's trained variables that have an average, and of those that have none.

        Trained is what an optimizer keeps something of: frozen variables and statistics of batch norms are not.
        """
        seen = {self.model or 0}
        pending, have, lack = deque(seen), list[str](), list[str]()
        while pending:
            for name, child in self._children[pending.popleft()].items():
                if child in seen or name in ("optimizer", "_optimizer"):
                    continue
                seen.add(child)
                pending.append(child)
                key = self._value(child)
                if key is not None and child in self._trained and not name.startswith("moving_"):
                    (have if child in self._averages else lack).append(key.partition("/.ATTRIBUTES")[0])
        return have, lack


def _find_prefix(path: Path) -> Path:
    if path.is_dir():
        return _latest(path)
    if path.suffix == ".index":
        path = path.with_suffix("")
    index = path.with_name(path.name + ".index")
    if not index.is_file():
        raise MaskConverError(
            f"{path}: no checkpoint there ({index.name} is missing); give its prefix, .index or folder"
        )
    if not _shards(path):
        raise MaskConverError(f"{path}: {path.name}.data-00000-of-00001 is missing beside {index.name}")
    return path


def _latest(folder: Path) -> Path:
    """What the `checkpoint` file names if it is there, else the highest number, else a SavedModel's variables.

    A folder that was copied names the place that it came from: what it holds itself is meant.
    """
    named = _named(folder / "checkpoint")
    if named is not None and (folder / f"{named}.index").is_file():
        return _find_prefix(folder / named)
    prefixes = [path.with_suffix("") for path in folder.glob("*.index")]
    saved_model = folder / "variables" / "variables.index"
    if not prefixes and saved_model.is_file():
        return _find_prefix(saved_model)
    if not prefixes:
        raise MaskConverError(f"{folder}: no checkpoint in this folder (no .index file); give the checkpoint's prefix")
    whole = [prefix for prefix in prefixes if _shards(prefix)] or prefixes
    return _find_prefix(max(whole, key=lambda prefix: (_number(prefix), prefix.name)))


def _named(state: Path) -> str | None:
    """The name in a trainer's `checkpoint` file without its folder, which may be one of Windows."""
    if not state.is_file() or state.stat().st_size > MAX_STATE_BYTES:
        return None
    text = state.read_bytes().decode(errors="replace")
    match = re.search(r'^\s*model_checkpoint_path:\s*"([^"\n]+)"', text, re.MULTILINE)
    return re.split(r"[/\\]", match[1])[-1] if match else None


def _number(prefix: Path) -> int:
    match = re.search(r"\d{1,18}$", prefix.name)
    return int(match[0]) if match else -1


def _shards(prefix: Path) -> list[Path]:
    return sorted(prefix.parent.glob(f"{escape(prefix.name)}.data-*-of-*"))


def _digest(prefix: Path) -> str:
    digest = hashlib.sha256()
    for shard in _shards(prefix):
        with shard.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
