"""What the wheel holds."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a wheel, built where an earlier build has left others."""
    pytest.importorskip("setuptools")
    clone = tmp_path_factory.mktemp("clone")
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, clone)
    for name in ("maskconver_mobile", "converters", "benchmarks"):
        (clone / name).symlink_to(ROOT / name)
    stale = clone / "build" / "lib" / "maskconver_mobile" / "renamed.py"
    stale.parent.mkdir(parents=True)
    stale.touch()
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_py"], cwd=clone, check=True)
    return clone / "build" / "lib" / "maskconver_mobile"


def test_what_an_earlier_build_left_is_not_in_it(built: Path) -> None:
    assert not (built / "renamed.py").exists()
    assert (built / "segmenter.py").exists()


def test_it_is_small_and_whole(built: Path) -> None:
    """The checkpoint and what generates pages are for a clone."""
    names = {path.relative_to(built).as_posix() for path in built.rglob("*")}
    assert names >= {"py.typed", "coco_panoptic.json", "demo/maskconver_256_demo.tflite", "demo/astronaut.jpg"}
    assert names >= {"converters/convert.py", "benchmarks/host/worker.py", "demo/photos/CREDITS.txt"}
    assert not [name for name in names if name.endswith((".yaml", ".index")) or ".data-" in name or "page" in name]
    assert sum(path.stat().st_size for path in built.rglob("*") if path.is_file()) < 9_000_000


def test_no_module_shadows_python_s_own(built: Path) -> None:
    """A script's folder comes first where Python looks for modules."""
    modules = {
        path.stem for path in (*built.glob("benchmarks/*.py"), *built.glob("cli/*.py"), *built.glob("converters/*.py"))
    }
    assert not modules & set(sys.stdlib_module_names) - {"__init__"}
