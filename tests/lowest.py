"""The lowest versions that pyproject.toml allows, printed as `NAME==VERSION.*`; with `try`, tries what is installed.

Run by `make lowest`, in an environment of its own.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERBS = """segment convert quantize inspect evaluate compare benchmark "benchmark run" demo web doctor completion"""


def lowest() -> list[str]:
    """Of the packages that are always installed."""
    text = (ROOT / "pyproject.toml").read_text()
    runtime = text[text.index("\ndependencies = [") : text.index("[project.optional")]
    return [f"{name}=={version}.*" for name, version in re.findall(r'"([\w-]+)>=([\d.]+)', runtime)]


def attempt() -> None:
    """Help of every verb, and a photograph from the command line and from Python."""
    command = str(Path(sys.executable).with_name("maskconver-mobile"))
    for verb in ("", *re.findall(r'"([^"]+)"|(\S+)', VERBS)):
        words = "".join(verb).split()
        subprocess.run([command, *words, "--help"], check=True, stdout=subprocess.DEVNULL)
    from maskconver_mobile import segment
    from maskconver_mobile.segmenter import DEFAULT_MODEL

    photo = DEFAULT_MODEL.with_name("astronaut.jpg")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([command, "segment", str(photo), "--json", "--output", folder], check=True)
        subprocess.run([command, "inspect", str(DEFAULT_MODEL)], check=True, stdout=subprocess.DEVNULL)
        result = segment(photo)
        if not result["person"] or not result.to_json("polygons") or not result._repr_html_():
            sys.exit("nobody was found")
        result.save(Path(folder) / "overlay.jpg", boxes=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["try"]:
        attempt()
    else:
        print("\n".join(lowest()))
