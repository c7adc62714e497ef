"""Write what the JVM tests compare with: images, models and Python's answers, as .npz and .tflite files.

    python android_demo/fixtures.py FOLDER

It takes a minute, most of it for converting tiny models.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from maskconver_mobile.card import KEY, InputType, Level, ModelCard
from maskconver_mobile.converters.backends.tflite.quantize import quantize
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.formats.tflite.file import attach, read_tflite
from maskconver_mobile.inference.image import Letterbox, load_image, preprocess, restore
from maskconver_mobile.inference.merge import MergeRule, merge_image
from maskconver_mobile.result import from_maps
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

REPOSITORY = Path(__file__).parents[1]
TINY = REPOSITORY / "tests" / "data" / "tiny_96"
FAMILIES = (
    REPOSITORY / "tests" / "data" / "families" / "semantic_96" / "config_tall.yaml",
    REPOSITORY / "tests" / "data" / "families" / "resnet50_fpn_64" / "config_wide.yaml",
)
"""A semantic model, and one of several levels, both of inputs that are not square."""
SHAPES = (
    *((1, 1), (1, 7), (9, 1), (2, 3), (31, 31), (32, 48), (33, 47), (48, 64), (49, 65), (64, 48), (96, 128), (97, 33)),
    *((100, 700), (240, 320), (257, 255), (300, 7), (333, 500), (480, 640), (640, 480), (512, 512)),
)
CANVASES = ((48, 64), (96, 96), (256, 256))
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
Arrays = dict[str, NDArray[Any]]


def letterboxes() -> Arrays:
    """Images of many shapes on several canvases, with the canvas for every input type."""
    rng = np.random.default_rng(0)
    found: Arrays = {}
    for i, (shape, canvas) in enumerate((s, CANVASES[j % 3]) for j, s in enumerate(SHAPES)):
        image = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
        for input_type in ("uint8", "float32", "pixels"):
            tensor, letterbox = preprocess(image, _card(canvas, input_type))
            found[f"{i}/{input_type}"] = tensor
        sizes = (letterbox.image_size, letterbox.canvas_size, letterbox.scaled_size, letterbox.extent)
        found |= {f"{i}/image": image, f"{i}/sizes": np.array(sizes, np.int32)}
    return found


def _card(canvas: tuple[int, int], input_type: Any) -> ModelCard:
    return replace(read_tflite(DEFAULT_MODEL).card, input_size=canvas, input_type=input_type, mean=MEAN, std=STD)


def yuvs() -> Arrays:
    """Camera images of odd sizes and with several strides as planes, and their RGB by JFIF's formula, rounded."""
    rng = np.random.default_rng(1)
    found: Arrays = {}
    for i, (shape, luma_gap, chroma_gap, step) in enumerate(
        (((4, 6), 0, 0, 1), ((5, 7), 0, 3, 2), ((1, 1), 5, 1, 2), ((17, 9), 7, 0, 1), ((30, 41), 23, 12, 2))
    ):
        chroma_shape = (-(-shape[0] // 2), -(-shape[1] // 2))
        y, u, v = (rng.integers(0, 256, s).astype(np.uint8) for s in (shape, chroma_shape, chroma_shape))
        found[f"{i}/y"] = _plane(y, luma_gap, 1)
        found |= {f"{i}/u": _plane(u, chroma_gap, step), f"{i}/v": _plane(v, chroma_gap, step)}
        strides = (shape[1] + luma_gap, chroma_shape[1] * step + chroma_gap, step)
        found[f"{i}/strides"] = np.array(strides, np.int32)
        blue, red = (p.repeat(2, 0).repeat(2, 1)[: shape[0], : shape[1]].astype(float) - 128 for p in (u, v))
        rgb = (y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue)
        found[f"{i}/rgb"] = np.clip(np.floor(np.stack(rgb, -1) + 0.5), 0, 255).astype(np.uint8)
    return found


def _plane(samples: NDArray[np.uint8], gap: int, step: int) -> NDArray[np.uint8]:
    """Bytes of a plane with `step` bytes from sample to sample and a gap after each row, the last one's left out."""
    lines = np.full((samples.shape[0], samples.shape[1] * step + gap), 77, np.uint8)
    lines[:, : samples.shape[1] * step : step] = samples
    return lines.ravel()[: lines.size - gap - (step - 1)]


def merges() -> Arrays:
    """Random proposals merged on images of many shapes."""
    found: Arrays = {}
    for i, shape in enumerate(((96, 128), (90, 61), (97, 33), (150, 140), (7, 9), (1, 1), (1, 300), (257, 1))):
        rng = np.random.default_rng(i)
        y, x = np.mgrid[:12, :16]
        centers = rng.uniform(0, 1, (2, 12)) * [[12], [16]]
        distance = np.hypot(y[..., None] - centers[0], x[..., None] - centers[1]) / rng.uniform(1, 8, 12)
        logits = (3 - 3 * distance + rng.normal(0, 4, (12, 16, 12))).astype(np.float32)
        scores = rng.uniform(0, 1, 12).astype(np.float32)
        classes = rng.integers(1, 9, 12).astype(np.int32)
        rule = MergeRule(0.1, 0.3, 20, (96, 128), i % 4 == 3, frozenset(range(1, 6)), rescale=i % 4 != 1)
        maps = merge_image(logits, scores, classes, Letterbox.fit(shape, (48, 64)), rule).maps
        found |= {f"{i}/logits": logits, f"{i}/scores": scores, f"{i}/classes": classes, f"{i}/maps": np.stack(maps)}
        found[f"{i}/hard"] = np.array([rule.hard_sigmoid], np.int32)
        found[f"{i}/rescale"] = np.array([rule.rescale], np.int32)
    return found


def models(folder: Path) -> Iterator[Path]:
    """The bundled model, and tiny ones of every level, input type and precision."""
    yield Path(shutil.copy(DEFAULT_MODEL, folder / "bundled.tflite"))
    for level in get_args(Level):
        yield _tiny(folder, level, "float32", "float32")
    for input_type in get_args(InputType):
        yield _tiny(folder, "masks", input_type, "float16")
    yield _tiny(folder, "masks", "float32", "float32", TINY / "config_hw.yaml")
    for config in FAMILIES:
        yield _tiny(folder, "masks", "pixels", "float32", config)
        yield _tiny(folder, "panoptic", "pixels", "float32", config)
    path = _tiny(folder, "masks", "uint8", "float32")
    yield path
    file = read_tflite(path)
    rng = np.random.default_rng(0)
    calibration = [rng.integers(0, 256, (1, *file.card.input_size, 3)).astype(np.uint8)]
    for recipe in ("dynamic", "int8"):
        quantized = path.with_name(f"tiny_{recipe}.tflite")
        quantized.write_bytes(quantize(file.content, file.card, recipe, calibration=calibration))
        yield quantized


def _tiny(
    folder: Path, level: Level, input_type: InputType, precision: str, config: Path = TINY / "config.yaml"
) -> Path:
    path = folder / f"tiny_{config.stem}_{level}_{input_type}_{precision}.tflite"
    convert(config, config.parent, path, spec=GraphSpec(level=level, input_type=input_type), precision=precision)
    return path


def answer(model: Path, image: NDArray[np.uint8]) -> Arrays:
    """Python's way from an image to segments through a model: tensors, map and segments."""
    segmenter = Segmenter(model, num_threads=2)
    card = segmenter.card
    tensor, letterbox = preprocess(image, card)
    outputs = segmenter.run_tensor(tensor)
    if card.level == "panoptic":
        maps = restore(outputs["category_map"][0], letterbox), restore(outputs["instance_map"][0], letterbox)
    else:
        logits, scores, classes = (outputs[name][0] for name in ("mask_logits", "scores", "classes"))
        maps = merge_image(logits, scores, classes, letterbox, MergeRule.from_card(card)).maps
    result = from_maps(*maps, outputs["classes"][0], outputs["scores"][0], image, card.categories, {})
    segments = [(s.id, s.category_id, s.is_thing, s.area, *s.bbox) for s in result.segments]
    return {
        **{f"output/{name}": value for name, value in outputs.items()},
        "card": np.array([*card.input_size, *card.output_size, card.num_instances, card.num_classes], np.int32),
        "input": tensor,
        "map": result.panoptic_map,
        "segments": np.array(segments, np.int32).reshape(-1, 8),
        "segment_scores": np.array([s.score for s in result.segments], np.float32),
        "overlay_colors": result.overlay(1.0)[::8, ::8],
    }


def main(folder: Path) -> None:
    """Write everything into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    photo = load_image(DEFAULT_MODEL.parent / "astronaut.jpg")
    images = {"bundled": photo, "tiny": np.ascontiguousarray(photo[20:170, 150:350])}
    np.savez(folder / "images.npz", **images)
    np.savez(folder / "letterbox.npz", **letterboxes())
    np.savez(folder / "yuvs.npz", **yuvs())
    np.savez(folder / "merges.npz", **merges())
    names = []
    for model in models(folder):
        names.append(model.stem)
        np.savez(folder / f"{model.stem}.npz", **answer(model, images[model.stem.split("_")[0]]))
    tiny = read_tflite(folder / "tiny_config_masks_float32_float32.tflite")
    (folder / "without_card.tflite").write_bytes(tiny.content.replace(KEY.encode(), b"somebodys_card_"))
    (folder / "half.tflite").write_bytes(_half(tiny.content, tiny.card))
    facts = {"version": version("maskconver-mobile"), "models": names}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _half(content: bytes, card: ModelCard) -> bytes:
    """A model whose file permits arithmetic in float16."""
    raw = {**json.loads(card.to_json()), "schema": 2, "half_precision": True}
    permission = {"reduced_precision_support": b"fp16accfp16"}
    return attach(content, card, {**permission, KEY: json.dumps(raw).encode()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
