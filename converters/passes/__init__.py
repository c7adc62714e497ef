"""Exact rewrites of the graph: one file, one function, one line here. None of them changes the answer.

A pass takes a builder and returns in how many places it did something. It is off until it is listed.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from maskconver_mobile.card import AppliedPass
from maskconver_mobile.converters.graph.builder import GraphBuilder
from maskconver_mobile.converters.graph.emit import multiply_adds
from maskconver_mobile.converters.passes.block_sums import block_sums
from maskconver_mobile.converters.passes.crop_kernels import crop_kernels
from maskconver_mobile.converters.passes.fold_batch_norm import fold_batch_norm
from maskconver_mobile.converters.passes.fold_center_tap import fold_center_tap
from maskconver_mobile.converters.passes.fold_channel_scale import fold_channel_scale
from maskconver_mobile.converters.passes.fold_classifier import fold_classifier
from maskconver_mobile.converters.passes.fold_input_scale import fold_input_scale
from maskconver_mobile.converters.passes.fold_pooled_branch import fold_pooled_branch
from maskconver_mobile.converters.passes.fold_unit_depthwise import fold_unit_depthwise
from maskconver_mobile.converters.passes.fuse_activation import fuse_activation
from maskconver_mobile.converters.passes.interleave_image import interleave_image
from maskconver_mobile.converters.passes.join_branches import join_branches
from maskconver_mobile.converters.passes.lower_batch_norm import lower_batch_norm
from maskconver_mobile.converters.passes.lower_panoptic import (
    lower_panoptic,
    lower_panoptic_by_logarithms,
    lower_panoptic_in_cells,
)
from maskconver_mobile.converters.passes.lower_proposals import lower_proposals, lower_proposals_fast
from maskconver_mobile.converters.passes.pad_classes import pad_classes
from maskconver_mobile.converters.passes.pick_levels import pick_levels
from maskconver_mobile.converters.passes.pick_windows import pick_few_windows, pick_windows
from maskconver_mobile.converters.passes.sink_picks import sink_picks
from maskconver_mobile.converters.passes.split_depthwise import split_depthwise
from maskconver_mobile.converters.passes.sum_projection import sum_projection
from maskconver_mobile.converters.passes.sum_upsampled import sum_upsampled
from maskconver_mobile.converters.spec import Target

Format = Literal["tflite", "onnx"]
Pass = Callable[[GraphBuilder], int]

PLAIN: tuple[Pass, ...] = (fold_batch_norm, lower_batch_norm, fold_channel_scale, fuse_activation)
"""What every runtime's own converter does, too."""

TFLITE: tuple[Pass, ...] = (
    *PLAIN,
    fold_input_scale,
    interleave_image,
    fold_unit_depthwise,
    fold_pooled_branch,
    join_branches,
    sum_upsampled,
    fold_classifier,
    sink_picks,
    pick_windows,
    sink_picks,
    pick_levels,
    crop_kernels,
    pad_classes,
    block_sums,
)
# A folded center tap saves ONNX Runtime a launch; LiteRT gains nothing, and one scale for all channels suits int8 less.
# ONNX Runtime's convolutions add what they are given as they write; LiteRT's would leave every sum to an operator of
# its own. It keeps maps in planes, which would have to be transposed before windows are picked.
ONNX: tuple[Pass, ...] = (
    fold_unit_depthwise,
    fold_center_tap,
    fold_pooled_branch,
    join_branches,
    sum_projection,
    sum_upsampled,
    fold_classifier,
    sink_picks,
    pick_few_windows,
    sink_picks,
    pick_levels,
    crop_kernels,
)
CPU_TAIL: tuple[Pass, ...] = (lower_proposals_fast, lower_panoptic_in_cells)
GPU_TAIL: tuple[Pass, ...] = (lower_proposals_fast, lower_panoptic_by_logarithms)

PIPELINES: dict[tuple[Target, Format], tuple[Pass, ...]] = {
    ("reference", "tflite"): (*PLAIN, lower_proposals, lower_panoptic),
    ("reference", "onnx"): (*PLAIN, lower_proposals, lower_panoptic),
    ("cpu", "tflite"): (*TFLITE, split_depthwise, *CPU_TAIL),
    ("arm", "tflite"): (*TFLITE, split_depthwise, *CPU_TAIL),
    # GPUs have a kernel for any depthwise convolution, and no conditions; so has ONNX Runtime.
    ("gpu", "tflite"): (*TFLITE, *GPU_TAIL),
    ("cpu", "onnx"): (*PLAIN, fold_input_scale, interleave_image, *ONNX, *CPU_TAIL),
    # Its ARM kernels gather every tap of a depthwise convolution: the backend writes bands for them (`onnx_banded`),
    # and windows cost less than even those.
    ("arm", "onnx"): (
        *PLAIN,
        fold_input_scale,
        interleave_image,
        *(pick_windows if each is pick_few_windows else each for each in ONNX),
        *CPU_TAIL,
    ),
    # A GPU or NPU that pads few channels to many would lose on an image of one plane.
    ("gpu", "onnx"): (*PLAIN, fold_input_scale, *ONNX, *GPU_TAIL),
}


def run(builder: GraphBuilder, passes: Sequence[Pass]) -> list[AppliedPass]:
    """Apply passes in order, and drop what nothing needs; the first entry of the record is the graph before."""
    done = [AppliedPass("network", len(builder.graph.nodes), multiply_adds(builder.graph))]
    for each in passes:
        places = each(builder)
        builder.graph.prune()
        done.append(AppliedPass(each.__name__, places, multiply_adds(builder.graph)))
    builder.graph.verify()
    return done
