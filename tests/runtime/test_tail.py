"""The host's half of `heads` graphs."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from maskconver_mobile.card import HeadsRule
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.inference.tail import ACTIVATIONS, Tail, find_proposals, finish_heads, sigmoid


def test_proposals_equal_the_original_s(data: Path) -> None:
    golden = np.load(data / "tiny_96" / "golden.npz")
    for i, heatmap in enumerate(golden["class_heatmaps"]):
        classes, scores, locations = find_proposals(heatmap, 12)
        np.testing.assert_array_equal(classes, golden["classes"][i])
        np.testing.assert_allclose(scores, golden["confidence"][i], atol=1e-5)
        np.testing.assert_array_equal(np.stack(np.divmod(locations, 12), -1), golden["embedding_indices"][i])


def test_ties_take_the_lower_index() -> None:
    heatmap = np.full((4, 5, 3), -9.0, np.float32)
    for y, x, c in ((3, 1, 0), (0, 0, 2), (0, 3, 1)):
        heatmap[y, x, c] = 2.0
    classes, scores, locations = find_proposals(heatmap, 3)
    assert locations.tolist() == [0, 3, 16]
    assert classes.tolist() == [2, 1, 0]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-2.0)), rtol=1e-6)


def test_fewer_peaks_than_proposals() -> None:
    heatmap = np.zeros((3, 3, 2), np.float32)
    heatmap[1, 1] = 5.0
    _, scores, _ = find_proposals(heatmap, 4)
    assert (scores > 0).sum() == 2


def test_sigmoid_does_not_overflow() -> None:
    x = np.array([-1e4, -1.0, 0.0, 1.0, 1e4], np.float32)
    np.testing.assert_allclose(sigmoid(x), [0, 0.26894143, 0.5, 0.7310586, 1], rtol=1e-6)


def random_tail(size: int = 4) -> Tail:
    rng = np.random.default_rng(0)
    shapes = ((7, size), (2, size, size), (2, size), (size,), (size,))
    return Tail(*(rng.normal(size=s).astype(np.float32) for s in shapes))


def test_round_trip() -> None:
    tail = random_tail()
    again = Tail.from_bytes(tail.to_bytes(), "m", 7)
    for name, value in vars(tail).items():
        np.testing.assert_array_equal(getattr(again, name), value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_damaged_tail(content: bytes) -> None:
    with pytest.raises(MaskConverError, match=r"m\.tflite: the weights behind its heads are damaged"):
        Tail.from_bytes(content, "m.tflite", 7)


def test_shapes_that_do_not_fit() -> None:
    tail = random_tail()
    broken = Tail(tail.class_embeddings, tail.kernels[:, :2], tail.biases, tail.gamma, tail.beta)
    with pytest.raises(MaskConverError, match="damaged"):
        Tail.from_bytes(broken.to_bytes(), "m", 7)


def test_a_deflated_tail_is_refused_before_it_grows() -> None:
    """Zeros deflate a thousandfold."""
    tail = random_tail()
    large = Tail(np.zeros((1 << 20, 4), np.float32), *(v for n, v in vars(tail).items() if n != "class_embeddings"))
    content = io.BytesIO()
    np.savez_compressed(content, **vars(large))
    assert len(content.getvalue()) < 100_000
    with pytest.raises(MaskConverError, match="damaged"):
        Tail.from_bytes(content.getvalue(), "m", 1 << 20)


@pytest.mark.parametrize("classes", [6, 8, 1 << 14])
def test_other_rows_than_classes_are_refused(classes: int) -> None:
    with pytest.raises(MaskConverError, match="damaged"):
        Tail.from_bytes(random_tail().to_bytes(), "m", classes)


def test_a_header_that_promises_more_than_there_is() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(random_tail().to_bytes())) as good, zipfile.ZipFile(content, "w") as bad:
        for name in good.namelist():
            bad.writestr(name, good.read(name).replace(b"(7, 4), ", b"(9999, 9999), ").replace(b"(4,), ", b"(4096,), "))
    with pytest.raises(MaskConverError, match="damaged"):
        Tail.from_bytes(content.getvalue(), "m", 7)


def test_doubles_are_refused() -> None:
    tail = random_tail()
    content = io.BytesIO()
    np.savez(content, **{name: value.astype(np.float64) for name, value in vars(tail).items()})
    with pytest.raises(MaskConverError, match="damaged"):
        Tail.from_bytes(content.getvalue(), "m", 7)


LEVELS = ((6, 4), (3, 2), (2, 1))


def test_peaks_are_those_of_each_level() -> None:
    heatmap = np.random.default_rng(3).normal(size=(32, 1, 5)).astype(np.float32)
    classes, scores, locations = find_proposals(heatmap, 9, LEVELS)
    best = []
    for (height, width), rows, offset in zip(LEVELS, np.split(heatmap, (24, 30)), (0, 24, 30), strict=True):
        found = find_proposals(rows.reshape(height, width, 5), min(9, rows.size))
        best += [(-s, offset + place, c) for c, s, place in zip(*found, strict=True) if s > 0]
    best = sorted(best)[:9]
    assert [(place, c) for _, place, c in best] == list(zip(locations.tolist(), classes.tolist(), strict=True))
    np.testing.assert_array_equal(scores, [-s for s, _, _ in best])


def wide_tail() -> Tail:
    rng = np.random.default_rng(1)
    shapes = ((7, 4), (4, 6), (6, 4), (6,), (4,), (6,), (6,))
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    return Tail(arrays[0], arrays[1:3], arrays[3:5], *arrays[5:])


def test_layers_of_two_widths() -> None:
    tail = wide_tail()
    again = Tail.from_bytes(tail.to_bytes(), "m", 7)
    for name, value in vars(tail).items():
        for a, b in zip(getattr(again, name), value, strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(MaskConverError, match="damaged"):
        Tail.from_bytes(tail.to_bytes(), "m", 8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_sums_of_embeddings_of_several_levels(activation: str) -> None:
    tail, rng = wide_tail(), np.random.default_rng(2)
    heatmap, embeddings, pixels = (
        rng.normal(size=shape).astype(np.float32) for shape in ((1, 32, 1, 7), (1, 32, 1, 4), (1, 3, 5, 4))
    )
    rule = HeadsRule(LEVELS, "sum", activation)
    classes, scores, logits = finish_heads(heatmap, embeddings, pixels, tail, 5, rule)
    _, _, places = find_proposals(heatmap[0], 5, LEVELS)
    x = (embeddings[0, places, 0] + tail.class_embeddings[classes[0]]) @ tail.kernels[0] + tail.biases[0]
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * tail.gamma + tail.beta
    expected = pixels @ (ACTIVATIONS[activation](x) @ tail.kernels[1] + tail.biases[1]).T
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert (np.diff(scores[0]) <= 0).all()
