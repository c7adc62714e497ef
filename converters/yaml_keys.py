"""A YAML file, and typed look-ups in it that name file and key in every complaint."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from maskconver_mobile.errors import MaskConverError

MAX_YAML_BYTES = 1 << 20
SHOWN = 60
"""So many characters of a value stand in an error."""


def read_yaml(path: Path) -> "Keys":
    """Read a YAML mapping.

    Raises:
        MaskConverError: the file is missing, too large, or no YAML mapping.
    """
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise MaskConverError(f"{path}: larger than {MAX_YAML_BYTES} bytes; expected a Model Garden YAML")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MaskConverError(f"{path}: cannot be read as a YAML file ({error}); check --config") from error
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise MaskConverError(f"{path}: is not valid YAML ({_place(error, text)})") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MaskConverError(f"{path}: is not valid YAML ({reason[:200]})") from error
    if not isinstance(document, Mapping):
        raise MaskConverError(f"{path}: holds no mapping; expected a Model Garden YAML with the key task.model")
    task = document.get("task")
    _refuse_tags(path, task.get("model") if isinstance(task, Mapping) else task)
    return Keys(path, document, text.split("\n", 1)[0])


@dataclass(frozen=True)
class Unread:
    """Stands where a tag asks for an object, which is never made."""

    tag: str
    line: int


class _Loader(yaml.SafeLoader):
    """Reads `1e-3` as a number and Python's tuples as lists, as Model Garden's own loader does."""

    def tuple(self, node: yaml.Node) -> list[Any]:
        """A tuple, as a list."""
        return list(self.construct_sequence(node, deep=True)) if isinstance(node, yaml.SequenceNode) else []

    def unread(self, suffix: str, node: yaml.Node) -> Unread:
        """A node with a tag that is not read."""
        return Unread(node.tag, node.start_mark.line + 1)


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _Loader.tuple)
_Loader.add_multi_constructor("", _Loader.unread)

_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+"),
    list("-+0123456789."),
)


def _refuse_tags(path: Path, value: object) -> None:
    """Refuse tags of objects where values are read; elsewhere they do not matter."""
    seen, pending = set[int](), [value]
    while pending:
        one = pending.pop()
        if isinstance(one, Unread):
            raise MaskConverError(f"{path}: line {one.line}: task.model holds an object ({one.tag}); write its values")
        if id(one) not in seen and isinstance(one, (Mapping, list)):  # an alias may stand in itself
            seen.add(id(one))
            pending.extend(one.values() if isinstance(one, Mapping) else one)


def _place(error: yaml.MarkedYAMLError, text: str) -> str:
    """Where YAML went wrong, and what stands there."""
    problem = " ".join(str(error.problem).split())[:120]
    if error.problem_mark is None:
        return problem
    line, column = error.problem_mark.line, error.problem_mark.column
    lines = text.splitlines()
    found = lines[line][column : column + 1] if line < len(lines) else ""
    start = error.context_mark
    if start is not None and start.line < len(lines) and lines[start.line][start.column : start.column + 1] in "'\"":
        line, column, found = start.line, start.column, lines[start.line][start.column]
    what = f"stray {found!r}" if found.strip() else "the end of a line"
    return f"line {line + 1}, column {column + 1}: {what}; {problem}"


def shown(value: object) -> str:
    """A value for an error, cut where it is long."""
    text = repr(value) if not isinstance(value, (list, dict, Mapping)) else f"a {type(value).__name__}"
    text = (
        repr(list(value))
        if isinstance(value, (list, tuple)) and len(value) < 5 and all(isinstance(v, (int, float, str)) for v in value)
        else text
    )
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


class Keys:
    """Typed look-ups by dotted key; `first_line` is that of the file, which may be a comment."""

    def __init__(self, path: Path, document: Mapping[Any, Any], first_line: str = "") -> None:
        self.path, self.document, self.first_line = path, document, first_line

    def fail(self, key: str, problem: str) -> MaskConverError:
        """An error to raise about a key."""
        return MaskConverError(f"{self.path}: {key} {problem}")

    def get(self, key: str, default: Any = None) -> Any:
        """What stands there, or the default if nothing does."""
        node: Any = self.document
        for part in key.split("."):
            if not isinstance(node, Mapping):
                return default
            node = node.get(part)
            if node is None:
                return default
        return node

    def number(self, key: str, default: float | None, low: float, high: float) -> float:
        """A number within bounds."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self.fail(key, f"is {shown(value)}; expected a number from {low:g} to {high:g}")
        return float(value)

    def integer(self, key: str, default: int | None, low: int, high: int) -> int:
        """A whole number within bounds."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fail(key, f"is {shown(value)}; expected a whole number from {low} to {high}")
        return value

    def level(self, key: str, default: int, low: int, high: int) -> int:
        """A level within bounds, which may be text."""
        value = self.get(key, default)
        number = int(value) if isinstance(value, str) and re.fullmatch("[0-9]", value) else value
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            raise self.fail(key, f"is {shown(value)}; expected a level from {low} to {high}")
        return number

    def integers(self, key: str, default: tuple[int, ...], lengths: range, low: int, high: int) -> tuple[int, ...]:
        """A list of whole numbers within bounds."""
        value = self.get(key, default)
        good = isinstance(value, (list, tuple)) and len(value) in lengths
        if not good or not all(isinstance(v, int) and not isinstance(v, bool) and low <= v <= high for v in value):
            span = f"{lengths.start}" if len(lengths) == 1 else f"{lengths.start} to {lengths.stop - 1}"
            raise self.fail(key, f"is {shown(value)}; expected a list of {span} whole numbers from {low} to {high}")
        return tuple(value)

    def only(self, key: str, default: Any, *supported: Any) -> Any:
        """One of the supported values."""
        value = self.get(key, default)
        if value not in supported:
            names = ", ".join(repr(s) for s in supported)
            raise self.fail(key, f"is {shown(value)}, which is not supported; supported: {names}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """A truth value."""
        return bool(self.only(key, default, True, False))
