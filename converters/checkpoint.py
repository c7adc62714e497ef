"""A TF2 object checkpoint as named arrays, resolved through its object graph rather than by key."""

import hashlib
from collections import deque
from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.errors import MaskConverError

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
MODEL_CHILDREN = {"backbone", "decoder", "class_head", "embedding_head", "per_pixel_embeddings_head", "mlp"}
MAX_VALUES = 1 << 28


class Weights:
    """Float arrays of one model by object path, such as `decoder/aspp/projection/layer_with_weights-0/kernel`.

    Attributes:
        origin: the checkpoint's prefix, for messages and the model card.
        sha256: digest of the checkpoint's data files.
    """

    def __init__(self, lookup: Callable[[str], NDArray[Any] | None], origin: str = "weights", sha256: str = "") -> None:
        self._lookup = lookup
        self.origin = origin
        self.sha256 = sha256

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
        if array.dtype.kind != "f":
            raise MaskConverError(f"{self.origin}: variable {path} holds {array.dtype}, not numbers; {mismatch}")
        values = np.ascontiguousarray(array, np.float32)
        if not np.isfinite(values).all():
            raise MaskConverError(f"{self.origin}: variable {path} holds NaN or infinity; take an earlier checkpoint")
        return values


def read_checkpoint(path: str | Path) -> Weights:
    """Open the model in a checkpoint.

    Accepts a trainer checkpoint, an averaged one, `tf.train.Checkpoint(model=...)` with or without further roots, and
    the variables of an exported SavedModel.

    Args:
        path: the prefix, its `.index` file, or a directory (its latest checkpoint, or a SavedModel's variables).

    Raises:
        MaskConverError: nothing is there, the files are damaged, or they hold no MaskConver model.
    """
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

    def lookup(variable: str) -> NDArray[Any] | None:
        key = guarded(lambda: graph.key(variable))
        if key is None or key not in shapes or int(np.prod(shapes[key])) > MAX_VALUES:
            return None
        array: NDArray[Any] = np.asarray(guarded(lambda: reader.get_tensor(key)))
        return array

    return Weights(lookup, str(prefix), _digest(prefix))


class _ObjectGraph:
    """Names of objects and the keys of their variables (TensorFlow's `trackable_object_graph.proto`)."""

    def __init__(self, serialized: bytes) -> None:
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

        self._nodes = TrackableObjectGraph.FromString(serialized).nodes
        self._children = [{child.local_name: child.node_id for child in node.children} for node in self._nodes]
        self.top_level = sorted(self._children[0])[:10] if self._children else []
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

    def key(self, path: str) -> str | None:
        node = self.model
        for name in path.split("/"):
            node = None if node is None else self._children[node].get(name)
        if node is None:
            return None
        attributes = self._nodes[node].attributes
        return next((a.checkpoint_key for a in attributes if a.name == "VARIABLE_VALUE"), None)


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
    """What the folder's `checkpoint` file names, else its newest index file, else a SavedModel's variables."""
    import tensorflow as tf

    try:
        named = tf.train.latest_checkpoint(str(folder))
    except Exception as error:  # TensorFlow raises its own types, and those of the text in the file
        raise MaskConverError(f"{folder / 'checkpoint'}: is damaged; give the checkpoint's prefix") from error
    if named is not None:
        # A folder that was copied names the place that it came from: what it holds itself is meant.
        own = folder / Path(named).name
        return _find_prefix(own if own.with_name(f"{own.name}.index").is_file() else Path(named))
    indices = sorted(folder.glob("*.index"), key=lambda p: (p.stat().st_mtime_ns, p.name))
    saved_model = folder / "variables" / "variables.index"
    if not indices and not saved_model.is_file():
        raise MaskConverError(f"{folder}: no checkpoint in this folder (no .index file); give the checkpoint's prefix")
    return _find_prefix(indices[-1] if indices else saved_model)


def _shards(prefix: Path) -> list[Path]:
    return sorted(prefix.parent.glob(f"{escape(prefix.name)}.data-*-of-*"))


def _digest(prefix: Path) -> str:
    digest = hashlib.sha256()
    for shard in _shards(prefix):
        with shard.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
