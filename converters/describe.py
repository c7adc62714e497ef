"""What a file says besides its graph: the model card, and for `heads` the weights that the host needs."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from maskconver_mobile.card import AppliedPass, Category, HeadsRule, ModelCard, Role
from maskconver_mobile.converters.checkpoint import Weights
from maskconver_mobile.converters.compiler import HIDDEN, MEAN, STD, small_area_threshold
from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.inference.tail import Tail


def make_card(
    config: ModelConfig,
    weights: Weights,
    spec: GraphSpec,
    recipe: str,
    name: str,
    categories: tuple[Category, ...],
    half_precision: bool = False,
    passes: Sequence[AppliedPass] = (),
    roles: Mapping[str, Role] | None = None,
    joined: Mapping[str, tuple[str, ...]] | None = None,
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
        rescale_predictions=config.rescale_predictions,
        heads=heads_rule(config) if spec.level == "heads" else HeadsRule(),
        source={
            "checkpoint": Path(weights.origin).name,
            "sha256": weights.sha256,
            **({"weights": weights.kind} if weights.kind else {}),
            "experiment": config.experiment,
            "experiment_reason": config.experiment_reason,
        },
        passes=tuple(passes),
        roles=dict(roles or {}),
        joined=dict(joined or {}),
        tools={name: version(name) for name in ("maskconver-mobile", "tensorflow")},
    )


def host_tail(weights: Weights, config: ModelConfig) -> Tail:
    """The weights behind the heads, as the runtime takes them."""
    size = config.embedding_size
    hidden = HIDDEN if config.multi_scale else size
    sides = {"mlp/dense/0": (size, hidden), "mlp/dense/1": (hidden, size)}
    return Tail(
        class_embeddings=weights("class_embeddings/embeddings", (config.num_classes, size)),
        kernels=[weights(f"{path}/kernel", shape) for path, shape in sides.items()],
        biases=[weights(f"{path}/bias", shape[1:]) for path, shape in sides.items()],
        gamma=weights("mlp/norms/0/gamma", (hidden,)),
        beta=weights("mlp/norms/0/beta", (hidden,)),
    )


def heads_rule(config: ModelConfig) -> HeadsRule:
    """How the host goes on from the heads of this network."""
    return HeadsRule(config.level_sizes, "sum" if config.multi_scale else "product", cast("Any", config.activation))
