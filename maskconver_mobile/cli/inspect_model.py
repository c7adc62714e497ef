"""`maskconver-mobile inspect`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from maskconver_mobile.cli.parameters import STDOUT, check_json_target, json_option, write_json

if TYPE_CHECKING:
    from maskconver_mobile.formats.inspection import ModelInfo
    from maskconver_mobile.formats.tflite.partitions import Partitions


PREFIX = {"gpu": "at most (shapes and drivers decide): "}


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@json_option
@click.option("--graph", is_flag=True, help="How the graph was made, and every operator of it in order.")
def command(model: Path, json_file: Path | None, graph: bool) -> None:
    """Show what a model file says and holds: card, tensors, operators, delegate partitions, size."""
    from maskconver_mobile.cli.terminal import without_chatter
    from maskconver_mobile.formats.inspection import inspect_model

    check_json_target(json_file)
    info = inspect_model(model)
    with without_chatter():
        partitions = _partitions(model, info)
    if json_file is not None:
        import json

        document = _as_dict(info) | {"partitions": {k: asdict(p) for k, p in partitions.items()}}
        write_json(json_file, json.dumps(document))
    if json_file == STDOUT:
        return
    if graph:
        _show_graph(info)
    else:
        _show(model, info, partitions)


def _show_graph(info: "ModelInfo") -> None:
    from maskconver_mobile.cli.passes import show_passes
    from maskconver_mobile.text import printable

    show_passes(info.card)
    for i, op in enumerate(info.operators):
        shapes = ", ".join("x".join(map(str, t.shape)) or "scalar" for t in op.outputs)
        name = op.outputs[0].name.split(";")[0] if op.outputs else ""
        work = f"  {op.multiply_adds / 1e6:.2f} M" if op.multiply_adds else ""
        click.echo(printable(f"{i:4} {op.kind:20} {shapes:16}{work}  {name}"))


def _partitions(model: Path, info: "ModelInfo") -> "dict[str, Partitions]":
    """How LiteRT's CPU and GPU delegates cut a TFLite graph; nothing for other formats."""
    from maskconver_mobile.errors import MaskConverError
    from maskconver_mobile.formats import TFLITE, format_of

    if format_of(model) is not TFLITE:
        return {}
    from maskconver_mobile.formats.tflite.partitions import gpu_partitions, xnnpack_partitions

    try:
        return {"xnnpack": xnnpack_partitions(info.content), "gpu": gpu_partitions(info.content)}
    except (ValueError, RuntimeError) as error:
        raise MaskConverError(f"{model}: LiteRT cannot load its graph ({error}); convert it again") from error


def _as_dict(info: "ModelInfo") -> dict[str, object]:
    return {
        "card": asdict(info.card),
        "size": info.size,
        "inputs": [asdict(t) for t in info.inputs],
        "outputs": [asdict(t) for t in info.outputs],
        "operators": info.operator_counts,
        "multiply_adds": info.multiply_adds,
    }


def _show(model: Path, info: "ModelInfo", partitions: "dict[str, Partitions]") -> None:
    from rich.table import Table

    from maskconver_mobile.cli.terminal import show

    card = info.card
    things = sum(c.is_thing for c in card.categories)
    area = f"{card.small_area_threshold:g} px at {card.output_size[0]}x{card.output_size[1]}"
    rows = {
        "file": f"{model}, {info.size / 1e6:.1f} MB",
        "name": card.name,
        "level": card.level,
        "target": card.target,
        "recipe": card.recipe,
        **({} if card.verdict is None else {"verdict": str(card.verdict)}),
        "half precision": "allowed" if card.half_precision else "forbidden",
        "labels": f"{len(card.categories)} ({things} things, {len(card.categories) - things} stuff)",
        "proposals": str(card.num_instances),
        "thresholds": f"score {card.object_mask_threshold:g}, overlap {card.overlap_threshold:g}, area {area}",
        "multiply-adds": f"{info.multiply_adds / 1e6:,.0f} M",
        **{name: f"{PREFIX.get(name, '')}{_describe(p)}" for name, p in partitions.items()},
        "source": ", ".join(
            f"{k} {v[:16] if k == 'sha256' else v}" for k, v in card.source.items() if k != "experiment_reason"
        ),
        "written by": ", ".join(f"{k} {v}" for k, v in card.tools.items()),
    }
    summary = Table(show_header=False, box=None)
    summary.add_column(style="bold", no_wrap=True)
    summary.add_column(overflow="fold")
    for key, value in rows.items():
        summary.add_row(key, value)
    tensors = Table("tensor", "dtype", "shape", title="Inputs and outputs", title_justify="left")
    for kind, group in (("in", info.inputs), ("out", info.outputs)):
        for t in group:
            tensors.add_row(f"{kind}  {t.name}", t.dtype, "x".join(map(str, t.shape)))
    operators = Table("operator", "count", title=f"{len(info.operators)} operators", title_justify="left")
    for kind, count in info.operator_counts.items():
        operators.add_row(kind, str(count))
    show(summary, tensors, operators)


def _describe(p: "Partitions") -> str:
    left = ", ".join(f"{count} {kind}" for kind, count in p.outside.items()) or "nothing"
    return f"{p.count} partition{'s' * (p.count != 1)}, the largest of {p.largest} operators; left outside: {left}"
