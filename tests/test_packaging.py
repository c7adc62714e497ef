"""What the wheel holds."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a wheel."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    for name in ("maskconver_mobile", "converters", "benchmarks"):
        (clone / name).symlink_to(ROOT / name)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "."], cwd=clone, check=True)
    with zipfile.ZipFile(next(clone.glob("*.whl"))) as wheel:
        wheel.extractall(clone / "built")
    return clone / "built" / "maskconver_mobile"


def test_it_is_small_and_whole(built: Path) -> None:
    """The checkpoint and what generates pages are for a clone."""
    names = {path.relative_to(built).as_posix() for path in built.rglob("*")}
    assert names >= {"py.typed", "coco_panoptic.json", "demo/maskconver_256_demo.tflite", "demo/astronaut.jpg"}
    assert names >= {"converters/convert.py", "benchmarks/host/worker.py", "demo/photos/CREDITS.txt"}
    assert not [
        name
        for name in names
        if name.endswith((".yaml", ".index")) or ".data-" in name or name.startswith("benchmarks/pages")
    ]
    assert sum(path.stat().st_size for path in built.rglob("*") if path.is_file()) < 9_000_000


def test_no_module_shadows_python_s_own(built: Path) -> None:
    """A script's folder comes first where Python looks for modules."""
    modules = {path.stem for path in built.rglob("*/*.py")}
    assert not modules & set(sys.stdlib_module_names) - {"__init__"}
