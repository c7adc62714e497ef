"""Models for tests, converted once per session, and ways to run them."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from maskconver_mobile.card import InputType, Level
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.spec import GraphSpec, Target

Tensors = dict[str, NDArray[np.generic]]
TINY = Path(__file__).parent / "data" / "tiny_96"
SHARED = Path(__file__).parents[2] / "shared"
DEMO_CHECKPOINT = Path(__file__).parents[1] / "maskconver_mobile" / "demo" / "maskconver_256_demo"
"""Of the repository; the installed package has the file converted from it alone."""
DEMO_CONFIG = DEMO_CHECKPOINT.with_suffix(".yaml")


def run_tflite(model: bytes, image: NDArray[np.generic]) -> Tensors:
    """Outputs of a flatbuffer by signature name."""
    outputs: Tensors = Interpreter(model_content=model, num_threads=2).get_signature_runner()(image=image)
    return outputs


def golden_inputs() -> list[NDArray[np.generic]]:
    """The tiny network's golden images [1, 96, 96, 3]."""
    with np.load(TINY / "golden.npz") as arrays:
        return [image[None] for image in arrays["images"]]


class Models:
    """Converted models by what they are; each is made once."""

    def __init__(self, folder: Path, suffix: str = ".tflite") -> None:
        self.folder = folder
        self.suffix = suffix
        self.get = lru_cache(maxsize=None)(self._make)

    def _make(
        self,
        level: Level = "masks",
        target: Target = "cpu",
        input_type: InputType = "float32",
        precision: str = "float32",
        hard: bool = False,
        config: Path | None = None,
        checkpoint: Path = TINY,
        output_size: tuple[int, int] | None = None,
    ) -> Path:
        config = config or TINY / ("config_hw.yaml" if hard else "config.yaml")
        names = (config.parent.name, level, target, input_type, precision, *(["hard"] if hard else []))
        path = self.folder / ("_".join(names) + f"{'' if output_size is None else output_size}{self.suffix}")
        spec = GraphSpec(level=level, target=target, input_type=input_type, output_size=output_size)
        convert(config, checkpoint, path, spec=spec, precision=precision)
        return path
