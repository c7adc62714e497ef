"""A graph, operation by operation, in the vocabulary of a backend."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from maskconver_mobile.converters.graph import operations
from maskconver_mobile.converters.graph.ir import Graph, Value

OPERATORS = {name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "lt", "gt")}


def emit(graph: Graph, backend: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Let a backend make every node.

    Args:
        graph: without composite operations.
        backend: has a method for each operation, and tensors with Python's operators.
        inputs: the backend's tensors by name.

    Returns:
        The backend's tensors by name.
    """
    known = {id(graph.inputs[name]): tensor for name, tensor in inputs.items()}
    return _emit(graph, backend, known)


def _emit(graph: Graph, backend: Any, known: dict[int, Any]) -> dict[str, Any]:
    def tensor(value: Value) -> Any:
        if value.constant is not None:
            return backend.constant(value.constant, value.dtype)
        return known[id(value)]

    for node in graph.nodes:
        inputs = [tensor(value) for value in node.inputs]
        if node.scopes:
            with backend.scope(node.scopes[0]):
                result = _apply(node.op, backend, inputs, known)
        else:
            result = _apply(node.op, backend, inputs, known)
        outputs = result if isinstance(result, tuple) else (result,)
        known.update((id(value), made) for value, made in zip(node.outputs, outputs, strict=True))
    return {name: tensor(value) for name, value in graph.outputs.items()}


def _apply(op: operations.Op, backend: Any, inputs: list[Any], known: dict[int, Any]) -> Any:
    match op:
        case operations.Binary(kind) if kind in OPERATORS:
            return OPERATORS[kind](*inputs)
        case operations.Unary(kind) | operations.Binary(kind):
            return getattr(backend, kind)(*inputs)
        case operations.Concat() | operations.All():
            return getattr(backend, op.method)(inputs, **op.attributes)
        case operations.Cond():
            branches = (_branch(graph, backend, known) for graph in (op.then, op.otherwise))
            return backend.cond(*inputs, *branches)
    return getattr(backend, op.method)(*inputs, **op.attributes)


def _branch(graph: Graph, backend: Any, known: dict[int, Any]) -> Any:
    return lambda: tuple(_emit(graph, backend, dict(known)).values())


def multiply_adds(graph: Graph) -> int:
    """Of the convolutions and products of a graph; of subgraphs, the larger branch's."""
    total = 0
    for node in graph.nodes:
        match node.op:
            case operations.Conv(kernel) | operations.Dense(kernel):
                total += kernel.size * int(np.prod(node.output.shape[:-1]))
            case operations.Depthwise(kernel):
                total += kernel.size * int(np.prod(node.output.shape[:-1]))
            case operations.Matmul() | operations.Linear():
                total += int(np.prod(node.output.shape)) * node.inputs[0].shape[-1]
            case operations.Cond(then, otherwise):
                total += max(multiply_adds(then), multiply_adds(otherwise))
    return total
