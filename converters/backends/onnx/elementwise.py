"""The element-wise operations of a graph, as ONNX nodes."""

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maskconver_mobile.converters.backends.onnx.graph import OnnxGraph
from maskconver_mobile.converters.backends.onnx.tensor import OnnxTensor, elementwise


class OnnxElementwise:
    """Operations that look at one value, or one of each operand, at a time."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph

    def _unary(self, kind: str, x: OnnxTensor) -> OnnxTensor:
        return replace(x, name=self.graph.node(kind, [x.stored()]))

    def relu(self, x: OnnxTensor) -> OnnxTensor:
        """max(x, 0)."""
        return self._unary("Relu", x)

    def relu6(self, x: OnnxTensor) -> OnnxTensor:
        """min(max(x, 0), 6)."""
        return self.clip(x, 0, 6)

    def clip(self, x: OnnxTensor, low: int, high: int) -> OnnxTensor:
        """min(max(x, low), high)."""
        bounds = [self.graph.constant(np.array(bound, x.dtype)) for bound in (low, high)]
        return replace(x, name=self.graph.node("Clip", [x.stored(), *bounds]))

    def clip01(self, x: OnnxTensor) -> OnnxTensor:
        """min(max(x, 0), 1)."""
        return self.clip(x, 0, 1)

    def abs(self, x: OnnxTensor) -> OnnxTensor:
        """The magnitude."""
        return self._unary("Abs", x)

    def log(self, x: OnnxTensor) -> OnnxTensor:
        """The natural logarithm."""
        return self._unary("Log", x)

    def ceil(self, x: OnnxTensor) -> OnnxTensor:
        """The next integer up."""
        return self._unary("Ceil", x)

    def maximum(self, a: OnnxTensor, b: OnnxTensor) -> OnnxTensor:
        """Element-wise maximum, with broadcasting."""
        return elementwise("Max", a, b)

    def minimum(self, a: OnnxTensor, b: OnnxTensor) -> OnnxTensor:
        """Element-wise minimum, with broadcasting."""
        return elementwise("Min", a, b)

    def sigmoid(self, x: OnnxTensor) -> OnnxTensor:
        """1 / (1 + exp(-x))."""
        return self._unary("Sigmoid", x)

    def sqrt(self, x: OnnxTensor) -> OnnxTensor:
        """The square root."""
        return self._unary("Sqrt", x)

    def swish(self, x: OnnxTensor) -> OnnxTensor:
        """X sigmoid(x)."""
        return x * self.sigmoid(x)

    def hard_sigmoid(self, x: OnnxTensor) -> OnnxTensor:
        """With the constant that the original has, which is not 1/6."""
        return self.relu6(x + 3.0) * 0.16667

    def hard_swish(self, x: OnnxTensor) -> OnnxTensor:
        """X relu6(x + 3) / 6."""
        return self._unary("HardSwish", x)

    def gelu(self, x: OnnxTensor) -> OnnxTensor:
        """X Phi(x), in the form that runtimes know as Gelu."""
        return x * (self._unary("Erf", x * float(np.sqrt(0.5))) + 1.0) * 0.5

    def gelu_tanh(self, x: OnnxTensor) -> OnnxTensor:
        """The approximation by tanh."""
        inner = (x + x * x * x * 0.044715) * float(np.sqrt(2 / np.pi))
        return x * (self._unary("Tanh", inner) + 1.0) * 0.5

    def where(self, condition: OnnxTensor, a: OnnxTensor, b: OnnxTensor) -> OnnxTensor:
        """A where the condition holds, else b."""
        return elementwise("Where", condition, a, b)

    def equal(self, a: OnnxTensor, b: OnnxTensor) -> OnnxTensor:
        """Element-wise equality, with broadcasting."""
        return elementwise("Equal", a, b, dtype=np.bool_)

    def all(self, conditions: Sequence[OnnxTensor]) -> OnnxTensor:
        """Element-wise conjunction."""
        return functools.reduce(functools.partial(elementwise, "And"), conditions)
