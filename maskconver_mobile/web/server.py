"""Serves the built page of `web_demo` on this machine, with the headers that threads in a browser need."""

import socket
import ssl
import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.formats import ONNX, TFLITE

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
SUFFIXES = (TFLITE.suffix, ONNX.suffix)
OWN_MODEL = "own-model"
TIMEOUT_S = 60
# Nothing is sent: for UDP, connecting only chooses the network interface. The address is reserved for documentation.
_ELSEWHERE = ("192.0.2.1", 9)


class WebServer(ThreadingHTTPServer):
    """Hands out the files of one folder, and one model file besides, to browsers.

    Attributes:
        hash: the end of the page's address; it makes the page load the model file.
    """

    daemon_threads = True

    def __init__(
        self, site: Path, model: Path | None, address: tuple[str, int], context: ssl.SSLContext | None = None
    ) -> None:
        """Bind to an address; port 0 takes a free one.

        Args:
            site: the built page.
            model: a model file of ours that the page shall use.
            address: host and port.
            context: for https.

        Raises:
            MaskConverError: there is no page or no such model, or the port is taken.
        """
        if not (site / "index.html").is_file():
            raise MaskConverError(f"{site}: holds no page; build it with `make web`, and name its folder with --site")
        if model is not None and not (model.is_file() and model.suffix in SUFFIXES):
            raise MaskConverError(f"{model}: expected a model file ending in {' or '.join(SUFFIXES)}")
        self.hash = "" if model is None else f"#model={quote(f'{OWN_MODEL}/{quote(model.name)}', safe='')}"
        try:
            super().__init__(address, partial(_Handler, directory=str(site), model=model))
        except OSError as error:
            raise MaskConverError(
                f"port {address[1]} of {address[0] or 'this machine'} cannot be had ({error.strerror}); "
                "choose another with --port"
            ) from error
        if context is not None:
            # The handshake is done in the connection's own thread, so that a silent client keeps nobody waiting.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        """The port that was had."""
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers end connections as they please, and refuse certificates; that is no error of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def __init__(self, *arguments: Any, model: Path | None, **options: Any) -> None:
        self._model = model
        super().__init__(*arguments, **options)

    def translate_path(self, path: str) -> str:
        if self._model is not None and unquote(urlsplit(path).path) == f"/{OWN_MODEL}/{self._model.name}":
            return str(self._model)
        return super().translate_path(path)

    def send_head(self) -> Any:
        try:
            return super().send_head()
        except ValueError:  # a null byte, which no file's name has
            return self.send_error(HTTPStatus.NOT_FOUND)

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing; who visits is nobody's business."""


def lan_address() -> str:
    """This machine's address in its network.

    Raises:
        MaskConverError: it is in none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError as error:
            raise MaskConverError(
                f"this machine is in no network ({error.strerror}); join the one that the phone is in"
            ) from error
        return str(probe.getsockname()[0])
