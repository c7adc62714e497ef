"""What the README shows can be run as it stands."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from maskconver_mobile.segmenter import DEFAULT_MODEL

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_python_in_the_readme(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("supervision")
    monkeypatch.chdir(tmp_path)
    shutil.copy(DEFAULT_MODEL.with_name("astronaut.jpg"), "photo.jpg")
    shutil.copy(DEFAULT_MODEL, "mine.tflite")
    exec(block, {"frame": np.zeros((48, 64, 3), np.uint8)})  # noqa: S102
    assert (tmp_path / "overlay.png").is_file()
