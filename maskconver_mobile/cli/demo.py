"""`maskconver-mobile demo`."""

from importlib.util import find_spec
from pathlib import Path

import click


@click.command()
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("out"), show_default=True, help="Folder for the results."
)
def command(output: Path) -> None:
    """Convert the bundled checkpoint, segment a photograph, write the overlay and print the segments.

    Without TensorFlow the bundled converted model is used.
    """
    from maskconver_mobile.batch import segment_files
    from maskconver_mobile.cli.segment import show
    from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

    folder = DEFAULT_MODEL.parent
    model = DEFAULT_MODEL
    if find_spec("tensorflow") and find_spec("yaml"):
        from maskconver_mobile.converters.convert import convert

        model = output / DEFAULT_MODEL.name
        click.echo(f"Converting the bundled checkpoint to {model}")
        convert(folder / f"{DEFAULT_MODEL.stem}.yaml", folder / DEFAULT_MODEL.stem, model)
    photo = folder / "astronaut.jpg"
    for path, result in segment_files(Segmenter(model), [photo], output):
        if isinstance(result, Exception):
            raise result
        show(path, result)
    click.echo(f"Overlay: {output / photo.stem}_overlay.png")
