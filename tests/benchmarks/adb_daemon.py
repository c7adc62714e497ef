"""The device side of the adb protocol, for tests: real adb clients talk to it over TCP.

Speaks CNXN without authentication, `shell` and `shell,v2`, and the sync service (STAT, SEND, RECV). Commands run in
a shell of this machine, in a folder of its own, which also holds `/sdcard`, with `getprop` and `dumpsys` as small
scripts; or in whatever `shell` the test gives, such as an emulated user land. Says of itself that its processor is
emulated.
"""

import contextlib
import os
import queue
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CNXN, AUTH, OPEN, OKAY, CLSE, WRTE = (
    int.from_bytes(word, "little") for word in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
VERSION = 0x01000001
MAX_DATA = 256 * 1024
SYNC_CHUNK = 64 * 1024
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)

CARD = "/sdcard/"
RUNS = ("echo $$ > pid", "while [ ! -f")
"""What marks a command that measures, or waits for the app to."""

PROPERTIES = {
    "ro.product.manufacturer": "Example",
    "ro.product.model": "Scripted",
    "ro.soc.model": "EX1000",
    "ro.build.version.release": "15",
    "ro.build.version.sdk": "35",
    "ro.product.cpu.abi": "x86_64",
    "ro.boot.qemu": "1",
}


@dataclass
class Script:
    """How a device behaves.

    Attributes:
        state: `device`, `unauthorized` or `offline`.
        properties: what `getprop` answers.
        programs: further commands by name, as shell scripts.
        drop_at: break the connection at the first `push`, `run` or `pull`...
        drops: ... this often; with `gone` for good.
        gone: stop listening when the connection breaks.
        disk_full: refuse every push.
        interpreter: what runs a command, given as its last argument.
    """

    state: str = "device"
    properties: dict[str, str] = field(default_factory=lambda: dict(PROPERTIES))
    programs: dict[str, str] = field(default_factory=dict)
    drop_at: str = ""
    drops: int = 1
    gone: bool = False
    disk_full: bool = False
    interpreter: Sequence[str] = ("/bin/sh", "-c")


