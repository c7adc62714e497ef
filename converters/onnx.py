"""Configuration and weights -> one ONNX file with its card inside."""

from typing import Literal, cast

import numpy as np
import onnx
from onnx import helper

from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.graph import GraphSpec, build
from maskconver_mobile.converters.onnx_graph import OnnxGraph
from maskconver_mobile.converters.onnx_ops import OnnxOps
from maskconver_mobile.converters.onnx_tensor import OnnxTensor
from maskconver_mobile.converters.ops import TensorFlowOps

Precision = Literal["float32", "float16"]


def to_onnx(config: ModelConfig, weights: Weights, spec: GraphSpec, precision: Precision = "float32") -> bytes:
    """Build the graph; the model has no card yet.

    `float16` halves the file: weights are stored in half precision with a Cast behind each, which every runtime folds
    when it loads the model, so that all of them compute in float32 and none needs half precision kernels.
    """
    graph = OnnxGraph(half=precision == "float16")
    shape = (1, *config.input_size, 3)
    image = OnnxTensor(graph, "image", shape, np.dtype(spec.input_type)).laid_out(True)
    ops = OnnxOps(graph)
    found = build(config, weights, spec)(cast(TensorFlowOps, ops), image)
    outputs = {}
    for name, tensor in found.items():
        dtype = np.dtype(np.int32) if tensor.dtype.kind == "i" else tensor.dtype
        public = tensor.laid_out(False).cast(dtype)
        outputs[name] = (public.stored(), _type(dtype, public.shape))
    model = graph.model({"image": _type(np.dtype(spec.input_type), shape)}, outputs)
    return model.SerializeToString(deterministic=True)


def _type(dtype: "np.dtype[np.generic]", shape: tuple[int, ...]) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(dtype), shape)
