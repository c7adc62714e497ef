"""Small networks drawn at random, in float64: they are what a plain reading says, and passes change nothing of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference_network
import yaml
from checkpoints import Recorder, random_weights
from numpy.typing import NDArray

from maskconver_mobile.card import Level
from maskconver_mobile.converters.compiler import plain_graph
from maskconver_mobile.converters.config import ModelConfig, read_config
from maskconver_mobile.converters.graph.evaluator import evaluate
from maskconver_mobile.converters.network.mobilenet import TABLES
from maskconver_mobile.converters.passes import PIPELINES, Format, run
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.inference.tail import find_proposals

COUNT = 50
GAP = 5e-6
"""Of scores, over what counts as a tie."""
MARGIN = 1e-4
"""Weights are rounded to float32 once more in the graph of a target, and some networks magnify that."""
READING = 1e-7
"""Constants are float32 in the graph."""
LEVELS: tuple[Level, ...] = ("panoptic", "masks", "heads")
Floats = NDArray[np.floating[Any]]
Model = dict[str, Any]


def some(rng: np.random.Generator, **keys: Any) -> Model:
    """Most of these keys: an experiment has defaults for the others."""
    return {key: value for key, value in keys.items() if rng.random() < 0.8}


def mobile(rng: np.random.Generator) -> tuple[Model, int]:
    """A single-scale network, and what its sides are multiples of."""
    stride = [8, 16, 32, None][rng.integers(4)]
    level = int(np.log2(stride or 32))
    filters = int(rng.choice([8, 12]))
    fusion = str(rng.choice(["deeplabv3plus_sum_to_merge", "deeplabv3plus", "none"]))
    low, of_pixels = (min(level, int(each)) for each in rng.integers(2, 5, 2))
    factor = int(rng.choice([1, 1, 2]))

    def head(low: int, factor: int = factor) -> Model:
        return {
            "feature_fusion": fusion,
            "low_level": str(low) if rng.random() < 0.2 else low,
            "level": level,
            "low_level_num_filters": filters if fusion.endswith("merge") else 5,
            "num_filters": int(rng.choice([8, 9])),
            "upsample_factor": factor,
            **({"prediction_kernel_size": 3} if factor > 1 else some(rng, prediction_kernel_size=3)),
            **some(
                rng,
                num_convs=int(rng.integers(0, 3)),
                use_depthwise_convolution=bool(rng.random() < 0.8),
                depthwise_kernel_size=int(rng.choice([3, 5, 7])),
                use_layer_norm=bool(rng.integers(2)),
            ),
        }

    backbone = {
        "model_id": str(rng.choice(list(TABLES))),
        "filter_size_scale": float(rng.choice([0.1, 0.2])),
        "output_stride": stride,
    }
    aspp = {
        "level": level,
        "num_filters": filters,
        "dilation_rates": [int(rate) for rate in rng.integers(1, 13, rng.integers(0, 4))],
        "use_depthwise_convolution": True,
        "pool_kernel_size": [None, [32, 32]][rng.integers(2)],
    }
    model = {
        "backbone": {"type": "mobilenet", "mobilenet": backbone},
        "decoder": {"type": "aspp", "aspp": aspp},
        "class_head": head(low),
        "mask_embedding_head": head(low),
        "per_pixel_embedding_head": head(of_pixels, int(rng.integers(1, 3))),
    }
    return model, 1


def pyramid(rng: np.random.Generator) -> tuple[Model, int]:
    """A multi-scale network."""
    low = int(rng.integers(2, 4))
    high = int(rng.integers(low + 1, 8))
    factor = int(rng.integers(1, 3))
    resnet = {
        "model_id": 50,
        "depth_multiplier": 0.0625,
        "stem_type": str(rng.choice(["v0", "v1"])),
        "scale_stem": bool(rng.integers(2)),
        "se_ratio": float(rng.choice([0, 0.25])),
        "resnetd_shortcut": bool(rng.integers(2)),
        "replace_stem_max_pool": bool(rng.integers(2)),
    }
    kind = str(rng.choice(["resnet", "resnet_unet"]))
    if kind == "resnet_unet":
        resnet |= {"upsample_repeats": [2, 1, 1], "upsample_filters": [96, 96, 96], "upsample_kernel_sizes": [7, 5, 3]}
    fpn = {
        "num_filters": 32,
        "fusion_type": str(rng.choice(["sum", "concat"])),
        "use_separable_conv": bool(rng.integers(2)),
        **some(rng, depthwise_kernel_size=int(rng.choice([3, 5])), use_layer_norm=bool(rng.integers(2))),
        "use_keras_layer": bool(rng.integers(2)),
    }
    decoder = str(rng.choice(["fpn", "maskconver_fpn"]))
    fusion = str(rng.choice(["none", "pyramid_fusion", "panoptic_fpn_fusion"]))

    def head() -> Model:
        return {
            "num_filters": 32,
            "upsample_factor": factor,
            **({"prediction_kernel_size": 3} if factor > 1 else some(rng, prediction_kernel_size=1)),
            **some(
                rng,
                num_convs=int(rng.integers(0, 3)),
                use_depthwise_convolution=bool(rng.integers(2)),
                depthwise_kernel_size=int(rng.choice([3, 7])),
                use_layer_norm=bool(rng.integers(2)),
            ),
        }

    pixels = {
        **head(),
        "feature_fusion": fusion,
        "level": low if fusion == "none" else int(rng.integers(2, low + 1)),
        "decoder_min_level": low,
        "decoder_max_level": int(rng.integers(low, high + 1)),
        "upsample_factor": 1,
    }
    masks = {"type": decoder, decoder: {"num_filters": 32}} if rng.random() < 0.3 else None
    model = {
        "min_level": low,
        "max_level": high,
        "norm_activation": {"activation": str(rng.choice(["relu", "relu6", "swish", "gelu"]))},
        "backbone": {"type": kind, kind: resnet},
        "decoder": {"type": decoder, decoder: fpn},
        "mask_decoder": masks,
        "class_head": head(),
        "mask_embedding_head": head(),
        "per_pixel_embedding_head": pixels,
    }
    return model, 2 ** max(5, high)


def drawn(seed: int, path: Path) -> tuple[ModelConfig, Model]:
    """A small network of this number, as it is read, and as it was written."""
    rng = np.random.default_rng(seed)
    model, step = (pyramid if seed % 2 else mobile)(rng)
    sides = [int(side) for side in rng.integers(40, 90, 2)] if step == 1 else [step, step]
    model |= {
        "input_size": [*sides, 3],
        "padded_output_size": [2 * side for side in sides],
        "num_classes": (classes := int(rng.integers(12, 40))),
        "num_thing_classes": int(rng.integers(1, classes)),
        "num_instances": int(rng.integers(2, 9)),
        "embedding_size": int(rng.choice([8, 12])),
        "panoptic_generator": {"object_mask_threshold": 0.1, "overlap_threshold": 0.1, "small_area_threshold": 8},
    }
    path.write_text(yaml.safe_dump({"task": {"model": model}}))
    return read_config(path), model


CLASSIFIERS = {
    "class_heatmap": "class_head",
    "mask_embedding_map": "embedding_head",
    "pixel_embeddings": "per_pixel_embeddings_head",
}


def values(config: ModelConfig, weights: Recorder, spec: GraphSpec, format: Format, image: Floats) -> dict[str, Floats]:
    builder = plain_graph(config, weights, spec)
    run(builder, PIPELINES[spec.target, format])
    return evaluate(builder.graph, {"image": image})


def picture(config: ModelConfig, seed: int) -> Floats:
    """Blocks of random color: noise alone would leave deep maps nearly the same everywhere."""
    height, width = config.input_size
    blocks = np.random.default_rng(seed).uniform(0, 255, (1, height // 8 + 1, width // 8 + 1, 3))
    return blocks.repeat(8, 1).repeat(8, 2)[:, :height, :width]


def tamed(config: ModelConfig, image: Floats, seed: int) -> Recorder:
    """Random weights with which heads put out values of size 1, and no two of the best peaks come near each other."""
    for attempt in range(20):
        weights = random_weights(100 * seed + attempt)
        maps = values(config, weights, GraphSpec("heads", "reference"), "onnx", image)
        for name, head in CLASSIFIERS.items():
            means, least, most = (
                getattr(maps[name], of)((0, 1, 2)).astype(np.float32) for of in ("mean", "min", "max")
            )
            sizes = np.maximum((most - least) / 3, 1e-3 * np.abs(means) + 1e-6)
            arrays, path = weights.arrays, f"{head}/_classifier"
            arrays[f"{path}/bias"] = (arrays[f"{path}/bias"] - means) / sizes
            arrays[f"{path}/kernel"] = arrays[f"{path}/kernel"] / sizes
        heatmap = values(config, weights, GraphSpec("heads", "reference"), "onnx", image)["class_heatmap"]
        _, scores, _ = find_proposals(heatmap[0].astype(np.float32), config.num_instances + 1, config.level_sizes)
        if scores[0] < 0.99999 and scores[-1] > 0.01 and np.diff(scores).max() < -GAP:
            return weights
    raise AssertionError("no weights with peaks that differ")


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_random_network(seed: int, tmp_path: Path) -> None:
    config, model = drawn(seed, tmp_path / "config.yaml")
    image = picture(config, seed)
    weights = tamed(config, image, seed)
    plain = evaluate(
        plain_graph(config, weights, GraphSpec("heads", input_type="float32")).graph, {"image": image / 255}
    )
    for name, tensor in reference_network.heads(weights, model, image / 255, multi=bool(seed % 2)).items():
        limit = READING * np.abs(tensor).max()
        np.testing.assert_allclose(plain[name], tensor, rtol=0, atol=limit, err_msg=name)
    spec = GraphSpec(LEVELS[seed % 3], "reference")
    expected = values(config, weights, spec, "onnx", image)
    for format in ("tflite", "onnx"):
        found = values(config, weights, replace(spec, target="cpu"), format, image)
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            if name in ("category_map", "instance_map"):
                assert (found[name] == tensor).mean() >= 0.999, name
            else:
                limit = MARGIN * np.abs(tensor).max()
                np.testing.assert_allclose(found[name], tensor, rtol=0, atol=limit, err_msg=name)
