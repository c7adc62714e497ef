from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[2] / "shared"


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
