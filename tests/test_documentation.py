"""What README and site show can be run as it stands, and the site needs no network."""

import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
from models import TINY, Models

from maskconver_mobile.cli import cli, main
from maskconver_mobile.segmenter import DEFAULT_MODEL

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```|((?:^    .*\n|^\n)+)", re.DOTALL | re.MULTILINE)
ELSEWHERE = {"architecture.md", "precision.md"}
"""Their Python is run by tests/converters/test_architecture.py, and needs arrays of the reader's."""
NOT_RUN = {"web", "demo", "benchmark", "doctor", "evaluate"}
"""These need a phone, a browser, a data set or much time; that they exist as written is tested."""
LONG = {"--analyse", "--target-agreement"}
"""And so do verbs with these options."""


def commands(page: Path) -> list[list[str]]:
    """The lines of a page that call the command line, as words."""
    text = "".join(fenced or indented for fenced, indented in BLOCK.findall(page.read_text(encoding="utf-8")))
    lines = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    words = (shlex.split(line, comments=True) for line in lines if re.match(r"(\.venv/bin/)?maskconver-mobile ", line))
    return [one[1:] for one in words if "..." not in one and "VERB" not in one]


@pytest.fixture
def desk(tmp_path: Path, models: Models, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that examples name, small ones."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(DEFAULT_MODEL.with_name("astronaut.jpg"), "photo.jpg")
    (tmp_path / "photos").mkdir()
    for name in ("coffee.jpg", "rocket.jpg"):
        shutil.copy(DEFAULT_MODEL.with_name("photos") / name, "photos")
    video = cv2.VideoWriter("walk.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    video.write(np.zeros((48, 64, 3), np.uint8))
    video.release()
    for name in ("maskconver_256.yaml", "mine.yaml"):
        shutil.copy(TINY / "config.yaml", name)
    for file in TINY.glob("ckpt-7.*"):
        for name in ("ckpt-500000", "ckpt"):
            shutil.copy(file, file.name.replace("ckpt-7", name))
    for name in ("mine", "model", "float", "int8", "maskconver_256", "maskconver_640"):
        shutil.copy(models.get("masks"), f"{name}.tflite")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ELSEWHERE], ids=lambda page: page.name)
def test_python(page: Path, desk: Path) -> None:
    pytest.importorskip("supervision")
    for block in PYTHON.findall(page.read_text(encoding="utf-8")):
        exec(block, {"frame": np.zeros((48, 64, 3), np.uint8)})  # noqa: S102


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_as_written(page: Path, desk: Path) -> None:
    for name in ("before", "phone", "benchmark"):
        (desk / name).mkdir()
    for words in commands(page):
        command = cli.get_command(click.Context(cli), words[0])
        assert command is not None, words
        rest = words[1:]
        if isinstance(command, click.Group):
            context = command.make_context(words[0], list(rest), resilient_parsing=True)
            continue
        context = command.make_context(words[0], [word for word in rest if word not in ("|", ">")])
        assert context.params


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "android.md"], ids=lambda page: page.name)
def test_commands_run(page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (words for words in commands(page) if words[0] not in NOT_RUN and LONG.isdisjoint(words)):
        monkeypatch.setattr(sys, "argv", ["maskconver-mobile", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code in ((0, 1) if any(word.startswith("--min-") for word in words) else (0,)), words


class Loaded(HTMLParser):
    """What a page loads of other hosts by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        loads = tag in ("script", "img", "iframe") or values.get("rel") in ("stylesheet", "preconnect", "icon")
        addresses = [values[name] for name in ("src", "href") if loads and name in values]
        self.found += [address for address in addresses if re.match("(https?:)?//", address)]


@pytest.mark.slow
def test_the_site_is_whole_and_needs_no_network(tmp_path: Path) -> None:
    """`--strict` fails where a link, an anchor or a name in the reference leads nowhere."""
    pytest.importorskip("mkdocstrings", reason="needs the extra docs")
    pytest.importorskip("material", reason="needs the extra docs")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        check=True,
        env={"NO_MKDOCS_2_WARNING": "1", "PATH": ""},
    )
    pages = list(tmp_path.glob("*.html"))
    assert len(pages) >= 16
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert not loaded.found, page.name
    assert not [style for style in tmp_path.rglob("*.css") if re.search(r"url\(['\"]?https?:", style.read_text())]
    reference = (tmp_path / "api.html").read_text(encoding="utf-8")
    assert all(f'id="maskconver_mobile.{name}"' in reference for name in ("segmenter.Segmenter", "verbs.convert"))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120
