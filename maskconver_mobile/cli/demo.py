"""`maskconver-mobile demo`."""

from importlib.util import find_spec
from pathlib import Path

import click

from maskconver_mobile.cli.parameters import refuse
from maskconver_mobile.errors import MaskConverError

CHECKPOINT = Path("maskconver_mobile/demo/maskconver_256_demo")
"""Below the clone; far too large for the package."""

TITLE = "maskconver-mobile: the demo model on its photographs"
NOTE = "These are training images of the demo model. On 50 unseen COCO images it reaches a PQ of 4.5."
ELSEWHERE = (
    "It shows the machinery; the published MaskConver models reach 29.7 (256x256) and 37.2 (640x640) on COCO val2017. "
    "Photographs: NASA, SpaceX and the U.S. Navy (public domain); Lav Varshney, Stéfan van der Walt and "
    "Rachel Michetti (CC0); china.jpg by danielbuechele and flower.jpg by vultilion (CC BY 2.0, "
    "https://creativecommons.org/licenses/by/2.0/; saved again as JPEG)."
)


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
    """Convert the demo checkpoint, segment the nine bundled photographs, and write them as a picture and as a page.

    The photographs are training images of that model. The checkpoint lies in a clone of the repository; elsewhere, or
    without TensorFlow, the bundled model is used. With --adb, install the app on a cabled phone and open its live view.
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
    from maskconver_mobile.benchmarks.photos import find_photos
    from maskconver_mobile.cli.progress import progress
    from maskconver_mobile.cli.segment import summary
    from maskconver_mobile.cli.terminal import without_chatter
    from maskconver_mobile.files import write_atomically
    from maskconver_mobile.inference.batch import overlay_path, segment_files
    from maskconver_mobile.inference.gallery import contact_sheet, gallery_page
    from maskconver_mobile.inference.image import encode_png
    from maskconver_mobile.segmenter import DEFAULT_MODEL, Segmenter

    model = _convert(output / DEFAULT_MODEL.name) or DEFAULT_MODEL
    photos, results = find_photos(), []
    with without_chatter(), progress("Segmenting", len(photos)) as advance:
        for path, done in segment_files(Segmenter(model), photos, output):
            if isinstance(done, Exception):
                raise done
            results.append((path.name, done.result))
            advance()
    for name, result in results:
        click.echo(summary(Path(name), result, overlay_path(output, Path(name).stem)))
    sheet, page = output / "contact_sheet.png", output / "index.html"
    write_atomically(sheet, encode_png(contact_sheet([result for _, result in results], NOTE)))
    write_atomically(page, gallery_page(results, TITLE, f"{NOTE} {ELSEWHERE}").encode())
    click.echo(f"{NOTE}\nAll in one picture: {sheet}; in a browser: {page}")


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
