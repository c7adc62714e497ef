"""Each rewrite of weights against the plain computation it stands for, in float64."""

import numpy as np
import pytest
from numpy.typing import NDArray

from maskconver_mobile.converters.folding import (
    centre_tap,
    fold_batch_norm,
    fold_classifier,
    fold_input_scale,
    split_depthwise,
)

RNG = np.random.default_rng(0)


def normal(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def depthwise(x: NDArray[np.float64], kernel: NDArray[np.float32], dilation: tuple[int, int]) -> NDArray[np.float64]:
    """`SAME` depthwise convolution of [h, w, c], tap by tap."""
    rows, columns = kernel.shape[:2]
    spans = [(size - 1) * step for size, step in zip((rows, columns), dilation, strict=True)]
    padded = np.pad(x, [*((s // 2, s - s // 2) for s in spans), (0, 0)])
    height, width, _ = x.shape
    y = np.zeros_like(x)
    for i in range(rows):
        for j in range(columns):
            top, left = i * dilation[0], j * dilation[1]
            y += padded[top : top + height, left : left + width] * kernel[i, j, :, 0]
    return y


@pytest.mark.parametrize("size", [7, 9, 11, 13])
def test_split_depthwise_is_exact(size: int) -> None:
    kernel, x = normal(size, size, 3, 1), RNG.normal(size=(17, 10, 3))
    pieces = split_depthwise(kernel)
    total = sum(depthwise(x, piece.kernel, piece.dilation) for piece in pieces)
    np.testing.assert_allclose(total, depthwise(x, kernel, (1, 1)), atol=1e-12)
    assert max(piece.kernel.shape[0] * piece.kernel.shape[1] for piece in pieces) <= 25
    assert sum(piece.kernel[..., 0, 0].size for piece in pieces) == size * size


@pytest.mark.parametrize("shape", [(3, 3), (5, 5), (6, 6), (7, 3)])
def test_small_even_and_oblong_kernels_stay_whole(shape: tuple[int, int]) -> None:
    kernel = normal(*shape, 2, 1)
    (piece,) = split_depthwise(kernel)
    assert piece.kernel is kernel
    assert piece.dilation == (1, 1)


@pytest.mark.parametrize("depthwise_kernel", [False, True])
def test_fold_batch_norm(depthwise_kernel: bool) -> None:
    channels = 5
    kernel = normal(3, 3, channels, 1) if depthwise_kernel else normal(1, 1, 4, channels)
    gamma, beta, mean = normal(channels), normal(channels), normal(channels)
    variance = np.abs(normal(channels))
    folded = fold_batch_norm(kernel, gamma, beta, mean, variance, 1e-3, depthwise=depthwise_kernel)

    def apply(k: NDArray[np.float32]) -> NDArray[np.float64]:
        rng = np.random.default_rng(1)
        if depthwise_kernel:
            return depthwise(rng.normal(size=(6, 6, channels)), k, (1, 1))
        return np.asarray(rng.normal(size=(6, 6, 4)) @ k[0, 0])

    expected = gamma * (apply(kernel) - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(apply(folded.kernel) + folded.bias, expected, atol=1e-5)


def test_fold_classifier() -> None:
    hidden, features = normal(6, 8), normal(11, 7)
    kernel, bias, classifier, offset = normal(8, 5), normal(5), normal(7, 5), normal(5)
    expected = (features @ classifier + offset) @ (hidden @ kernel + bias).T
    kernels, offsets = fold_classifier(kernel, bias, classifier, offset)
    found = features @ (hidden @ kernels.kernel + kernels.bias).T + (hidden @ offsets.kernel + offsets.bias).T
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_fold_input_scale() -> None:
    kernel, x, scale = normal(3, 3, 3, 4), normal(3, 3, 3), normal(3)
    folded = fold_input_scale(kernel, scale)
    np.testing.assert_allclose(np.einsum("ijc,ijcf", x, folded), np.einsum("ijc,ijcf", x * scale, kernel), atol=1e-5)


@pytest.mark.parametrize(("dilation", "alone"), [(5, False), (6, True), (18, True)])
def test_centre_tap(dilation: int, alone: bool) -> None:
    kernel, x = normal(3, 3, 4, 1), normal(6, 5, 4)
    factors = centre_tap(kernel, dilation, (6, 5))
    assert (factors is not None) == alone
    if factors is not None:
        np.testing.assert_allclose(x * factors, depthwise(x, kernel, (dilation, dilation)), rtol=1e-6)
