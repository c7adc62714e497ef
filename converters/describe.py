"""What a file says besides its graph: the model card, and for `heads` the weights that the host needs."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from maskconver_mobile.card import AppliedPass, Category, ModelCard
from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.compiler import MEAN, STD, small_area_threshold
from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.tail import Tail


def make_card(
    config: ModelConfig,
    weights: Weights,
    spec: GraphSpec,
    recipe: str,
    name: str,
    categories: tuple[Category, ...],
    half_precision: bool = False,
    passes: Sequence[AppliedPass] = (),
) -> ModelCard:
    """Everything a reader of the file needs to know."""
    in_graph = spec.level == "panoptic"
    size = (spec.output_size or config.default_output_size) if in_graph else config.padded_output_size
    return ModelCard(
        name=name,
        level=spec.level,
        target=spec.target,
        recipe=recipe,
        input_size=config.input_size,
        input_type=spec.input_type,
        mean=MEAN,
        std=STD,
        output_size=size,
        num_instances=config.num_instances,
        num_classes=config.num_classes,
        object_mask_threshold=config.object_mask_threshold,
        overlap_threshold=config.overlap_threshold,
        small_area_threshold=small_area_threshold(config, size) if in_graph else config.small_area_threshold,
        hard_sigmoid=config.hard_sigmoid,
        categories=categories,
        half_precision=half_precision,
        source={"checkpoint": Path(weights.origin).name, "sha256": weights.sha256},
        passes=tuple(passes),
        tools={name: version(name) for name in ("maskconver-mobile", "tensorflow")},
    )


def host_tail(weights: Weights, config: ModelConfig) -> Tail:
    """The weights behind the heads, as the runtime takes them."""
    size = config.embedding_size
    dense = [f"mlp/dense/{i}" for i in (0, 1)]
    return Tail(
        class_embeddings=weights("class_embeddings/embeddings", (config.num_classes, size)),
        kernels=np.stack([weights(f"{path}/kernel", (size, size)) for path in dense]),
        biases=np.stack([weights(f"{path}/bias", (size,)) for path in dense]),
        gamma=weights("mlp/norms/0/gamma", (size,)),
        beta=weights("mlp/norms/0/beta", (size,)),
    )
