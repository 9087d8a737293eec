"""One connection to the server of a shared store that may be written to, with the errors of redis-py translated.

Of redis-py this uses the connection alone: its pools, retries and Pub/Sub objects hide exactly the moments that a
registry has to know of (see `docs/redis.md`).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from rtcmesh.signaling.errors import MissingExtra, StoreFailed, StoreFull, StoreUnreachable
from rtcmesh.signaling.store_url import StoreUrl, Topology

from .partition import TAGS, Partition, slot_of

try:
    import hiredis
    from redis import exceptions
    from redis.asyncio.connection import Connection, SSLConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as error:
    raise MissingExtra("server") from error

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

Argument: TypeAlias = bytes | str | int
Reply: TypeAlias = bytes | int | list["Reply"] | None

MIN_VERSION = (7, 0)

# The stub says that a command is a tuple of one, and nothing of the result.
_pack = cast("Callable[[tuple[Argument, ...]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]

_ELSEWHERE = (
    exceptions.MovedError,
    exceptions.AskError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.ReadOnlyError,
    exceptions.BusyLoadingError,
)


class ScriptMissing(Exception):
    """The server does not know a script, or no longer."""


class StoreConnection:
    """A connection to the primary of a partition. Commands are answered in the order in which they are sent."""

    def __init__(self, connection: "AbstractConnection") -> None:
        """Use `open_connection`."""
        self._connection = connection
        self.run_id = ""
        """Which run of which server this is; another one may lack what this one was told last."""
        self.time = 0.0
        """The server's clock in Unix seconds when the connection was made."""
        self.policy = ""
        """What the server does when its memory is full."""

    async def send(self, commands: Iterable[tuple[Argument, ...]]) -> None:
        """Send commands. Raises `StoreUnreachable`."""
        try:
            # redis-py packs in Python, which alone would take a third of a server's time.
            packed = b"".join(map(_pack, commands))
            await self._connection.send_packed_command(packed, check_health=False)
        except (exceptions.RedisError, OSError) as error:
            raise StoreUnreachable(str(error)) from error

    async def receive(self) -> Reply:
        """Return the next reply, however long it takes.

        Raises `StoreFull`, `StoreFailed`, `ScriptMissing` for what the command came to, and `StoreUnreachable` when
        this is no longer the server to ask.
        """
        try:
            return cast("Reply", await self._connection.read_response(timeout=inf))
        except exceptions.NoScriptError as error:
            raise ScriptMissing from error
        except exceptions.OutOfMemoryError as error:
            raise StoreFull(str(error)) from error
        except _ELSEWHERE as error:
            raise StoreUnreachable(f"{type(error).__name__}: {error}") from error
        except exceptions.ResponseError as error:
            raise _translated(error) from error
        except (exceptions.RedisError, OSError) as error:
            raise StoreUnreachable(str(error)) from error

    async def ask(self, *command: Argument) -> Reply:
        """Send one command and return its reply."""
        await self.send([command])
        return await self.receive()

    async def introduce(self) -> None:
        """Learn who the server is. Raises `StoreUnreachable` unless it may be written to, `StoreFailed` if too old."""
        info = _parse_info(await self.ask("INFO"))
        if info.get("role") != "master":
            raise StoreUnreachable("it is a replica")
        if info.get("loading", "0") != "0":
            raise StoreUnreachable("it is loading its data")
        version = tuple(int(part) for part in info.get("redis_version", "0").split(".")[:2])
        if version < MIN_VERSION:
            raise StoreFailed(f"Redis {info.get('redis_version')} is too old: 7.0 or newer is needed")
        self.run_id, self.policy = info["run_id"], info.get("maxmemory_policy", "")
        now = await self.ask("TIME")
        assert isinstance(now, list)
        seconds, microseconds = (int(cast("bytes", part)) for part in now)
        self.time = seconds + microseconds / 1e6


