"""Biases that join a finished sum, for the sake of float16."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from maskconver_mobile.converters.flatbuffer import Flatbuffer

LAYERS = (
    "backbone/layer_with_weights-1/_conv0",
    "backbone/layer_with_weights-1/_conv2",
    "backbone/layer_with_weights-2/_conv2",
)
"""What the first blocks round away in float16, all others carry on: these gain most by it."""


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
        none, late = (
            flatbuffer.add_tensor(f"{name}/{n}", [len(bias)], v) for n, v in (("none", bias * 0), ("late", bias))
        )
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
