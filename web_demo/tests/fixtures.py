"""What Python computes, for the tests in TypeScript to compare with.

Run it as `python web_demo/tests/fixtures.py web_demo/out/fixtures`. Each file NAME.json lists cases; arrays in them are
{"dtype", "shape", "at"}, with their bytes in NAME.bin.
"""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from maskconver_mobile.benchmarks.report.spread import by_photo, drift_in_turn, spread
from maskconver_mobile.benchmarks.report.stats import drift, summarize
from maskconver_mobile.card import Category, HeadsRule, InputType, ModelCard
from maskconver_mobile.inference.drawing import segment_colors
from maskconver_mobile.inference.image import Letterbox, load_image, preprocess
from maskconver_mobile.inference.merge import MergeRule, merge_image
from maskconver_mobile.inference.tail import Tail, finish_heads
from maskconver_mobile.labels import coco_panoptic
from maskconver_mobile.result import from_maps
from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

DATA = Path(__file__).parents[2] / "tests" / "data"
THINGS = frozenset(range(1, 91))
MERGE_CASES = DATA / "merge_cases.npz"
TINY = DATA / "tiny_96"
FAMILIES = {
    "semantic": DATA / "families" / "semantic_96" / "config_tall.yaml",
    "levels": DATA / "families" / "resnet50_fpn_64" / "config_wide.yaml",
}
"""A semantic model, and one of several levels, both of inputs that are not square."""
CARD = ModelCard(
    name="model",
    level="masks",
    target="cpu",
    recipe="float32",
    input_size=(96, 128),
    input_type="uint8",
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    output_size=(96, 128),
    num_instances=5,
    num_classes=201,
    object_mask_threshold=0.1,
    overlap_threshold=0.3,
    small_area_threshold=20,
    hard_sigmoid=False,
    categories=coco_panoptic(),
)
SHAPES = (
    *((1, 1), (1, 300), (257, 1), (7, 9), (33, 20), (60, 61), (90, 61), (96, 128), (97, 33), (100, 100)),
    *((128, 96), (150, 140), (192, 256), (199, 201), (240, 320), (255, 257), (300, 451), (333, 640), (427, 640)),
    *((480, 640), (600, 512), (640, 427), (719, 1279), (37, 999)),
)
CANVASES = ((96, 128), (256, 256), (65, 131))


class Writer:
    """Cases with arrays, as JSON beside one file of bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = bytearray()

    def array(self, values: NDArray[Any]) -> dict[str, Any]:
        """Put an array into the file of bytes."""
        at = len(self.content)
        self.content += values.tobytes()
        self.content += bytes(-len(self.content) % 8)
        return {"dtype": values.dtype.name, "shape": values.shape, "at": at}

    def save(self, name: str, cases: Any) -> None:
        """Write both files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{name}.bin").write_bytes(self.content)
        (self.folder / f"{name}.json").write_text(json.dumps(cases))
        self.content.clear()


def write_preprocessing(writer: Writer, rng: np.random.Generator) -> None:
    """Images of many shapes, and their input tensors of every type."""
    cases = []
    for i, shape in enumerate(SHAPES):
        image = rng.integers(0, 256, (*shape, 3), np.uint8)
        canvas = CANVASES[i % len(CANVASES)]
        cards = {kind: replace(CARD, input_size=canvas, input_type=kind) for kind in get_args(InputType)}
        tensors = {kind: preprocess(image, cards[kind])[0] for kind in ("uint8", "pixels", "float32")}
        found = {name: writer.array(tensor) for name, tensor in tensors.items()}
        cases.append({"image": writer.array(image), "canvas": canvas, "tensors": found})
    sizes = [tuple(size) for size in rng.integers(1, 5000, (300, 2)).tolist()] + list(SHAPES)
    boxes = [
        {"image": size, "canvas": canvas, "scaled": box.scaled_size, "extent": box.extent}
        for size in sizes
        for canvas in CANVASES
        for box in [Letterbox.fit(size, canvas)]
    ]
    writer.save("preprocess", {"mean": CARD.mean, "std": CARD.std, "cases": cases, "boxes": boxes})


