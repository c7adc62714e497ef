"""What the kernels of some operators take for granted.

With other numbers they divide by zero, read beyond their tensors, or end the process. The Android library has the same
rules (`OperatorRules.kt`).
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from maskconver_mobile.formats.tflite.tables import Table

MAX_STEP = 1 << 10
PADDINGS = range(2)
SLICE = 65
SQUARED_DIFFERENCE = 99
INT64 = 4

CALLS = {118: 2, 119: 2, 129: 1}
"""How many graphs the operators IF, WHILE and CALL_ONCE call."""

REDUCING = frozenset({40, 74, 81, 82, 89, 91, 140})
"""MEAN, SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_ANY and REDUCE_ALL."""

ADDING = frozenset({0, 41, SQUARED_DIFFERENCE})
"""ADD, SUB and SQUARED_DIFFERENCE."""

SCALED = ADDING | {9, 18, 40, 54, 74, 98}
"""Those and FULLY_CONNECTED, MUL, MEAN, PRELU, SUM and LEAKY_RELU."""

HEADROOM = {3: 1 << 20, 9: 1 << 20, 7: 1 << 15}
"""What kernels multiply integers of 8 and 16 bits by before they add, by the schema's number of the type."""
SQUARES_HEADROOM = 1 << 14

COMPARING = frozenset({58, 61, 62, 63, 71, 72})
"""LESS, GREATER, GREATER_EQUAL, LESS_EQUAL, EQUAL and NOT_EQUAL."""
BYTES = frozenset({3, 9})


@dataclass(frozen=True)
class Window:
    """A convolution or pool: its type of options, and the fields there of strides and sizes, and of dilations."""

    options: int
    steps: tuple[int, ...]
    gaps: tuple[int, ...] = ()


POOL = Window(5, (1, 2, 3, 4))
WINDOWS = {1: POOL, 3: Window(1, (1, 2), (4, 5)), 4: Window(2, (1, 2), (5, 6)), 17: POOL}
"""AVERAGE_POOL_2D, CONV_2D, DEPTHWISE_CONV_2D and MAX_POOL_2D."""


def need(condition: bool, otherwise: str) -> None:
    """Raise ValueError with these words unless the condition holds."""
    if not condition:
        raise ValueError(otherwise)


class OperatorRules:
    """Rules over the operators of one model, in their order."""

    def __init__(self, codes: Sequence[Table], graphs: int, data: Callable[[Table], memoryview]) -> None:
        """Of a model with these operator codes and so many graphs; `data` gives the bytes of a constant tensor."""
        self._codes, self._graphs, self._data = codes, graphs, data
        self._calls: dict[int, set[int]] = {}

    def check(self, graph: int, tensors: Sequence[Table], operator: Table) -> None:
        """Raise ValueError if an operator of graph number `graph` with these tensors breaks a rule."""
        entry = self._codes[operator.number(0, "i")]
        code = max(entry.number(0, "b"), entry.number(3, "i"))
        inputs = [tensors[i] for i in operator.numbers(1, "i") if i != -1]
        if code in CALLS:
            self._check_calls(graph, CALLS[code], operator)
        if code in WINDOWS:
            _check_window(WINDOWS[code], operator)
        if code == SLICE:
            self._check_slice(inputs)
        if code in REDUCING:
            self._check_axes(inputs)
        if code in SCALED:
            _check_scaled(code, inputs, [tensors[i] for i in operator.numbers(2, "i")])
        if code in COMPARING:
            need(not any(tensor.number(1, "b") in BYTES for tensor in inputs), "a comparison of scaled integers")

    def _check_calls(self, graph: int, count: int, operator: Table) -> None:
        """No graph calls the main one, and no call goes round in circles."""
        options = operator.table(4)
        for slot in range(count):
            called = options.number(slot, "i") if options else 0
            fits = 0 < called < self._graphs and graph not in self._called_by(called)
            need(fits, f"graph {graph} calls graph {called}")
            self._calls.setdefault(graph, set()).add(called)

    def _called_by(self, graph: int) -> set[int]:
        """A graph and all that it calls, as far as is known yet."""
        found, pending = {graph}, [graph]
        while pending:
            fresh = self._calls.get(pending.pop(), set()) - found
            found |= fresh
            pending += fresh
        return found

    def _check_slice(self, inputs: Sequence[Table]) -> None:
        need(len(inputs) == 3, f"a slice of {len(inputs)} tensors")
        begins, sizes = (self._numbers(tensor) for tensor in inputs[1:])
        shape = inputs[0].numbers(0, "i")
        if not (begins and sizes and shape):
            return
        fits = len(begins) == len(sizes) == len(shape) and all(
            0 <= begin <= length and -1 <= size <= length - begin
            for begin, size, length in zip(begins, sizes, shape, strict=True)
        )
        need(fits, f"a slice of {list(sizes)} from {list(begins)} of {list(shape)}")

    def _check_axes(self, inputs: Sequence[Table]) -> None:
        need(len(inputs) == 2, f"a reduction of {len(inputs)} tensors")
        rank, axes = len(inputs[0].numbers(0, "i")), self._numbers(inputs[1])
        need(all(-rank <= axis < rank for axis in axes), f"a reduction over the axes {list(axes)} of {rank}")

    def _numbers(self, tensor: Table) -> Sequence[int]:
        data = self._data(tensor)
        kind, size = ("q", 8) if tensor.number(1, "b") == INT64 else ("i", 4)
        return struct.unpack_from(f"<{len(data) // size}{kind}", data)


def _check_window(window: Window, operator: Table) -> None:
    options = operator.table(4)
    if options is None or operator.number(3, "b") != window.options:
        raise ValueError("an operator with the options of another")
    need(options.number(0, "b") in PADDINGS, f"a window with padding {options.number(0, 'b')}")
    steps = [options.number(slot, "i") for slot in window.steps]
    steps += [options.number(slot, "i", default=1) for slot in window.gaps]
    need(all(1 <= step <= MAX_STEP for step in steps), f"a window of {steps} pixels")


def _check_scaled(code: int, inputs: Sequence[Table], outputs: Sequence[Table]) -> None:
    """Kernels multiply scaled integers by a ratio of scales, which where they add must be below 1."""
    kind = inputs[0].number(1, "b") if inputs else -1
    if kind not in HEADROOM:
        return
    same = len(outputs) == 1 and outputs[0].number(1, "b") == kind
    need(same, "an operator that makes other numbers of scaled integers")
    if code not in ADDING:
        return
    scales = [_scale(tensor) for tensor in inputs]
    twice = 2 * max(scales)
    total = twice * twice / SQUARES_HEADROOM if code == SQUARED_DIFFERENCE else twice / HEADROOM[kind]
    need(min(scales) > 0 and total < _scale(outputs[0]), "scales of a sum")


def _scale(tensor: Table) -> float:
    quantization = tensor.table(4)
    scales = quantization.numbers(2, "f") if quantization else ()
    return float(scales[0]) if len(scales) == 1 else 0.0
