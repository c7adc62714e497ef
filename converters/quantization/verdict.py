"""What is said of a quantized model: how much of the float one's answer it keeps, and why to doubt it."""

from maskconver_mobile.card import ModelCard, Verdict
from maskconver_mobile.converters.quantization.calibration import CalibrationSet
from maskconver_mobile.converters.quantization.recipes import find_recipe
from maskconver_mobile.evaluation.comparison import PROPOSAL_TENSORS, Comparison
from maskconver_mobile.formats.runtimes import HEADS

ENOUGH = 0.95
"""Of the stable pixels."""
SNR = ".snr_db"


def verdict_of(comparison: Comparison, *, held_aside: bool) -> Verdict:
    """The means of a comparison, shares to 4 decimals and dB to 1; of images that were `held_aside` or not."""
    means = {name: found.mean for name, found in comparison.summary().items()}
    tensors = [name for name in HEADS if name + SNR in means] or PROPOSAL_TENSORS
    stable = means.get("stable_agreement")
    return Verdict(
        images=len(comparison.images),
        held_aside=held_aside,
        agreement=round(means["pixel_agreement"], 4),
        stable_agreement=None if stable is None else round(stable, 4),
        segment_overlap=round(means["segment_overlap"], 4),
        snr_db={name: round(means[name + SNR], 1) for name in tensors if name + SNR in means},
    )


def doubts(card: ModelCard, data: CalibrationSet, judged: CalibrationSet, *, searched: bool = False) -> tuple[str, ...]:
    """Why a quantized model may be bad, or nobody knows; empty where nothing speaks against it.

    Args:
        card: of the quantized model.
        data: what it was calibrated on.
        judged: what its verdict was measured on.
        searched: whether float layers were chosen by the same images.
    """
    if card.verdict is None:
        return ("nothing was measured; give images with --gate to learn how much of the answer is kept",)
    found, count = [], len(judged.inputs)
    unlike = data.unlike(judged) if data.inputs else 0
    if unlike > count / 2:
        found.append(f"{unlike} of {count} images checked look unlike all calibration images; calibrate on such, too")
    if searched:
        found.append(f"the {count} images of the verdict chose the float layers, too; on others less may be kept")
    stable = card.verdict.stable_agreement
    if stable is not None and stable < ENOUGH:
        ways = ["recipe int8-balanced"] if card.recipe == "int8" else []
        calibrated = find_recipe(card.recipe).activation_bits
        ways += (
            ["more calibration images", "--target-agreement", "--keep-float (--analyse names layers)"]
            if calibrated
            else ["--keep-float"]
        )
        found.append(f"only {stable:.1%} of the stable pixels keep their category; try {', '.join(ways)}")
    return tuple(found)
