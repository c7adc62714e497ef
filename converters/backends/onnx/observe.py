"""What the tensors of an ONNX model hold on calibration images."""

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray

from maskconver_mobile.converters.quantization.calibration import Tensor


def observe(
    model: onnx.ModelProto,
    names: Sequence[str],
    inputs: Sequence[Tensor],
    look: Callable[[str, NDArray[Any]], None],
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Run a float model and look at its tensors.

    Args:
        model: with the shapes of all its tensors.
        names: of tensors that operators compute.
        inputs: tensors of the type that it takes.
        look: called with name and values of each tensor for each input.
        on_image: called after each input.
    """
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    wanted = set(names)
    probed.graph.output.extend(value for value in model.graph.value_info if value.name in wanted)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(probed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for tensor in inputs:
        found = session.run(list(names), {"image": tensor}) if names else []  # no names mean all outputs to it
        for name, values in zip(names, found, strict=True):
            look(name, values)
        on_image()
