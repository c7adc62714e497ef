from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from models import SHARED, Models

from maskconver_mobile.formats.tflite.file import pack
from maskconver_mobile.segmenter import DEFAULT_MODEL

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """Small fixtures that live in the repository."""
    return DATA


@pytest.fixture(scope="session")
def shared() -> Path:
    """The full-size golden tensors, checkpoints and images, where they are at hand."""
    if not (SHARED / "golden").is_dir():
        pytest.skip(f"needs the full-size golden fixtures in {SHARED.name}/ beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Converted models, each made once."""
    return Models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def onnx_models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The same as .onnx files."""
    return Models(tmp_path_factory.mktemp("onnx"), ".onnx")


@pytest.fixture(scope="session", params=["tflite", "onnx"])
def either_models(request: pytest.FixtureRequest, models: Models, onnx_models: Models) -> Models:
    """Both formats in turn."""
    return models if request.param == "tflite" else onnx_models


@pytest.fixture
def with_custom_operator(tmp_path: Path) -> Path:
    """A model of ours with an operator that no runtime has."""
    model = schema.ModelT.InitFromPackedBuf(DEFAULT_MODEL.read_bytes(), 0)
    code = next(c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.TOPK_V2)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "Nonsense"
    path = tmp_path / "custom.tflite"
    path.write_bytes(pack(model))
    return path
