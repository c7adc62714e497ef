"""What can be written: for each format of `formats.FORMATS`, how a graph becomes a file and is quantized.

The packages that a format needs are imported where they are used.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.backends.tflite.quantize import (
    StaticFlatbuffer,
    check_installed,
    check_quantizable,
    operations,
    quantize,
)
from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.graph.ir import Graph
from maskconver_mobile.converters.passes import Format
from maskconver_mobile.converters.quantization.calibration import Tensor
from maskconver_mobile.converters.quantization.recipes import ONNX_RECIPES, Recipe, select
from maskconver_mobile.converters.quantization.static_model import StaticModel
from maskconver_mobile.converters.spec import GraphSpec, Precision
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats import FORMATS, ONNX, ORT, TFLITE, format_of
from maskconver_mobile.formats.tflite.file import parse_tflite, read_tflite


class Backend(ABC):
    """One format.

    Attributes:
        pipeline: whose passes the graph is rewritten by.
        half_precision: whether files can permit float16 arithmetic.
        source: the suffix of the float files that are quantized to this format.
    """

    pipeline: Format
    half_precision = False
    source: str

    def sign(self, card: ModelCard) -> ModelCard:
        """The card with the tools of the format."""
        return card

    @abstractmethod
    def write(
        self,
        graph: Graph,
        spec: GraphSpec,
        precision: Precision,
        card: ModelCard,
        config: ModelConfig,
        weights: Weights,
    ) -> bytes:
        """The whole file with its card."""

    @abstractmethod
    def check_recipe(self, recipe: Recipe, output: Path) -> None:
        """Refuse what cannot be done, before any work.

        Raises:
            MaskConverError: the format has no such recipe, or what it needs is not installed.
        """

    @abstractmethod
    def read(self, path: Path, recipe: Recipe, keep_float: Sequence[str]) -> tuple[bytes, ModelCard]:
        """A float model that is about to be quantized, and its card."""

    @abstractmethod
    def ready(
        self,
        content: bytes,
        card: ModelCard,
        recipe: Recipe,
        *,
        calibration: Sequence[Tensor],
        keep_float: Sequence[str],
        on_image: Callable[[], None],
    ) -> StaticModel:
        """The model made ready for a recipe with integer activations, as `quantize` makes it."""

    @abstractmethod
    def quantize(
        self,
        content: bytes,
        card: ModelCard,
        recipe: str,
        *,
        calibration: Sequence[Tensor],
        keep_float: Sequence[str],
        on_image: Callable[[], None],
    ) -> tuple[bytes, ModelCard]:
        """The quantized model, and its card."""


class TfliteBackend(Backend):
    """TensorFlow's converter, and the changes that its result needs."""

    pipeline: Format = "tflite"
    half_precision = True
    source = TFLITE.suffix

    def write(
        self,
        graph: Graph,
        spec: GraphSpec,
        precision: Precision,
        card: ModelCard,
        config: ModelConfig,
        weights: Weights,
    ) -> bytes:
        """The whole file with its card."""
        from maskconver_mobile.converters.backends.tflite.export import finish_tflite, write_tflite

        return finish_tflite(write_tflite(graph, spec, precision), card, config, weights)

    def check_recipe(self, recipe: Recipe, output: Path) -> None:
        """All recipes, if their tool is installed."""
        check_installed(recipe)

    def read(self, path: Path, recipe: Recipe, keep_float: Sequence[str]) -> tuple[bytes, ModelCard]:
        """Patterns that match no layer are refused here."""
        file = read_tflite(path)
        check_quantizable(file.card, recipe)
        select(operations(file.content, file.card.roles), keep_float, recipe)
        return file.content, file.card

    def ready(
        self,
        content: bytes,
        card: ModelCard,
        recipe: Recipe,
        *,
        calibration: Sequence[Tensor],
        keep_float: Sequence[str],
        on_image: Callable[[], None],
    ) -> StaticModel:
        """See `quantize.StaticFlatbuffer`."""
        return StaticFlatbuffer(content, card, recipe, calibration, keep_float, on_image)

    def quantize(
        self,
        content: bytes,
        card: ModelCard,
        recipe: str,
        *,
        calibration: Sequence[Tensor],
        keep_float: Sequence[str],
        on_image: Callable[[], None],
    ) -> tuple[bytes, ModelCard]:
        """See `quantize.quantize`."""
        done = quantize(content, card, recipe, calibration=calibration, keep_float=keep_float, on_image=on_image)
        return done, parse_tflite(done, Path(card.name)).card