@asynccontextmanager
async def open_connection(
    url: StoreUrl, partition: Partition, *, timeout: float
) -> AsyncGenerator[StoreConnection, None]:
    """Connect to the primary of a partition, and close the connection at the end.

    Raises `StoreUnreachable`, at the latest after `timeout`, and `StoreFailed` for a server that cannot be used.
    """
    raw: AbstractConnection | None = None
    try:
        try:
            async with asyncio.timeout(timeout):
                raw = _connection(url, *await _locate(url, partition))
                connection = StoreConnection(raw)
                await _connect(raw)
                await connection.introduce()
        except TimeoutError:
            raise StoreUnreachable("it does not answer") from None
        yield connection
    finally:
        if raw is not None:
            with suppress(exceptions.RedisError, OSError):
                await raw.disconnect(nowait=True)


async def _connect(connection: "AbstractConnection") -> None:
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
        raise StoreFailed(str(error)) from error
    except (exceptions.RedisError, OSError) as error:
        raise StoreUnreachable(str(error)) from error


async def _locate(url: StoreUrl, partition: Partition) -> tuple[str, int]:
    """Return the address of the primary that has the partition now."""
    if url.topology is Topology.STANDALONE:
        return url.hosts[0]
    ask = _ask_sentinel if url.topology is Topology.SENTINEL else _ask_cluster
    failure: Exception = StoreUnreachable("no host answered")
    for host, port in url.hosts:
        raw = _connection(url, host, port, sentinel=url.topology is Topology.SENTINEL)
        try:
            # A host that hangs must not keep the others from being asked.
            async with asyncio.timeout(1.0):
                await _connect(raw)
                found = await ask(StoreConnection(raw), url, partition)
        except TimeoutError:
            failure = StoreUnreachable(f"{host}:{port} does not answer")
        except (StoreUnreachable, StoreFailed) as error:
            failure = error
        else:
            return found[0] or host, found[1]
        finally:
            with suppress(exceptions.RedisError, OSError):
                await raw.disconnect(nowait=True)
    raise failure


async def _ask_sentinel(connection: StoreConnection, url: StoreUrl, _partition: Partition) -> tuple[str, int]:
    reply = await connection.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.service)
    if reply is None:
        raise StoreFailed(f"the sentinels know no service {url.service!r}")
    assert isinstance(reply, list)
    host, port = (cast("bytes", part).decode() for part in reply)
    return host, int(port)


async def _ask_cluster(connection: StoreConnection, _url: StoreUrl, partition: Partition) -> tuple[str, int]:
    slot = slot_of(TAGS[partition])
    ranges = cast("list[list[Any]]", await connection.ask("CLUSTER", "SLOTS"))
    for first, last, primary, *_replicas in ranges:
        if first <= slot <= last:
            return (primary[0] or b"").decode(), primary[1]
    raise StoreUnreachable(f"the cluster serves no slot {slot}")


def _connection(url: StoreUrl, host: str, port: int, *, sentinel: bool = False) -> "AbstractConnection":
    kind = SSLConnection if url.tls else Connection
    return kind(
        host=host,
        port=port,
        db=0 if sentinel else url.db,
        username=None if sentinel else url.username,
        password=url.sentinel_password if sentinel else url.password,
        # Deadlines are the caller's; a retry here would hide that a connection was lost.
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def _translated(
    error: exceptions.ResponseError,
) -> StoreFailed | StoreFull | StoreUnreachable | ScriptMissing:
    # Inside a script, an error reaches us as a plain one whose text begins with the code.
    text = str(error)
    if "OOM command not allowed" in text:
        return StoreFull(text)
    if text.startswith(
        ("READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "MOVED", "ASK ", "BUSY", "LOADING")
    ):
        return StoreUnreachable(text)
    return StoreFailed(text)


def _parse_info(reply: Reply) -> dict[str, str]:
    assert isinstance(reply, bytes)
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {key: value for key, colon, value in lines if colon}
