"""Exact algebra on weights, before any graph exists."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Affine(NamedTuple):
    """A convolution's or dense layer's kernel with its bias, as one affine map."""

    kernel: Array
    bias: Array


def fold_batch_norm(
    kernel: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    epsilon: float,
    *,
    depthwise: bool = False,
) -> Affine:
    """Merge an inference batch norm into the convolution before it.

    `gamma * (conv(x, k) - mean) / sqrt(variance + eps) + beta = conv(x, k * s) + (beta - mean * s)` with
    `s = gamma / sqrt(variance + eps)` (Ioffe and Szegedy 2015, section 3.1). Computed in float64, rounded once.

    Args:
        kernel: [kh, kw, in, out], or [kh, kw, channels, 1] when `depthwise`.
        gamma: [channels], and so are `beta`, `mean` and `variance`.
        beta: shift.
        mean: moving mean.
        variance: moving variance.
        epsilon: added to the variance.
        depthwise: the scale then runs along the kernel's third axis.

    Returns:
        Kernel of the same shape and bias [channels], float32.
    """
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    bias = beta.astype(np.float64) - mean.astype(np.float64) * scale
    shaped = scale[:, None] if depthwise else scale
    return Affine((kernel.astype(np.float64) * shaped).astype(np.float32), bias.astype(np.float32))


class DepthwisePiece(NamedTuple):
    """A smaller depthwise kernel [rows, columns, channels, 1] and its dilation (rows, columns)."""

    kernel: Array
    dilation: tuple[int, int]


CORE = 5
MAX_TAPS = CORE * CORE


def split_depthwise(kernel: Array) -> list[DepthwisePiece]:
    """Write a large odd depthwise kernel as a sum of kernels of at most 25 taps, for stride 1 and `SAME` padding.

    XNNPACK's depthwise kernels stop at 25 taps; a larger one runs several times slower. A k x k kernel is its 5x5 core
    plus square rings. Ring r has two rows at offsets +-r and two columns at offsets +-r, and the taps along a row or
    column fall into two arithmetic progressions of step 2, those with r's parity and the others. Rows x progression is
    a small grid that dilation spells, such as {-3, 3} x {-3, -1, 1, 3}: 2x4 taps with dilation (6, 2). Each grid is
    symmetric about the centre, so `SAME` pads it as the large kernel was padded, no tap is added, and the sum of the
    pieces' results is the large kernel's result:
    7x7 = 5x5 + 2x4 (6, 2) + 2x3 (6, 2) + 3x2 (2, 6) + 2x2 (2, 6), 49 taps in all. Four of the five fit the 9-tap
    kernel, which makes this split faster than bands of rows or columns, and it needs neither padding nor slices.

    Args:
        kernel: [k, k, channels, 1] with k odd.

    Returns:
        The pieces; the kernel itself with dilation 1 where it is small, even or not square.
    """
    size = kernel.shape[0]
    if kernel.shape[0] * kernel.shape[1] <= MAX_TAPS or kernel.shape[0] != kernel.shape[1] or size % 2 == 0:
        return [DepthwisePiece(kernel, (1, 1))]
    centre = size // 2
    core = slice(centre - CORE // 2, centre + CORE // 2 + 1)
    pieces = [DepthwisePiece(kernel[core, core], (1, 1))]
    for radius in range(CORE // 2 + 1, centre + 1):
        pair = np.array([-radius, radius])
        outer, inner, innermost = (np.arange(-r, r + 1, 2) for r in (radius, radius - 1, radius - 2))
        grids = ((pair, outer), (pair, inner), (inner, pair), (innermost, pair))
        pieces.extend(_grid(kernel, rows, columns) for rows, columns in grids)
    return pieces


def _grid(kernel: Array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> DepthwisePiece:
    """The taps at these offsets from the centre, which are arithmetic progressions symmetric about 0."""
    centre = kernel.shape[0] // 2
    dilation = [int(offsets[1] - offsets[0]) if len(offsets) > 1 else 1 for offsets in (rows, columns)]
    return DepthwisePiece(kernel[np.ix_(rows + centre, columns + centre)], (dilation[0], dilation[1]))


def fold_classifier(
    kernel: Array, bias: Array, classifier_kernel: Array, classifier_bias: Array
) -> tuple[Affine, Affine]:
    """Compose the layer that makes mask kernels with the classifier whose output the kernels multiply.

    With e = h A + a the mask kernel and F W + b the per-pixel embedding, the logit is
    (F W + b) . e = F . (W e) + b . e, and both factors are affine in h:
    W e = h (A W^T) + a W^T and b . e = h (A b) + a . b.

    Args:
        kernel: A [hidden, E].
        bias: a [E].
        classifier_kernel: W [channels, E].
        classifier_bias: b [E].

    Returns:
        h -> W e, with kernel [hidden, channels], and h -> b . e, with kernel [hidden, 1].
    """

    def compose(columns: Array) -> Affine:
        wide = columns.astype(np.float64)
        return Affine((kernel @ wide).astype(np.float32), (bias @ wide).astype(np.float32))

    return compose(classifier_kernel.T), compose(classifier_bias[:, None])


def fold_input_scale(kernel: Array, scale: NDArray[np.floating]) -> Array:
    """Move a factor per input channel into the convolution behind it: (x s) * k = x * (s k).

    So the image's division by std moves into the first convolution. The subtraction of the mean cannot follow: the
    canvas and the `SAME` border are 0 after it.

    Args:
        kernel: [kh, kw, channels, filters].
        scale: [channels].
    """
    scaled: Array = (kernel * scale.astype(np.float64)[:, None]).astype(np.float32)
    return scaled


def centre_tap(kernel: Array, dilation: int, size: tuple[int, ...]) -> Array | None:
    """What is left of a dilated depthwise convolution of odd size, `SAME`, on a map no larger than its dilation.

    All taps but the centre then lie in the padding everywhere: y = x kernel[centre], a factor per channel.

    Args:
        kernel: [k, k, channels, 1].
        dilation: in both directions.
        size: (height, width) of the map.

    Returns:
        The factors [channels]; None where other taps reach the map.
    """
    if kernel.shape[0] % 2 == 0 or dilation < max(size):
        return None
    factors: Array = kernel[kernel.shape[0] // 2, kernel.shape[1] // 2, :, 0]
    return factors
