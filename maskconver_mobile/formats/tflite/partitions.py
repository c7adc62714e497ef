"""Which operators of a TFLite graph a delegate takes, and how many islands that makes."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

DELEGATE = "DELEGATE"

GPU_OPERATORS = frozenset(
    {
        "ABS",
        "ADD",
        "ARG_MAX",
        "AVERAGE_POOL_2D",
        "BATCH_MATMUL",
        "CAST",
        "CEIL",
        "CONCATENATION",
        "CONV_2D",
        "COS",
        "CUMSUM",
        "DEPTHWISE_CONV_2D",
        "DEQUANTIZE",
        "DIV",
        "ELU",
        "EQUAL",
        "EXP",
        "FLOOR",
        "FLOOR_DIV",
        "FLOOR_MOD",
        "FULLY_CONNECTED",
        "GATHER",
        "GELU",
        "GREATER",
        "GREATER_EQUAL",
        "HARD_SWISH",
        "L2_NORMALIZATION",
        "LEAKY_RELU",
        "LESS",
        "LESS_EQUAL",
        "LOG",
        "LOGICAL_AND",
        "LOGISTIC",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MEAN",
        "MINIMUM",
        "MIRROR_PAD",
        "MUL",
        "NEG",
        "NOT_EQUAL",
        "ONE_HOT",
        "PACK",
        "PAD",
        "PADV2",
        "POW",
        "PRELU",
        "QUANTIZE",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "RELU",
        "RELU6",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "RSQRT",
        "SELECT",
        "SELECT_V2",
        "SIGN",
        "SIN",
        "SLICE",
        "SOFTMAX",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SPLIT_V",
        "SQRT",
        "SQUARE",
        "SQUARED_DIFFERENCE",
        "STRIDED_SLICE",
        "SUB",
        "SUM",
        "TANH",
        "TILE",
        "TOPK_V2",
        "TRANSPOSE",
        "TRANSPOSE_CONV",
        "UNPACK",
    }
)
"""What LiteRT's GPU accelerator parses. Being on the list is necessary, not sufficient: shapes matter as well."""

GPU_TYPES = frozenset({"float32", "float16", "int8", "uint8"})
TYPES = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}


@dataclass(frozen=True)
class Partitions:
    """How a delegate would cut a graph.

    Attributes:
        count: islands that the delegate runs.
        largest: operators in the largest island.
        outside: operators that are left to the runtime's own kernels, by kind.
    """

    count: int
    largest: int
    outside: dict[str, int]


def xnnpack_partitions(content: bytes) -> Partitions:
    """Ask LiteRT itself: load the model on the CPU and see what its default delegate took.

    Raises:
        ValueError: LiteRT cannot load the model.
    """
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()
    islands = [node for node in nodes if node["op_name"] == DELEGATE]
    operators = [node for node in nodes if node["op_name"] != DELEGATE]
    producers = {int(t): i for i, node in enumerate(operators) for t in node["outputs"]}
    covered = [_between(operators, producers, island) for island in islands]
    inside = set().union(*covered)
    outside = Counter(node["op_name"] for i, node in enumerate(operators) if i not in inside)
    return Partitions(len(islands), max(map(len, covered), default=0), dict(outside.most_common()))


def _between(operators: list[dict[str, Any]], producers: dict[int, int], island: dict[str, Any]) -> set[int]:
    """The operators on the way from an island's outputs back to its inputs."""
    stop = {int(t) for t in island["inputs"]}
    pending = [int(t) for t in island["outputs"]]
    found: set[int] = set()
    while pending:
        tensor = pending.pop()
        producer = producers.get(tensor)
        if tensor in stop or producer is None or producer in found:
            continue
        found.add(producer)
        pending.extend(int(t) for t in operators[producer]["inputs"] if t >= 0)
    return found


def gpu_partitions(content: bytes) -> Partitions:
    """A static check against the operators and tensors that LiteRT's GPU accelerator knows; no GPU is needed or asked.

    Being known is necessary, not sufficient. An operator that reads or writes integers which are no constants is left
    outside, under its kind and their type. Islands are runs of known operators in execution order.

    Raises:
        ValueError: the graph has an operator that no runtime knows.
    """
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    numbers = [max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) for code in codes]
    if unknown := [number for number in numbers if number not in names]:
        raise ValueError(f"unknown operator {unknown[0]}")
    kinds = [names[number] for number in numbers]
    runs, outside = [0], Counter[str]()
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        kind, foreign = kinds[operator.OpcodeIndex()], _foreign_type(model, graph, operator)
        if kind in GPU_OPERATORS and not foreign:
            runs[-1] += 1
            continue
        outside[f"{kind} of {foreign}" if kind in GPU_OPERATORS else kind] += 1
        if runs[-1]:
            runs.append(0)
    lengths = [length for length in runs if length]
    return Partitions(len(lengths), max(lengths, default=0), dict(outside.most_common()))


def _foreign_type(model: Any, graph: Any, operator: Any) -> str:
    """A type that a GPU does not compute with among an operator's tensors, constants aside; empty if there is none."""
    read = [operator.Inputs(i) for i in range(operator.InputsLength())]
    tensors = [graph.Tensors(i) for i in read if i >= 0]
    computed = [tensor for tensor in tensors if not model.Buffers(tensor.Buffer()).DataLength()]
    written = [graph.Tensors(operator.Outputs(i)) for i in range(operator.OutputsLength())]
    types = (TYPES[tensor.Type()] for tensor in (*computed, *written))
    return next((name for name in types if name not in GPU_TYPES), "")
