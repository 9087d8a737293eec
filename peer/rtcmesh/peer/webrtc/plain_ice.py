"""ICE through aioice's public interface alone: slower, and without trickling of local candidates."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

import aioice

from .aioice_candidate import add_remote_candidate, from_aioice
from .candidate import Candidate
from .config import WebRtcConfig
from .datagrams import Datagrams
from .ice import CandidatePair, IceListener, RemoteCandidates
from .ice_server import StunServer, TurnServer

logger = logging.getLogger(__name__)

MAX_WAITING_DATAGRAMS = 1024
"""Datagrams that wait to be sent, one task for all of them; beyond that they are dropped."""

CLOSE_TIMEOUT = 1.0


class PlainIce:
    """An agent that gathers everything first. See `IceAgent`.

    It cannot tell which pair was selected, and connects with the first STUN and the first TURN server only. A TLS
    context for `turns:` is not supported.
    """

    def __init__(
        self,
        listener: IceListener,
        servers: Sequence[StunServer | TurnServer],
        config: WebRtcConfig,
        *,
        is_controlling: bool,
    ) -> None:
        self._listener = listener
        stun = next((server for server in servers if isinstance(server, StunServer)), None)
        turn = next((server for server in servers if isinstance(server, TurnServer)), None)
        self._connection = aioice.Connection(
            ice_controlling=is_controlling,
            stun_server=(stun.host, stun.port) if stun else None,
            turn_server=(turn.host, turn.port) if turn else None,
            turn_username=turn.username if turn else None,
            turn_password=turn.password if turn else None,
            turn_ssl=turn.tls if turn else False,
            turn_transport=turn.transport if turn else "udp",
            use_ipv4=config.use_ipv4,
            use_ipv6=config.use_ipv6,
            transport_policy=aioice.TransportPolicy[config.ice_transport_policy.name],
        )
        self._admission = RemoteCandidates(resolve_mdns=config.resolve_mdns)
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING_DATAGRAMS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def ufrag(self) -> str:
        """See `IceAgent`."""
        return self._connection.local_username

    @property
    def password(self) -> str:
        """See `IceAgent`."""
        return self._connection.local_password

    @property
    def selected_pair(self) -> CandidatePair | None:
        """Not known here."""
        return None

    async def gather(self) -> None:
        """Find all candidates, which takes 5 s when a server is silent."""
        await self._connection.gather_candidates()
        for candidate in self._connection.local_candidates:
            self._listener.candidate_found(from_aioice(candidate))
        self._listener.candidate_found(None)

    async def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """See `IceAgent`."""
        await add_remote_candidate(self._connection, self._admission, candidate, self._spawn)

    def start(self, ufrag: str, password: str, *, is_lite: bool) -> None:
        """See `IceAgent`."""
        self._connection.remote_username = ufrag
        self._connection.remote_password = password
        self._connection.remote_is_lite = is_lite
        self._spawn(self._run())

    def send(self, datagrams: Datagrams) -> None:
        """See `IceAgent`."""
        for datagram in datagrams.split():
            if not self._waiting.full():
                self._waiting.put_nowait(datagram)

    async def close(self) -> None:
        """See `IceAgent`."""
        if self._waiting.qsize():
            await asyncio.sleep(0)  # the last words of DTLS
        self._closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._connection.close()
        except TimeoutError:
            logger.info("a TURN server did not confirm that an allocation is deleted")

    async def _run(self) -> None:
        try:
            await self._connection.connect()
            self._spawn(self._send_waiting())
            self._listener.pair_selected()
            while True:
                datagram = await self._connection.recv()
                if datagram and 19 < datagram[0] < 64:
                    self._listener.datagrams_received(Datagrams(datagram, len(datagram)))
        except ConnectionError as error:
            if not self._closing:
                self._listener.ice_ended(str(error))

    async def _send_waiting(self) -> None:
        while True:
            datagram = await self._waiting.get()
            try:
                await self._connection.send(datagram)
            except ConnectionError as error:
                logger.debug("a datagram was dropped: %s", error)
                return

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
