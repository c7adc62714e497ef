"""What can be written: for each format of `formats.FORMATS`, how a graph becomes a file and is quantized.

The packages that a format needs are imported where they are used.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from maskconver_mobile.card import ModelCard
from maskconver_mobile.converters.backends.tflite.quantize import (
    StaticFlatbuffer,
    operations,
    quantize,
)
from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.graph.ir import Graph
from maskconver_mobile.converters.passes import Format
from maskconver_mobile.converters.quantization.calibration import Tensor
from maskconver_mobile.converters.quantization.recipes import ONNX_RECIPES, RECIPES, Recipe, check_quantizable, select
from maskconver_mobile.converters.quantization.static_model import StaticModel
from maskconver_mobile.converters.spec import GraphSpec, Precision
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats import FORMATS, ONNX, ORT, TFLITE, format_of
from maskconver_mobile.formats.tflite.file import attach, parse_tflite, read_tflite


class Backend(ABC):
    """One format.

    Attributes:
        pipeline: whose passes the graph is rewritten by.
        half_precision: whether files can permit float16 arithmetic.
        source: the suffix of the float files that are quantized to this format.
        recipes: names of those that the format has.
    """

    pipeline: Format
    half_precision = False
    source: str
    recipes: tuple[str, ...] = tuple(RECIPES)

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

    def check_recipe(self, recipe: Recipe, output: Path) -> None:
        """Refuse a recipe for a file, before any work.

        Raises:
            MaskConverError: the format has no such recipe.
        """
        if recipe.name not in self.recipes:
            raise MaskConverError(
                f"{output}: recipe {recipe.name} is not for {self.source} files; choose from {', '.join(self.recipes)}"
            )

    @abstractmethod
    def read(self, path: Path, recipe: Recipe, keep_float: Sequence[str]) -> tuple[bytes, ModelCard]:
        """A float model that is about to be quantized, and its card."""

    @abstractmethod
    def static(self) -> type[StaticModel]:
        """What makes a model of the format ready for recipes with integer activations."""

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
        return self.static()(content, card, recipe, calibration, keep_float, on_image)

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
        """The quantized model as `finish` takes it, and its card."""

    @abstractmethod
    def finish(self, content: bytes, card: ModelCard) -> bytes:
        """The file of a quantized model; of one model with two cards, the files differ in the card alone."""


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

    def read(self, path: Path, recipe: Recipe, keep_float: Sequence[str]) -> tuple[bytes, ModelCard]:
        """Patterns that match no layer are refused here."""
        file = read_tflite(path)
        check_quantizable(file.card)
        select(operations(file.content, file.card.roles), keep_float, recipe, file.card.joined)
        return file.content, file.card

    def static(self) -> type[StaticModel]:
        """See `quantize.StaticFlatbuffer`."""
        return StaticFlatbuffer

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

    def finish(self, content: bytes, card: ModelCard) -> bytes:
        """The flatbuffer with this card instead of its own."""
        return attach(content, card)


class OnnxBackend(Backend):
    """Nodes written one by one."""

    pipeline: Format = "onnx"
    source = ONNX.suffix
    recipes = ONNX_RECIPES

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

    def read(self, path: Path, recipe: Recipe, keep_float: Sequence[str]) -> tuple[bytes, ModelCard]:
        """Patterns are looked at with the graph."""
        from maskconver_mobile.converters.backends.onnx.quantize import check_model
        from maskconver_mobile.formats.onnx.file import read_onnx

        file = read_onnx(path)
        check_model(file.card, recipe)
        return file.content, file.card

    def static(self) -> type[StaticModel]:
        """See `quantize.StaticOnnx`."""
        from maskconver_mobile.converters.backends.onnx.quantize import StaticOnnx

        return StaticOnnx

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
        return done, parse_onnx(done, Path(card.name)).card

    def finish(self, content: bytes, card: ModelCard) -> bytes:
        """The model with this card instead of its own, packed."""
        from maskconver_mobile.formats.onnx.file import attach, parse_onnx, read_tail

        model = parse_onnx(content, Path(card.name)).model
        tail = read_tail({entry.key: entry.value for entry in model.metadata_props}, card.name)
        return self.pack(attach(model, card, tail))


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