class OnnxBackend(Backend):
    """Nodes written one by one."""

    pipeline: Format = "onnx"
    source = ONNX.suffix

    def sign(self, card: ModelCard) -> ModelCard:
        """With onnx among its tools."""
        return replace(card, tools={**card.tools, "onnx": version("onnx")})

    def pack(self, content: bytes) -> bytes:
        """The file of an ONNX model: the model itself."""
        return content

    def write(
        self,
        graph: Graph,
        spec: GraphSpec,
        precision: Precision,
        card: ModelCard,
        config: ModelConfig,
        weights: Weights,
    ) -> bytes:
        """The whole file with its card."""
        from maskconver_mobile.converters.backends.onnx.export import finish_onnx, write_onnx

        return self.pack(finish_onnx(write_onnx(graph, spec, precision), card, config, weights))

    def check_recipe(self, recipe: Recipe, output: Path) -> None:
        """Those without 16-bit activations, if onnx and onnxruntime are installed."""
        if find_spec("onnx") is None or find_spec("onnxruntime") is None:
            raise MaskConverError(f"{output}: needs onnx and onnxruntime; pip install 'maskconver-mobile[onnx]'")
        if recipe.name not in ONNX_RECIPES:
            raise MaskConverError(f"recipe {recipe.name} is not for .onnx files; choose from {', '.join(ONNX_RECIPES)}")

    def read(self, path: Path, recipe: Recipe, keep_float: Sequence[str]) -> tuple[bytes, ModelCard]:
        """Patterns are looked at with the graph."""
        from maskconver_mobile.converters.backends.onnx.quantize import check_model
        from maskconver_mobile.formats.onnx.file import read_onnx

        file = read_onnx(path)
        check_model(file.card, recipe)
        return file.content, file.card

    def ready(
        self,
        content: bytes,
        card: ModelCard,
        recipe: Recipe,
        *,
        calibration: Sequence[Tensor],
        keep_float: Sequence[str],
        on_image: Callable[[], None],
    ) -> StaticModel:
        """See `quantize.StaticOnnx`."""
        from maskconver_mobile.converters.backends.onnx.quantize import StaticOnnx

        return StaticOnnx(content, card, recipe, calibration, keep_float, on_image)

    def quantize(
        self,
        content: bytes,
        card: ModelCard,
        recipe: str,
        *,
        calibration: Sequence[Tensor],
        keep_float: Sequence[str],
        on_image: Callable[[], None],
    ) -> tuple[bytes, ModelCard]:
        """See `onnx_quantize.quantize_onnx`."""
        from maskconver_mobile.converters.backends.onnx.quantize import quantize_onnx
        from maskconver_mobile.formats.onnx.file import parse_onnx

        done = quantize_onnx(content, card, recipe, calibration=calibration, keep_float=keep_float, on_image=on_image)
        return self.pack(done), parse_onnx(done, Path(card.name)).card


class OrtBackend(OnnxBackend):
    """An ONNX model in the form that ONNX Runtime's smallest builds read."""

    def pack(self, content: bytes) -> bytes:
        """In that form."""
        from maskconver_mobile.converters.backends.onnx.export import to_ort

        return to_ort(content)

    def read(self, path: Path, recipe: Recipe, keep_float: Sequence[str]) -> tuple[bytes, ModelCard]:
        """Such files hold no graph that could be changed.

        Raises:
            MaskConverError: always.
        """
        raise MaskConverError(f"{path}: a file in ORT format cannot be quantized; quantize the .onnx it was made from")


BACKENDS: dict[str, Backend] = {
    TFLITE.suffix: TfliteBackend(),
    ONNX.suffix: OnnxBackend(),
    ORT.suffix: OrtBackend(),
}
assert BACKENDS.keys() == FORMATS.keys()  # noqa: S101 - what can be read can be written


def backend_of(path: Path) -> Backend:
    """The backend that a file's suffix names.

    Raises:
        MaskConverError: none is of that name.
    """
    return BACKENDS[format_of(path).suffix]
