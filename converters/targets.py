"""Which exact rewrites of the graph suit which kernels. All of them leave the answer as it was."""

from dataclasses import dataclass, fields, replace
from typing import Literal

Target = Literal["cpu", "arm", "gpu", "reference"]
Format = Literal["tflite", "onnx"]

NEVER = -65000.0
"""The class logit of padded channels: below all that suppression leaves, and still a float16 number."""


@dataclass(frozen=True)
class Rewrites:
    """Each can be switched on alone; the algebra of each stands where it is done.

    Attributes:
        split_depthwise: depthwise kernels over 25 taps become sums of smaller ones (`folding.split_depthwise`).
        banded_depthwise: depthwise convolutions become products with banded matrices (`onnx_banded.py`).
        fold_pooled_branch: the ASPP's image-level branch enters the projection as a bias (`layers.project`), and
            branches that read the same map are one layer (`network.join_branches`).
        sum_projection: the other branches' products are summed instead of joining their maps (`layers.project`).
        fold_centre_tap: a dilated depthwise convolution that sees nothing but padding around its centre enters the
            1x1 convolution behind it (`folding.centre_tap`).
        fold_normalisation: the division by std moves into the first convolution (`network.backbone`).
        interleaved_image: the channels of the image stay side by side (`graph.normalised`, and in ONNX
            `onnx_ops.OnnxOps.conv`).
        late_bias: where float16 would lose most by it, a bias is added to the finished sum (`late_bias.py`).
        blocked_sums: the class map's sum over channels is made of sums of blocks, for the sake of float16
            (`layers.blocked`).
        padded_classes: the class map gets channels that never win, up to a number that kernels are fast at
            (`network.Head.padded`).
        lazy_embeddings: the mask embedding head's last layers run on K gathered rows (`fast.gather_embeddings`).
        lazy_depthwise: so does the depthwise convolution before those, on the windows that it sees
            (`fast.gather_embeddings`).
        lazy_windows: where that pays, so do the layers before it, too (`fast.gather_embeddings`).
        fold_classifier: the per-pixel head's last layer moves into the mask kernels (`fast.mask_logits`).
        two_stage_top_k: peaks on logits, and top-K of parts before that of the whole (`fast.proposals`).
        log_merits: without `fast_merge`, the merge compares logarithms, for the sake of float16
            (`postprocess.panoptic`).
        fast_merge: the panoptic merge compares the masks that can win a cell, not all of them (`fast_merge.panoptic`).
            It needs operators that only LiteRT's CPU kernels have: IF, and SCATTER_ND that sums.
    """

    split_depthwise: bool = False
    banded_depthwise: bool = False
    fold_pooled_branch: bool = False
    sum_projection: bool = False
    fold_centre_tap: bool = False
    fold_normalisation: bool = False
    interleaved_image: bool = False
    late_bias: bool = False
    blocked_sums: bool = False
    padded_classes: bool = False
    lazy_embeddings: bool = False
    lazy_depthwise: bool = False
    lazy_windows: bool = False
    fold_classifier: bool = False
    two_stage_top_k: bool = False
    log_merits: bool = False
    fast_merge: bool = False


_CPU = Rewrites(**{field.name: True for field in fields(Rewrites)})

TARGETS: dict[Target, Rewrites] = {
    "reference": Rewrites(),
    "cpu": replace(_CPU, banded_depthwise=False),
    "arm": _CPU,
    "gpu": replace(_CPU, banded_depthwise=False, split_depthwise=False, fast_merge=False),
}


def rewrites(target: Target, format: Format) -> Rewrites:
    """The rewrites for a target in the runtime that reads the format.

    ONNX Runtime has a depthwise kernel for any size, which the split would only burden with more passes over memory.
    It keeps maps in planes, which would have to be transposed before windows are picked. Its convolutions add what they
    are given as they write; LiteRT's would leave every sum to an operator of its own.
    A folded centre tap saves it a launch; LiteRT gains nothing, and one scale for all channels suits int8 less.
    Its ARM kernels gather every tap of a depthwise convolution, x86 kernels do not: so target arm is one of its own.
    A GPU or NPU that pads few channels to many would lose on an image of one plane.
    """
    chosen = TARGETS[target]
    if format == "onnx":
        chosen = replace(chosen, late_bias=False, blocked_sums=False, padded_classes=False, lazy_depthwise=False)
        return replace(chosen, split_depthwise=False, interleaved_image=target in ("cpu", "arm"))
    return replace(chosen, banded_depthwise=False, sum_projection=False, fold_centre_tap=False)