class Daemon:
    """A device on 127.0.0.1; a context manager."""

    def __init__(self, root: Path, script: Script) -> None:
        self.root = root
        self.script = script
        self.search_path = f"{root}/bin:{os.environ['PATH']}"
        self.commands: list[str] = []
        self.pushed: list[str] = []
        self._connections: list[_Connection] = []
        self._write_programs()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _write_programs(self) -> None:
        binaries = self.root / "bin"
        binaries.mkdir(parents=True)
        (self.root / "tmp").mkdir()
        cases = "\n".join(f"{name}) echo '{value}';;" for name, value in self.script.properties.items())
        programs = {"getprop": f'case "$1" in\n{cases}\nesac', "python3": f'exec {sys.executable} "$@"'}
        for name, text in (programs | self.script.programs).items():
            (binaries / name).write_text(f"#!/bin/sh\n{text}\n")
            (binaries / name).chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the device's shell."""
        return {"PATH": self.search_path, "TMPDIR": str(self.root / "tmp")}

    def __enter__(self) -> "Daemon":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.vanish()

    def vanish(self) -> None:
        """Stop listening and break every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = _Connection(self, self._listener.accept()[0])
                self._connections.append(connection)
                threading.Thread(target=connection.serve, daemon=True).start()

    def should_drop(self, moment: str) -> bool:
        """Whether the script breaks the connection now."""
        if self.script.drop_at != moment or self.script.drops <= 0:
            return False
        self.script.drops -= 1
        return True


class _Connection:
    def __init__(self, daemon: Daemon, link: socket.socket) -> None:
        self.daemon = daemon
        self._link = link
        self._lock = threading.Lock()
        self._streams: dict[int, _Stream] = {}

    def serve(self) -> None:
        try:
            while True:
                self._handle(*self._receive())
        except (OSError, EOFError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()
        for stream in list(self._streams.values()):
            stream.abandon()

    def drop(self) -> None:
        if self.daemon.script.gone:
            self.daemon.vanish()
        self.close()
        raise EOFError

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._link.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _receive(self) -> tuple[int, int, int, bytes]:
        command, first, second, size, _, _ = struct.unpack("<6I", self._exactly(24))
        return command, first, second, self._exactly(size)

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        header = struct.pack("<6I", command, first, second, len(data), sum(data), command ^ 0xFFFFFFFF)
        with self._lock:
            self._link.sendall(header + data)

    def _handle(self, command: int, first: int, second: int, data: bytes) -> None:
        if command in (CNXN, AUTH):
            self._greet()
        elif command == OPEN:
            stream = _Stream(self, len(self._streams) + 1, first, data.rstrip(b"\0").decode())
            self._streams[stream.own] = stream
            self.send(OKAY, stream.own, stream.other)
            threading.Thread(target=stream.run, daemon=True).start()
        elif command == WRTE:
            self._streams[second].incoming.put(data)
            self.send(OKAY, second, first)
        elif command == OKAY:
            self._streams[second].granted.release()
        elif command == CLSE and second in self._streams:
            self._streams[second].abandon()

    def _greet(self) -> None:
        state = self.daemon.script.state
        if state == "unauthorized":
            self.send(AUTH, 1, 0, bytes(20))
        elif state == "device":
            banner = b"device::ro.product.name=x;ro.product.model=Scripted;ro.product.device=x;features=shell_v2,cmd"
            self.send(CNXN, VERSION, MAX_DATA, banner)


class _Stream:
    def __init__(self, connection: _Connection, own: int, other: int, service: str) -> None:
        self._connection, self.own, self.other, self._service = connection, own, other, service
        self.incoming: queue.Queue[bytes | None] = queue.Queue()
        self.granted = threading.Semaphore(1)
        self._buffer = b""
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        try:
            if self._service == "sync:":
                _Sync(self, self._connection).serve()
            elif self._service.startswith("shell"):
                kind, _, command = self._service.partition(":")
                self._shell(command, framed=",v2" in kind or kind == "shell,v2,raw")
        except (OSError, EOFError):
            pass
        finally:
            with contextlib.suppress(OSError):
                self._connection.send(CLSE, self.own, self.other)

    def abandon(self) -> None:
        self.incoming.put(None)
        self.granted.release()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), SYNC_CHUNK):
            self.granted.acquire()
            self._connection.send(WRTE, self.own, self.other, data[start : start + SYNC_CHUNK])

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            part = self.incoming.get()
            if part is None:
                raise EOFError
            self._buffer += part
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _shell(self, command: str, *, framed: bool) -> None:
        daemon = self._connection.daemon
        daemon.commands.append(command)
        command = command.replace(CARD, f"{daemon.root}{CARD}")
        self._process = process = subprocess.Popen(
            [*daemon.script.interpreter, command],
            cwd=daemon.root,
            env=daemon.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if framed else subprocess.STDOUT,
            start_new_session=True,
        )
        if any(sign in command for sign in RUNS) and daemon.should_drop("run"):
            self._connection.drop()
        sinks = [(process.stdout, STDOUT), (process.stderr, STDERR)]
        pumps = [threading.Thread(target=self._pump, args=(*sink, framed), daemon=True) for sink in sinks if sink[0]]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        code = process.wait()
        if framed:
            self.write(struct.pack("<BIB", EXIT, 1, code if code >= 0 else 128 - code))

    def _pump(self, source: "subprocess.IO[bytes]", kind: int, framed: bool) -> None:  # type: ignore[name-defined]
        with contextlib.suppress(OSError):
            while data := os.read(source.fileno(), SYNC_CHUNK // 2):
                self.write((struct.pack("<BI", kind, len(data)) if framed else b"") + data)


class _Sync:
    """The file service: a request is four letters, a length and that many bytes."""

    def __init__(self, stream: _Stream, connection: _Connection) -> None:
        self._stream, self._connection = stream, connection

    def serve(self) -> None:
        while True:
            name, size = struct.unpack("<4sI", self._stream.read(8))
            if name == b"QUIT":
                return
            argument = self._stream.read(size).decode()
            {b"STAT": self._stat, b"SEND": self._receive_file, b"RECV": self._send_file}[name](argument)

    def _path(self, name: str) -> Path:
        return self._connection.daemon.root / (name[1:] if name.startswith(CARD) else name)

    def _stat(self, name: str) -> None:
        try:
            found = self._path(name).stat()
            answer = (found.st_mode, found.st_size, int(found.st_mtime))
        except OSError:
            answer = (0, 0, 0)
        self._stream.write(struct.pack("<4s3I", b"STAT", *answer))

    def _receive_file(self, argument: str) -> None:
        daemon = self._connection.daemon
        name, _, _ = argument.rpartition(",")
        if daemon.should_drop("push"):
            self._path(name).write_bytes(b"half")
            self._connection.drop()
        content = b"".join(self._chunks())
        if daemon.script.disk_full:
            message = b"write failed: No space left on device"
            self._stream.write(struct.pack("<4sI", b"FAIL", len(message)) + message)
            return
        self._path(name).write_bytes(content)
        daemon.pushed.append(name)
        self._stream.write(struct.pack("<4sI", b"OKAY", 0))

    def _chunks(self) -> Iterator[bytes]:
        while True:
            name, size = struct.unpack("<4sI", self._stream.read(8))
            if name == b"DONE":
                return
            yield self._stream.read(size)

    def _send_file(self, name: str) -> None:
        if self._connection.daemon.should_drop("pull"):
            self._connection.drop()
        try:
            content = self._path(name).read_bytes()
        except OSError as error:
            message = str(error.strerror).encode()
            self._stream.write(struct.pack("<4sI", b"FAIL", len(message)) + message)
            return
        for start in range(0, len(content), SYNC_CHUNK):
            part = content[start : start + SYNC_CHUNK]
            self._stream.write(struct.pack("<4sI", b"DATA", len(part)) + part)
        self._stream.write(struct.pack("<4sI", b"DONE", 0))


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens to now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clients() -> dict[str, Path]:
    """The real adb clients at hand, by where they come from."""
    found = {}
    with contextlib.suppress(ImportError):
        import adbutils

        found["adbutils"] = Path(adbutils.__file__).parent / "binaries" / "adb"
    system = shutil.which("adb")
    if system:
        found["system"] = Path(system)
    return found
