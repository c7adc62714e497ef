"""The server for the page: what it hands out, and what it says."""

import http.client
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest
from interrupts import interruptible

from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.web.certificate import sign
from maskconver_mobile.web.server import WebServer, lan_address

COMMAND = str(Path(sys.executable).with_name("maskconver-mobile"))
LOCAL = ("127.0.0.1", 0)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A page with one file of each kind."""
    folder = tmp_path / "site"
    (folder / "wasm").mkdir(parents=True)
    for name in ("index.html", "wasm/a.wasm", "wasm/a.js", "wasm/a.mjs"):
        (folder / name).write_text(name)
    (tmp_path / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "my 50% #1.tflite"
    path.write_bytes(b"model")
    return path


@contextmanager
def serving(server: WebServer) -> Iterator[WebServer]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def get(server: WebServer, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_files_have_the_types_and_headers_that_browsers_need(site: Path) -> None:
    with serving(WebServer(site, None, LOCAL)) as server:
        for path, kind in (
            ("/", "text/html"),
            ("/wasm/a.wasm", "application/wasm"),
            ("/wasm/a.js", "text/javascript"),
            ("/wasm/a.mjs", "text/javascript"),
        ):
            response, body = get(server, path)
            assert (response.status, response.getheader("Content-Type")) == (200, kind)
            assert body.decode() == (path[1:] or "index.html")
            assert response.getheader("Cross-Origin-Opener-Policy") == "same-origin"
            assert response.getheader("Cross-Origin-Embedder-Policy") == "require-corp"
        assert get(server, "/", "HEAD")[1] == b""


@pytest.mark.parametrize(
    "path", ["/wasm/", "/none", "/../secret.txt", "/%2e%2e/secret.txt", "//../secret.txt", "/own-model/x", "/%00"]
)
def test_nothing_else_is_handed_out(site: Path, model: Path, path: str) -> None:
    with serving(WebServer(site, model, LOCAL)) as server:
        response, body = get(server, path)
        assert response.status == 404
        assert b"secret" not in body
        assert get(server, "/", "POST")[0].status == 501


def test_a_model_beside_the_page(site: Path, model: Path) -> None:
    with serving(WebServer(site, model, LOCAL)) as server:
        # The page reads the value of the hash as an address, in which a name is escaped once more.
        address = unquote(server.hash.removeprefix("#model="))
        assert address == "own-model/my%2050%25%20%231.tflite"
        response, body = get(server, f"/{address}")
        assert (response.status, body) == (200, b"model")
        assert response.getheader("Cross-Origin-Resource-Policy") == "same-origin"


def test_https_with_a_certificate_of_its_own(site: Path, tmp_path: Path) -> None:
    certificate = sign("127.0.0.1")
    assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", certificate.fingerprint)
    trusted = tmp_path / "certificate.pem"
    trusted.write_bytes(certificate.certificate)
    with serving(WebServer(site, None, LOCAL, certificate.context())) as server:
        for host in ("127.0.0.1", "localhost"):
            context = ssl.create_default_context(cafile=str(trusted))
            connection = http.client.HTTPSConnection(host, server.port, timeout=10, context=context)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"index.html"
            connection.close()
        stranger = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10)
        with pytest.raises(ssl.SSLCertVerificationError):
            stranger.request("GET", "/")
        get_after_refusal = http.client.HTTPSConnection(
            "127.0.0.1", server.port, timeout=10, context=ssl.create_default_context(cafile=str(trusted))
        )
        get_after_refusal.request("GET", "/")
        assert get_after_refusal.getresponse().status == 200
        get_after_refusal.close()


def test_mistakes_are_one_line(site: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match="holds no page; build it with `make web`"):
        WebServer(tmp_path, None, LOCAL)
    with pytest.raises(MaskConverError, match=r"none\.tflite: expected a model file ending in"):
        WebServer(site, tmp_path / "none.tflite", LOCAL)
    with pytest.raises(MaskConverError, match=r"index\.html: expected a model file"):
        WebServer(site, site / "index.html", LOCAL)
    with WebServer(site, None, LOCAL) as server, pytest.raises(MaskConverError, match="choose another with --port"):
        WebServer(site, None, ("127.0.0.1", server.port))


def served(site: Path, *options: object) -> tuple[str, str, int]:
    """What the command prints until it waits, the address in it, and its exit code after Ctrl-C."""
    command = [COMMAND, "web", "--port", "0", "--site", *map(str, (site, *options))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=interruptible) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "Ctrl-C ends" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    found = re.search(r"https?://\S+", said)
    assert found is not None, said
    return said, found[0], process.returncode


def test_the_command_tells_the_address(site: Path, model: Path) -> None:
    said, url, code = served(site, "--model", model)
    assert code == 0
    assert re.fullmatch(r"http://localhost:\d+/#model=own-model%2Fmy%252050%2525%2520%25231\.tflite", url)
    assert "adb reverse tcp:" in said


def test_the_command_draws_a_code_for_phones(site: Path) -> None:
    try:
        address = lan_address()
    except MaskConverError:
        pytest.skip("this machine is in no network")
    said, url, code = served(site, "--https")
    assert code == 0
    assert url.startswith(f"https://{address}:")
    assert said.count("█") > 100
    assert "the phone warns once" in said


def test_the_command_without_a_page(tmp_path: Path) -> None:
    done = subprocess.run([COMMAND, "web"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: web_demo/dist: holds no page; build it with `make web`, and name its folder with --site\n"
    )
