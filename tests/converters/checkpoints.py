"""Checkpoints written from arrays, for tests and for the bundled demo."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from maskconver_mobile.converters.checkpoint import Weights

Arrays = dict[str, NDArray[np.float32]]


def tree(arrays: Mapping[str, NDArray[np.float32]]) -> tf.Module:
    """Objects whose attributes spell the paths."""
    root = tf.Module()
    for path, array in arrays.items():
        *owners, leaf = path.split("/")
        node = root
        for name in owners:
            if not hasattr(node, name):
                setattr(node, name, tf.Module())
            node = getattr(node, name)
        setattr(node, leaf, tf.Variable(array))
    return root


def write_checkpoint(arrays: Mapping[str, NDArray[np.float32]], prefix: Path) -> Path:
    """A `tf.train.Checkpoint(model=...)` at this prefix."""
    tf.train.Checkpoint(model=tree(arrays)).write(str(prefix))
    return prefix


class Recorder(Weights):
    """Weights that remember what was asked of them."""

    def __init__(self, lookup: Callable[[str, tuple[int, ...]], NDArray[np.float32]]) -> None:
        super().__init__(lambda path: None)
        self.arrays: Arrays = {}
        self._make = lookup

    def __call__(self, path: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if path not in self.arrays:
            self.arrays[path] = self._make(path, shape)
        return self.arrays[path]


def random_weights(seed: int = 0) -> Recorder:
    """Weights made on demand, scaled so that activations keep their size."""
    rng = np.random.default_rng(seed)

    def make(path: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if path.endswith(("gamma", "moving_variance")):
            return rng.uniform(0.8, 1.2, shape).astype(np.float32)
        if path.endswith(("bias", "beta", "moving_mean")):
            return rng.normal(0, 0.1, shape).astype(np.float32)
        fan_in = np.prod(shape[:2]) if "depthwise" in path else np.prod(shape[:-1])
        gain = 4e-5 if "class_head/_classifier" in path else 2.0  # no probability rounds to 1, so that none tie
        return rng.normal(0, np.sqrt(gain / fan_in), shape).astype(np.float32)

    return Recorder(make)
