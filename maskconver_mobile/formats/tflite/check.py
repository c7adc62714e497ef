"""The structure of a TFLite flatbuffer, checked so far that an interpreter cannot be led astray by it.

LiteRT trusts files: a damaged one ends the process. Field numbers are those of the published schema (`schema.fbs`,
version 3). The Android library has the same check (`GraphCheck.kt`).
"""

import math
import struct
from collections.abc import Sequence

from maskconver_mobile.formats.tflite.rules import OperatorRules, need
from maskconver_mobile.formats.tflite.tables import Buffer, Table

MAX_RANK = 8
MAX_GRAPHS = 64
MAX_TENSOR_BITS = 1 << 33
LEAST_SCALE = 1e-30
INT8 = 9

BITS = {0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, INT8: 8, 10: 64, 12: 64, 15: 32, 16: 16, 17: 4}
"""Bits of an element by the schema's number of its type: float, int, bool; no text, no resources."""

ZEROS = {3: range(256), INT8: range(-128, 128)}
"""Zero points by type; 0 for all others."""


def check(content: bytes) -> None:
    """Look at all that an interpreter takes for granted.

    Raises:
        ValueError: something points where it should not; the message says what, in a few words.
    """
    try:
        _Check(content).run()
    except (struct.error, IndexError, MemoryError) as error:
        raise ValueError("truncated or overwritten") from error


class _Check:
    def __init__(self, content: bytes) -> None:
        self._model = Buffer(content).root()
        self._buffers = self._model.tables(4)
        self._graphs = self._model.tables(2)
        self._codes = self._model.tables(1)
        self._rules = OperatorRules(self._codes, len(self._graphs), lambda tensor: self._data(tensor.number(2, "i")))

    def run(self) -> None:
        need(self._model.number(0, "i") == 3, f"schema {self._model.number(0, 'i')}")
        for code in self._codes:
            code.data(1)  # the name of one that is not built in; LiteRT says that it has none of that name
        need(bool(self._buffers) and not self._data(0), "no empty first buffer")
        need(0 < len(self._graphs) <= MAX_GRAPHS, f"{len(self._graphs)} graphs")
        for number, graph in enumerate(self._graphs):
            self._check_graph(number, graph)
        for entry in self._model.tables(6):
            need(0 <= entry.number(1, "i") < len(self._buffers), f"metadata buffer {entry.number(1, 'i')}")
        for signature in self._model.tables(7):
            need(signature.number(4, "i") == 0, "a signature of another graph")
            for slot, edge in ((0, 1), (1, 2)):
                known = set(self._graphs[0].numbers(edge, "i"))
                need(all(e.number(1, "i") in known for e in signature.tables(slot)), "a signature beside the graph")

    def _check_graph(self, number: int, graph: Table) -> None:
        tensors = graph.tables(0)
        for index, tensor in enumerate(tensors):
            self._check_tensor(index, tensor)

        def exist(indices: Sequence[int], least: int = 0) -> Sequence[int]:
            need(all(least <= i < len(tensors) for i in indices), "a tensor that does not exist")
            return indices

        constant = [len(self._data(tensor.number(2, "i"))) > 0 for tensor in tensors]
        known = [constant[i] or tensor.number(5, "b") != 0 for i, tensor in enumerate(tensors)]
        for i in exist(graph.numbers(1, "i")):
            known[i] = True
        for operator in graph.tables(3):
            code = operator.number(0, "i")
            need(0 <= code < len(self._codes), f"operator code {code}")
            for i in exist(operator.numbers(1, "i"), least=-1):
                need(i < 0 or known[i], f"tensor {i} is read before it is written")
            exist(operator.numbers(8, "i"))
            for i in exist(operator.numbers(2, "i")):
                need(not constant[i], f"tensor {i} is a constant that is written")
                known[i] = True
            self._rules.check(number, tensors, operator)
        for i in exist(graph.numbers(2, "i")):
            need(known[i], f"output {i} is never written")

    def _check_tensor(self, index: int, tensor: Table) -> None:
        shape = tensor.numbers(0, "i")
        need(len(shape) <= MAX_RANK and min(shape, default=0) >= 0, f"shape of tensor {index}")
        need(not tensor.has(6) and not tensor.has(9), f"tensor {index} is sparse or a variant")
        kind = tensor.number(1, "b")
        need(kind in BITS, f"type of tensor {index}")
        bits = BITS[kind] * math.prod(shape)
        need(bits <= MAX_TENSOR_BITS, f"tensor {index} is too large")
        size = len(self._data(tensor.number(2, "i")))
        need(size in (0, (bits + 7) // 8), f"tensor {index} has {size} bytes of data")
        self._check_scales(index, shape, tensor)

    def _check_scales(self, index: int, shape: Sequence[int], tensor: Table) -> None:
        kind, quantization = tensor.number(1, "b"), tensor.table(4)
        scales = quantization.numbers(2, "f") if quantization else ()
        zeros = quantization.numbers(3, "q") if quantization else ()
        axis = quantization.number(6, "i") if quantization else 0
        need(bool(scales) or kind != INT8, f"tensor {index} has no scale")
        fits = len(scales) <= 1 or (0 <= axis < len(shape) and shape[axis] == len(scales))
        need(fits, f"scales of tensor {index}")
        need(all(LEAST_SCALE <= scale <= 1 / LEAST_SCALE for scale in scales), f"a scale of tensor {index}")
        possible = ZEROS.get(kind, range(1)) if len(scales) <= 1 else range(1)
        need(len(zeros) == len(scales) and all(z in possible for z in zeros), f"zero points of tensor {index}")

    def _data(self, buffer: int) -> memoryview:
        need(0 <= buffer < len(self._buffers), f"buffer {buffer}")
        table = self._buffers[buffer]
        need(table.number(1, "Q") <= 1 and table.number(2, "Q") <= 1, f"buffer {buffer} lies outside the flatbuffer")
        return table.data(0)
