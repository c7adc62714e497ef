"""How far the exported graphs are from the original implementation's tensors, as one table.

python tests/parity.py            every golden folder at hand
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
from models import SHARED, TINY, Models
from numpy.typing import NDArray

from maskconver_mobile.card import Level
from maskconver_mobile.converters.backends.registry import BACKENDS
from maskconver_mobile.segmenter import Segmenter

GOLDEN_NAMES = {
    "class_heatmap": "class_heatmaps",
    "mask_embedding_map": "mask_embeddings_dense",
    "pixel_embeddings": "per_pixel_embeddings",
    "classes": "classes",
    "scores": "confidence",
    "mask_logits": "mask_proposal_logits",
    "category_map": "category_mask",
    "instance_map": "instance_mask",
}
TARGETS = ("reference", "cpu")

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A golden folder with the checkpoint that its tensors were computed from."""

    name: str
    golden: tuple[Path, ...]
    config: Path
    checkpoint: Path


@dataclass(frozen=True)
class Row:
    """One tensor of one graph over all images: largest error over largest magnitude, and the share of equal values."""

    case: str
    target: str
    level: str
    precision: str
    tensor: str
    error: float
    equal: float

    @property
    def passed(self) -> bool:
        """Whether the promise for this kind of tensor is kept."""
        loose = self.precision == "float16"
        if self.tensor.endswith("_map") and self.level == "panoptic":
            return self.equal >= (0.99 if loose else 0.999)
        if self.tensor == "classes":
            return loose or self.equal == 1.0
        if self.tensor == "scores":
            return self.error <= (1e-2 if loose else 1e-5)
        return self.error <= (1e-2 if loose else 1e-4)


def tiny_cases() -> list[Case]:
    """What the repository itself carries."""
    return [
        Case("tiny_96", (TINY / "golden.npz",), TINY / "config.yaml", TINY),
        Case("tiny_96_hw", (TINY / "golden.npz", TINY / "golden_hw.npz"), TINY / "config_hw.yaml", TINY),
    ]


def full_cases() -> list[Case]:
    """The full-size network on photographs, where the fixtures are at hand."""
    checkpoint = SHARED / "checkpoints" / "maskconver_256_demo"
    folders = [SHARED / "golden" / name for name in ("demo_256", "demo_640")]
    return [Case(f.name, (f / "golden.npz",), f / "config.yaml", checkpoint) for f in folders if f.is_dir()]


def compare(case: Case, models: Models, level: Level, target: str, precision: str = "float32") -> Iterator[Row]:
    """Rows for every output of one graph."""
    golden = {}
    for path in case.golden:
        with np.load(path) as arrays:
            golden.update({name: arrays[name] for name in arrays})
    model = models.get(level, target, "float32", precision, config=case.config, checkpoint=case.checkpoint)
    segmenter = Segmenter(model)
    outputs = [segmenter.run_tensor(image[None]) for image in golden["images"]]
    for tensor in outputs[0]:
        found = np.concatenate([o[tensor] for o in outputs])
        expected = golden[GOLDEN_NAMES[tensor]]
        if precision != "float32" and tensor == "mask_logits":
            found, expected = _matched(
                found, expected, np.concatenate([o["classes"] for o in outputs]), golden["classes"]
            )
        magnitude = 1.0 if tensor == "scores" else max(float(np.abs(expected).max()), 1e-9)
        error = float(np.abs(found.astype(np.float64) - expected).max()) / magnitude
        yield Row(case.name, target, level, precision, tensor, error, float((found == expected).mean()))


def _matched(found: Array, expected: Array, found_classes: Array, expected_classes: Array) -> tuple[Array, Array]:
    """Masks of proposals that both have, side by side: rounded weights may swap proposals of almost equal score.

    A proposal's counterpart is the mask of its class that is nearest to it; one that has none within a tenth of the
    mask's range has left the top K.
    """
    pairs = []
    for a, b, a_classes, b_classes in zip(found, expected, found_classes, expected_classes, strict=True):
        for k, category in enumerate(b_classes):
            same = np.flatnonzero(a_classes == category)
            if not len(same):
                continue
            distances = np.abs(a[..., same] - b[..., k, None]).max((0, 1))
            if distances.min() < 0.1 * np.abs(b[..., k]).max():
                pairs.append((a[..., same[distances.argmin()]], b[..., k]))
    kept, total = len(pairs), expected_classes.size
    if kept < 0.95 * total:
        raise AssertionError(f"only {kept} of {total} proposals are left")
    first, second = zip(*pairs, strict=True)
    return np.stack(first), np.stack(second)


def main() -> int:
    """Print the table; the exit code says whether every row passed."""
    failed = 0
    titles = f"{'format':7} {'case':12} {'target':10} {'level':9} {'weights':8} {'tensor':19}"
    print(f"{titles} {'max error':>10} {'equal':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for models, case in product([Models(Path(folder), s) for s in BACKENDS], tiny_cases() + full_cases()):
            for precision in ("float32", "float16"):
                for level in get_args(Level):
                    for target in TARGETS:
                        for row in compare(case, models, level, target, precision):
                            failed += not row.passed
                            mark = "" if row.passed else "  FAILED"
                            print(
                                f"{models.suffix[1:]:7} {row.case:12} {row.target:10} {row.level:9} "
                                f"{row.precision:8} {row.tensor:19} "
                                f"{row.error:10.2e} {row.equal:9.5f}{mark}",
                                flush=True,
                            )
    print("all within tolerance" if not failed else f"{failed} rows out of tolerance")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
