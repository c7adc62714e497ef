"""`maskconver-mobile web`."""

import contextlib
from pathlib import Path

import click

HERE = """Open it on this machine: {url}
A phone on a cable opens the same address after: adb reverse tcp:{port} tcp:{port}
A phone in this network needs --https. Ctrl-C ends."""
LAN = """{qr}
Open it on a phone in the same network: {url}
This machine signed the certificate itself, so the phone warns once:
  Chrome: "Your connection is not private": Advanced, then Proceed
  Safari: "This Connection Is Not Private": Show Details, then visit this website
  Firefox: "Potential Security Risk": Advanced, then Accept
If you look at the certificate there, its SHA-256 fingerprint must be
  {fingerprint}
The page works as elsewhere but for offline use, which browsers refuse to such certificates. Ctrl-C ends."""


@click.command()
@click.option("--model", type=click.Path(path_type=Path), help="A .tflite or .onnx file for the page to use.")
@click.option("--https", is_flag=True, help="For phones in this network, with a certificate made for it.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option(
    "--site",
    type=click.Path(path_type=Path),
    default=Path("web_demo/dist"),
    show_default=True,
    help="Folder of the page that `make web` built.",
)
def command(model: Path | None, https: bool, port: int, site: Path) -> None:
    """Serve the page that segments in the browser.

    \b
    maskconver-mobile web
    maskconver-mobile web --model maskconver_256.tflite --https
    """
    from maskconver_mobile.web.server import WebServer, lan_address

    if https:
        from maskconver_mobile.web.certificate import sign

        address = lan_address()
        certificate = sign(address)
        server = WebServer(site, model, ("", port), certificate.context())
        url = f"https://{address}:{server.port}/{server.hash}"
        words = LAN.format(url=url, qr=_qr(url), fingerprint=certificate.fingerprint)
    else:
        server = WebServer(site, model, ("127.0.0.1", port))
        words = HERE.format(url=f"http://localhost:{server.port}/{server.hash}", port=server.port)
    with server, contextlib.suppress(KeyboardInterrupt):
        click.echo(words)
        server.serve_forever()


def _qr(text: str) -> str:
    """A QR code in characters of half a line's height."""
    import io

    from maskconver_mobile.errors import MaskConverError

    try:
        import segno
    except ImportError as error:
        raise MaskConverError("--https needs segno; run `pip install 'maskconver-mobile[web]'`") from error
    drawn = io.StringIO()
    segno.make(text).terminal(drawn, compact=True)
    return drawn.getvalue()
