"""JSON of others as the dataclasses of this package: every type checked, the wrong value named by its path.

Keys that are not known are passed over: a newer version may have added some.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", types.NoneType: "null"}


def decode(kind: Any, raw: Any, path: str = "") -> Any:
    """Build a value of `kind` from what `json.loads` returned.

    Args:
        kind: a dataclass, int, float, str, bool, a union, a literal, a tuple, a mapping by text, or Any. Numbers must
            be finite.
        raw: the JSON value.
        path: where it stands in the file, for errors.

    Raises:
        ValueError: it is of another kind; the message names its path and what was expected.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return raw
    if origin in (Union, types.UnionType):
        return None if raw is None else decode(next(a for a in arguments if a is not types.NoneType), raw, path)
    if origin is Literal:
        return _expect(raw in arguments, raw, path, f"one of {', '.join(map(str, arguments))}")
    if origin is tuple:
        return _tuple(arguments, raw, path)
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(raw, dict), raw, path, "an object")
        return {name: decode(arguments[1], value, f"{path}[{name[:40]!r}]") for name, value in raw.items()}
    if is_dataclass(kind):
        return _dataclass(kind, raw, path)
    if kind is float and isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) < 1 << 53:
        return float(raw)
    _expect(type(raw) is kind and (kind is not float or math.isfinite(raw)), raw, path, NAMES[kind])
    return raw


def _tuple(arguments: tuple[Any, ...], raw: Any, path: str) -> tuple[Any, ...]:
    _expect(isinstance(raw, list), raw, path, "a list")
    kinds = [arguments[0]] * len(raw) if arguments[-1] is Ellipsis else arguments
    _expect(len(raw) == len(kinds), raw, path, f"a list of {len(kinds)}")
    return tuple(decode(kind, value, f"{path}[{i}]") for i, (kind, value) in enumerate(zip(kinds, raw, strict=True)))


def _dataclass(kind: Any, raw: Any, path: str) -> Any:
    _expect(isinstance(raw, dict), raw, path, "an object")
    hints, known = get_type_hints(kind), {field.name: field for field in fields(kind)}
    for name, field in known.items():
        if name not in raw and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{_join(path, name)} is missing")
    return kind(**{name: decode(hints[name], raw[name], _join(path, name)) for name in known if name in raw})


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _expect(right: bool, raw: Any, path: str, wanted: str) -> Any:
    if not right:
        raise ValueError(f"{path or 'the whole'} is {repr(raw)[:60]}; expected {wanted}")
    return raw
