from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from maskconver_mobile.typed_json import decode


@dataclass(frozen=True)
class Inner:
    name: str
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Outer:
    kind: Literal["a", "b"]
    inner: tuple[Inner, ...]
    ratio: float = 1.0
    known: bool = False
    times: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    rest: Mapping[str, Any] = field(default_factory=dict)


RIGHT = {"kind": "a", "inner": [{"name": "x", "size": [1, 2]}, {"name": "y", "size": None}]}


def test_what_is_right_comes_back_as_dataclasses() -> None:
    raw = {**RIGHT, "ratio": 2, "times": {"t": [1, 2.5]}, "rest": {"any": [None]}, "newer": "key"}
    found = decode(Outer, raw)
    assert found == Outer("a", (Inner("x", (1, 2)), Inner("y")), 2.0, False, {"t": (1.0, 2.5)}, {"any": [None]})
    assert isinstance(found.ratio, float)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"kind": "c"}, "kind is 'c'; expected one of a, b"),
        ({"kind": ["a"]}, r"kind is \['a'\]; expected one of a, b"),
        ({"inner": [{}]}, r"inner\[0\].name is missing"),
        ({"inner": [{"name": "x", "size": [1, 2.0]}]}, r"inner\[0\].size\[1\] is 2.0; expected a whole number"),
        ({"inner": {"name": "x"}}, "inner is {'name': 'x'}; expected a list"),
        ({"ratio": True}, "ratio is True; expected a number"),
        ({"ratio": None}, "ratio is None; expected a number"),
        ({"ratio": 10**400}, "ratio is 10+; expected a number"),
        ({"ratio": float("nan")}, "ratio is nan; expected a number"),
        ({"known": 1}, "known is 1; expected true or false"),
        ({"times": {"\x1b[2J": [1, "x"]}}, r"times\['\\x1b\[2J'\]\[1\] is 'x'; expected a number"),
        ({"rest": []}, r"rest is \[\]; expected an object"),
    ],
)
def test_what_is_wrong_is_named(edit: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        decode(Outer, {**RIGHT, **edit})


def test_the_whole_may_be_wrong() -> None:
    with pytest.raises(ValueError, match=r"^the whole is \[\]; expected an object"):
        decode(Outer, [])