def merge_case(
    writer: Writer, proposals: tuple[NDArray[Any], ...], rule: MergeRule, box: Letterbox | None, maps: tuple[Any, Any]
) -> dict[str, Any]:
    """One merge: what goes in, both maps, and the result that is built from them."""
    logits, scores, classes = proposals
    size = maps[0].shape
    result = from_maps(*maps, classes, scores, np.zeros((*size, 3), np.uint8), CARD.categories, {})
    colors = segment_colors(result.segments, CARD.categories)
    return {
        "logits": writer.array(logits.astype(np.float32)),
        "scores": writer.array(scores.astype(np.float32)),
        "classes": writer.array(classes.astype(np.int32)),
        "image": box and box.image_size,
        "canvas": box and box.canvas_size,
        "rule": {**asdict(rule), "things": sorted(rule.things)},
        "categories": writer.array(maps[0].astype(np.int32)),
        "instances": writer.array(maps[1].astype(np.int32)),
        "panoptic": writer.array(result.panoptic_map),
        "segments": [asdict(segment) for segment in result.segments],
        "colors": [[key, color] for key, color in sorted(colors.items())],
    }


def write_merges(writer: Writer, rng: np.random.Generator) -> None:
    """The original implementation's cases, and random ones merged by the Python package."""
    cases = []
    with np.load(MERGE_CASES) as arrays:
        for i in range(len({name.split("/")[0] for name in arrays})):
            image_size, canvas_size = arrays[f"{i}/image_info"][:2].astype(int).tolist()
            hard = bool(arrays[f"{i}/hard_sigmoid"])
            box = None if hard else Letterbox.fit(tuple(image_size), tuple(canvas_size))
            maps = arrays[f"{i}/category_map"], arrays[f"{i}/instance_map"]
            score, overlap, area = arrays[f"{i}/thresholds"].tolist()
            rule = MergeRule(score, overlap, area, maps[0].shape, hard, THINGS)
            if box is not None:
                maps = maps[0][: image_size[0], : image_size[1]], maps[1][: image_size[0], : image_size[1]]
            proposals = arrays[f"{i}/logits"], arrays[f"{i}/scores"], arrays[f"{i}/classes"]
            cases.append(merge_case(writer, proposals, rule, box, maps))
    for seed, size in enumerate([*SHAPES, *SHAPES[:10]]):
        y, x = np.mgrid[:12, :16]
        count = 12 if seed % 5 else 300
        centers = rng.uniform(0, 1, (2, count)) * [[12], [16]]
        distance = np.hypot(y[..., None] - centers[0], x[..., None] - centers[1]) / rng.uniform(1, 8, count)
        logits = (3 - 3 * distance + rng.normal(0, (0, 0.5, 4, 30)[seed % 4], (12, 16, count))).astype(np.float32)
        scores, classes = rng.uniform(0, 1, count).astype(np.float32), rng.integers(1, 140, count)
        rule = MergeRule(0.1, (0.3, 0, 0.7)[seed % 3], 20, (96, 128), seed % 7 == 6, THINGS, rescale=seed % 5 != 4)
        box = Letterbox.fit(size, (48, 64))
        maps = merge_image(logits, scores, classes, box, rule).maps
        cases.append(merge_case(writer, (logits, scores, classes), rule, box, maps))
    labels = [{"id": c.id, "name": c.name, "isThing": c.is_thing, "color": c.color} for c in CARD.categories]
    writer.save("merge", {"labels": labels, "cases": cases})


def write_heads(writer: Writer, rng: np.random.Generator) -> None:
    """Head maps, the weights behind them, and what follows."""
    size, classes = 8, 7
    shapes = ((classes, size), (2, size, size), (2, size), (size,), (size,))
    tail = Tail(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))
    heatmap, embeddings, pixels = (
        rng.normal(size=(1, 9, 11, depth)).astype(np.float32) for depth in (classes, size, size)
    )
    heatmap[0, :2, :2] = 3.0  # ties
    found_classes, scores, logits = finish_heads(heatmap, embeddings, pixels, tail, 20, HeadsRule())
    names = ("tail", "heatmap", "embeddings", "pixels", "classes", "scores", "logits")
    stored = np.frombuffer(tail.to_bytes(), np.uint8)
    arrays = (stored, heatmap[0], embeddings[0], pixels[0], found_classes[0], scores[0], logits[0])
    writer.save("heads", {name: writer.array(values) for name, values in zip(names, arrays, strict=True)})


