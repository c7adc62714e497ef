"""Biases that join a finished sum, for the sake of float16."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from maskconver_mobile.converters.backends.tflite.flatbuffer import Flatbuffer

LAYERS = (
    "backbone/layer_with_weights-1/_conv0",
    "backbone/layer_with_weights-1/_conv2",
    "backbone/layer_with_weights-2/_conv2",
    "class_head/_classifier/BiasAdd",
)
"""What the first blocks round away in float16, all others carry on: these gain most by it. The classifier's bias is
larger than what it leaves of a peak."""
LATE = "/late_bias"
"""How the names of such biases end."""


def add_biases_late(content: bytes) -> bytes:
    """Let an ADD behind each of the convolutions `LAYERS` add the bias and do the activation.

    Kernels start a sum with the bias: in float16 a large one costs all products after it their last bits. The converter
    would merge such an ADD into the convolution, so this is done to its result.
    """
    flatbuffer = Flatbuffer(content)
    operators = []
    for operator in flatbuffer.graph.operators:
        operators.append(operator)
        output = int(operator.outputs[0])
        if flatbuffer.kind(operator) != "CONV_2D" or not flatbuffer.name(output).startswith(LAYERS):
            continue
        name, bias = flatbuffer.name(output), flatbuffer.constant(operator.inputs[2])
        total = flatbuffer.add_tensor(f"{name}/sum", flatbuffer.shape(output))
        none = flatbuffer.add_tensor(f"{name}/none", [len(bias)], bias * 0)
        late = flatbuffer.add_tensor(f"{name}{LATE}", [len(bias)], bias)
        operator.inputs = np.array([*operator.inputs[:2], none], np.int32)
        operator.outputs = np.array([total], np.int32)
        add = flatbuffer.operator(schema.BuiltinOperator.ADD, [total, late], output)
        add.builtinOptionsType, add.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
        options = operator.builtinOptions
        add.builtinOptions.fusedActivationFunction = options.fusedActivationFunction
        options.fusedActivationFunction = schema.ActivationFunctionType.NONE
        operators.append(add)
    flatbuffer.graph.operators = operators
    return flatbuffer.to_bytes()


def add_biases_early(content: bytes) -> bytes:
    """The reverse, for integer kernels: they would round what is short of its bias once more."""
    flatbuffer = Flatbuffer(content)
    convolutions = {int(op.outputs[0]): op for op in flatbuffer.graph.operators if flatbuffer.kind(op) == "CONV_2D"}
    operators = []
    for operator in flatbuffer.graph.operators:
        convolution = convolutions.get(int(operator.inputs[0])) if flatbuffer.kind(operator) == "ADD" else None
        if convolution is None or not flatbuffer.name(int(operator.inputs[1])).endswith(LATE):
            operators.append(operator)
            continue
        convolution.inputs = np.array([*convolution.inputs[:2], operator.inputs[1]], np.int32)
        convolution.outputs = operator.outputs
        convolution.builtinOptions.fusedActivationFunction = operator.builtinOptions.fusedActivationFunction
    flatbuffer.graph.operators = operators
    return flatbuffer.to_bytes()
