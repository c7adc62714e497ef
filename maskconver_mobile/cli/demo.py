"""`maskconver-mobile demo`."""

from importlib.util import find_spec
from pathlib import Path

import click

from maskconver_mobile.cli.parameters import refuse
from maskconver_mobile.errors import MaskConverError

CHECKPOINT = Path("maskconver_mobile/demo/maskconver_256_demo")
"""Below the clone; far too large for the package."""


@click.command()
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("out"), show_default=True, help="Folder for the results."
)
@click.option("--adb", is_flag=True, help="The live view on a phone instead.")
@click.option("--serial", help="Which phone.")
@click.option(
    "--app", type=click.Path(path_type=Path), help="The app's APK; by default the one that `make android` made."
)
@click.option("--model", type=click.Path(path_type=Path), help="A .tflite file to open in the app.")
def command(output: Path, adb: bool, serial: str | None, app: Path | None, model: Path | None) -> None:
    """Convert the demo checkpoint, segment a photograph, write the overlay and print the segments.

    The checkpoint lies in a clone of the repository; elsewhere, or without TensorFlow, the bundled model is used. With
    --adb, install the app on a cabled phone and open its live view.
    """
    if adb:
        refuse(("output",), "is for this machine; leave --adb out")
        _on_phone(serial, app, model)
        return
    for name, value in (("serial", serial), ("app", app), ("model", model)):
        if value is not None:
            raise MaskConverError(f"--{name} is for phones; add --adb")
    _here(output)


def _here(output: Path) -> None:
    from maskconver_mobile.cli.segment import show_segments
    from maskconver_mobile.cli.terminal import without_chatter
    from maskconver_mobile.inference.batch import segment_files
    from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

    model = _convert(output / DEFAULT_MODEL.name) or DEFAULT_MODEL
    photo = DEFAULT_MODEL.with_name("astronaut.jpg")
    with without_chatter():
        for path, done in segment_files(Segmenter(model), [photo], output):
            if isinstance(done, Exception):
                raise done
            show_segments(path, done.result)
    click.echo(f"Overlay: {output / photo.stem}_overlay.png")


def _convert(model: Path) -> Path | None:
    """Convert the checkpoint of the clone that this runs in; where there is none, say so and return nothing."""
    from maskconver_mobile.files import in_clone

    config = in_clone(CHECKPOINT.with_suffix(".yaml"))
    if config is None:
        click.echo("Segmenting with the bundled model. Converting is shown in a clone of the repository: `make demo`.")
        return None
    if not find_spec("tensorflow") or not find_spec("yaml"):
        click.echo("Segmenting with the bundled model. Converting needs TensorFlow: `make demo` installs it.")
        return None
    from maskconver_mobile.converters.convert import convert

    click.echo(f"Converting the demo checkpoint to {model}")
    convert(config, config.with_suffix(""), model)
    return model


def _on_phone(serial: str | None, app: Path | None, model: Path | None) -> None:
    from maskconver_mobile.benchmarks.android import adb_client
    from maskconver_mobile.benchmarks.android.app import PACKAGE
    from maskconver_mobile.benchmarks.android.app_install import BUILT, choose_apk, installed_version
    from maskconver_mobile.benchmarks.android.app_view import open_view
    from maskconver_mobile.benchmarks.android.device import Device
    from maskconver_mobile.formats.tflite.file import read_tflite

    if model is not None:
        read_tflite(model)
    client = adb_client.Adb(adb_client.find_adb())
    client.check_version()
    device = Device(client, client.choose(serial, all_devices=False)[0].serial)
    try:
        apk = choose_apk(app or BUILT)
    except MaskConverError:
        if app is not None or installed_version(device) is None:
            raise
        apk = None
    name = open_view(device, apk, model, lambda words: click.echo(words, err=True))
    click.echo(f"The live view is on {name}. It needs no cable any more; `adb uninstall {PACKAGE}` removes the app.")
