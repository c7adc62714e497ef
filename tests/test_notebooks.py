"""The notebooks run, and were committed as they came out."""

import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
MAX_BYTES = 200_000


def read(path: Path) -> Any:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra test")
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_were_committed_with_small_pictures(path: Path) -> None:
    notebook = read(path)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/jpeg" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error"]
    assert path.stat().st_size < MAX_BYTES
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_run(path: Path, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs the extra test")
    pytest.importorskip("ipykernel", reason="needs the extra test")
    demo = ROOT / "maskconver_mobile" / "demo"
    here = tmp_path / "docs" / "notebooks"
    here.mkdir(parents=True)
    shutil.copytree(demo, tmp_path / "maskconver_mobile" / "demo")
    notebook = read(path)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell["outputs"], cell["execution_count"] = [], None
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(here)}}).execute()
    text = str([cell.outputs for cell in notebook.cells if cell.cell_type == "code"])
    assert "person" in text if path.stem == "first_steps" else "of its pixels changed" in text