def write_families(writer: Writer, folder: Path) -> None:
    """Model files of other families, their outputs for an image, and what follows."""
    from maskconver_mobile.converters.convert import convert
    from maskconver_mobile.converters.spec import GraphSpec

    image = np.ascontiguousarray(load_image(DEFAULT_MODEL.with_name("astronaut.jpg"))[20:170, 150:350])
    folder.mkdir(exist_ok=True)
    cases = []
    for family, config in FAMILIES.items():
        for level in ("masks", "panoptic"):
            path = folder / f"{family}_{level}.onnx"
            card = convert(config, config.parent, path, spec=GraphSpec(level=level))
            segmenter = Segmenter(path)
            tensor, _ = preprocess(image, card)
            result = segmenter.segment(image)
            case = {
                "name": path.name,
                "card": {
                    "inputSize": card.input_size,
                    "outputSize": card.output_size,
                    "numInstances": card.num_instances,
                    "numClasses": card.num_classes,
                },
                "image": writer.array(image),
                "tensor": writer.array(tensor),
                "outputs": {name: writer.array(value) for name, value in segmenter.run_tensor(tensor).items()},
                "categories": writer.array(result.category_map.astype(np.int32)),
                "panoptic": writer.array(result.panoptic_map),
                "segments": [asdict(segment) for segment in result.segments],
            }
            cases.append(case)
    writer.save("families", cases)


def write_pictures(writer: Writer, folder: Path, rng: np.random.Generator) -> None:
    """Image files of several kinds, and their pixels as the Python package decodes them."""
    (folder / "pictures").mkdir(exist_ok=True)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 8, 4), np.uint8)).resize((64, 48), Image.Resampling.BICUBIC)
    color = smooth.convert("RGB")
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    pictures: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "plain.jpg": (color, {}),
        "turned.jpg": (color, {"exif": turned}),
        "grey.jpg": (color.convert("L"), {}),
        "transparent.png": (smooth, {}),
        "palette.png": (color.quantize(16), {}),
        "lossy.webp": (color, {}),
        "first.gif": (color.quantize(16), {"save_all": True, "append_images": [color.quantize(4)]}),
    }
    cases = {}
    for name, (image, options) in pictures.items():
        image.save(folder / "pictures" / name, **options)
        cases[name] = writer.array(load_image(folder / "pictures" / name))
    writer.save("pictures", cases)


def write_cards(folder: Path) -> None:
    """A card of either schema as JSON, for mutations."""
    card = ModelCard(**{**vars(CARD), "categories": (Category(1, "person", True, (220, 20, 60)),)})
    (folder / "card.json").write_text(card.to_json())


def write_statistics(folder: Path, rng: np.random.Generator) -> None:
    """Rows of timings, described."""
    rows = [[5.0], [3.0, 1.0], *(rng.uniform(1, 50, count).tolist() for count in (7, 30, 31, 200))]
    cases = [{"samples": row, "statistics": asdict(summarize(row)), "drift": drift(row)} for row in rows]
    (folder / "statistics.json").write_text(json.dumps(cases))


def write_spread(folder: Path, rng: np.random.Generator) -> None:
    """Timings of photographs taken in turn, described."""
    cases = []
    for count in (1, 2, 7):
        names = [f"{i}.jpg" for i in range(count)]
        samples = rng.uniform(1, 50, 5 * count).tolist()
        photos = by_photo(names, samples)
        found = spread(photos)
        medians = [photo.invoke.p50 for photo in photos]
        described = {"medians": medians, "drift": drift_in_turn(samples, photos), "spread": found and asdict(found)}
        cases.append({"names": names, "samples": samples, **described})
    (folder / "spread.json").write_text(json.dumps(cases))


def write_tiny_models(folder: Path) -> None:
    """Small models of both formats, for the readers of model files."""
    from maskconver_mobile.converters.convert import convert
    from maskconver_mobile.converters.spec import GraphSpec

    for level in ("masks", "heads"):
        for suffix in ("tflite", "onnx"):
            spec = GraphSpec(level=level)
            convert(TINY / "config.yaml", TINY, folder / f"{level}.{suffix}", spec=spec)
    convert(TINY / "config.yaml", TINY, folder / "half.tflite", precision="float16")


def main() -> None:
    """Write everything."""
    folder = Path(sys.argv[1])
    writer, rng = Writer(folder), np.random.default_rng(0)
    write_preprocessing(writer, rng)
    write_merges(writer, rng)
    write_heads(writer, rng)
    write_families(writer, folder / "families")
    write_pictures(writer, folder, rng)
    write_cards(folder)
    write_statistics(folder, rng)
    write_spread(folder, rng)
    write_tiny_models(folder / "tiny")


if __name__ == "__main__":
    main()
