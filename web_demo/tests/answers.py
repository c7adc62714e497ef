"""Model files of every level, input type and precision, and what Python says of the built-in photograph with each.

Run it as `python web_demo/tests/answers.py web_demo/out/fixtures web_demo/out/data`.
"""

import sys
from pathlib import Path

from fixtures import FAMILIES, Writer

import maskconver_mobile
from maskconver_mobile import Segmenter
from maskconver_mobile.converters.convert import convert
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.inference.image import load_image, preprocess

DEMO = Path(maskconver_mobile.__file__).parent / "demo"
PHOTO = DEMO / "astronaut.jpg"
MODELS = {
    "masks.onnx": (GraphSpec(), "float32"),
    "heads.tflite": (GraphSpec(level="heads", target="gpu"), "float32"),
    "heads.onnx": (GraphSpec(level="heads"), "float32"),
    "panoptic.tflite": (GraphSpec(level="panoptic"), "float32"),
    "panoptic.onnx": (GraphSpec(level="panoptic"), "float32"),
    "normalized.tflite": (GraphSpec(input_type="float32"), "float32"),
}


def main() -> None:
    """Convert the models, and answer with them and with those of the page."""
    folder, page = Path(sys.argv[1]), Path(sys.argv[2])
    models = folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    for name, (spec, precision) in MODELS.items():
        checkpoint = Path(__file__).parents[2] / "maskconver_mobile" / "demo" / "maskconver_256_demo"
        config = checkpoint.with_suffix(".yaml")
        convert(config, checkpoint, models / name, spec=spec, precision=precision)
    for family, config in FAMILIES.items():
        convert(config, config.parent, models / f"{family}_masks.tflite")
        convert(config, config.parent, models / f"{family}_panoptic.onnx", spec=GraphSpec(level="panoptic"))
    for model in (path for suffix in ("*.tflite", "*.onnx") for path in page.glob(suffix)):
        (models / model.name).write_bytes(model.read_bytes())
    writer, answers = Writer(folder), {}
    for model in sorted(models.iterdir()):
        segmenter = Segmenter(model)
        tensor, _ = preprocess(load_image(PHOTO), segmenter.card)
        outputs, result = segmenter.run_tensor(tensor), segmenter.segment(PHOTO)
        names = ("classes", "scores", "mask_logits")
        answers[model.name] = {
            **{name: writer.array(outputs[name]) for name in names if name in outputs},
            "panoptic": writer.array(result.panoptic_map),
            "labels": [segment.label for segment in result.segments],
        }
    writer.save("answers", answers)


if __name__ == "__main__":
    main()
