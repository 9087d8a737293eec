"""ICE by aioice, with what its public interface does not offer. This and `checks` alone touch its private names.

aioice gathers everything before anything can be signaled, asks one STUN and one TURN server, and hands datagrams over
through a queue. Here host candidates are told at once and the others as they come in, every server is asked, and what
is not STUN (RFC 7983) goes straight to the listener, from a socket that moves many datagrams with each call.

`missing_names` says whether the installed aioice has all that this needs; if not, `plain_ice` takes its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import struct
import time
from collections.abc import Coroutine, Sequence
from typing import Any, cast

import aioice
from aioice import ice, stun, turn
from aioice.candidate import candidate_foundation, candidate_priority

from .aioice_candidate import add_remote_candidate, from_aioice
from .candidate import Candidate
from .checks import Checks
from .config import IceTransportPolicy, WebRtcConfig
from .datagram_socket import Address, DatagramSocket, DatagramsProtocol, supports_batches
from .datagrams import Datagrams
from .freshness import Freshness
from .ice import CandidatePair, IceListener, RemoteCandidates
from .ice_server import StunServer, TurnServer

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 1.0
"""How long a TURN server may take to confirm that an allocation is deleted."""

EARLY_REPEATS = (0.1, 0.25)
"""When a STUN request is repeated before aioice does so, which is after half a second at the earliest.

Without, a lost check is what connecting over a lossy path waits for most. Browsers repeat theirs twenty times a second.
"""

MAX_RELAY_BUFFER_BYTES = 1024 * 1024
"""What may wait on a TCP connection to a TURN server before datagrams are dropped."""

_NAMES: Sequence[tuple[object, Sequence[str]]] = (
    (ice, ("StunProtocol", "relayed_candidate", "server_reflexive_candidate")),
    (ice.StunProtocol, ("datagram_received", "send_stun", "close")),
    (ice, ("candidate_pair_priority",)),
    (ice.CandidatePair, ("State",)),
    (ice.Connection, ("get_component_candidates", "data_received", "protocol_lost", "sort_check_list")),
    (ice.Connection, ("check_start", "check_complete", "check_state", "build_request", "switch_role")),
    (ice.Connection, ("_remote_candidates_expected", "_end_remote_candidates", "_pair_remote_candidate")),
    (ice.Connection, ("_check_list_maybe_fail", "_prune_components", "check_incoming", "query_consent")),
    (turn, ("TurnTransport",)),
    (turn.TurnClientMixin, ("send_data", "datagram_received")),
)
_ATTRIBUTES = (
    "_check_list",
    "_closing",
    "_early_checks_done",
    "_nominated",
    "_nominating",
    "_protocols",
    "_remote_candidates",
)


def missing_names() -> list[str]:
    """Return the names that this module needs and the installed aioice does not have."""
    missing = [name for place, names in _NAMES for name in names if not hasattr(place, name)]
    probe = aioice.Connection(ice_controlling=True)
    missing += [name for name in _ATTRIBUTES if not hasattr(probe, name)]
    return missing


class TrickleIce:
    """An agent that tells candidates as it finds them. See `IceAgent`."""

    def __init__(
        self,
        listener: IceListener,
        servers: Sequence[StunServer | TurnServer],
        config: WebRtcConfig,
        *,
        is_controlling: bool,
    ) -> None:
        self._listener = listener
        self._servers = servers
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._connection = Checks(self, config, is_controlling=is_controlling)
        self._admission = RemoteCandidates(resolve_mdns=config.resolve_mdns)
        self._known: set[tuple[str, int]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pair: ice.CandidatePair | None = None
        self._closing = False
        self.is_gathering = False
        """Whether local candidates may still be found."""
        self.freshness: Freshness | None = None
        """What keeps the pair that carries."""

    @property
    def ufrag(self) -> str:
        """See `IceAgent`."""
        return self._connection.local_username

    @property
    def password(self) -> str:
        """See `IceAgent`."""
        return self._connection.local_password

    @property
    def is_settled(self) -> bool:
        """Whether the search is over."""
        return self._connection.is_settled

    @property
    def selected_pair(self) -> CandidatePair | None:
        """See `IceAgent`."""
        if self._pair is None:
            return None
        return CandidatePair(
            from_aioice(self._pair.local_candidate), from_aioice(self._pair.remote_candidate)
        )

    async def gather(self) -> None:
        """See `IceAgent`."""
        self.is_gathering = True
        await self._connection.gather_candidates()
        for candidate in self._connection.local_candidates:
            self._found(candidate)
        if self._servers:
            self._spawn(self._ask_servers())
        else:
            self._end_gathering()

    async def add_remote_candidate(self, candidate: Candidate | None) -> None:
        """See `IceAgent`."""
        if not self._closing:
            await add_remote_candidate(self._connection, self._admission, candidate, self._spawn)

    def start(self, ufrag: str, password: str, *, is_lite: bool) -> None:
        """See `IceAgent`."""
        self._connection.remote_username = ufrag
        self._connection.remote_password = password
        del is_lite  # a lite end is checked and told what is nominated like any other
        self._spawn(self._run())

    def send(self, datagrams: Datagrams) -> None:
        """See `IceAgent`."""
        pair = self._pair
        if pair is None or self._closing:
            return
        transport: object = pair.protocol.transport
        if isinstance(transport, DatagramSocket):
            transport.send(datagrams, pair.remote_addr)
        elif isinstance(transport, turn.TurnTransport):
            _send_over_relay(transport, datagrams, pair.remote_addr)
        else:
            for datagram in datagrams.split():
                pair.protocol.transport.sendto(datagram, pair.remote_addr)

    async def close(self) -> None:
        """See `IceAgent`."""
        self._closing = True
        self._pair = None
        if self.freshness is not None:
            self.freshness.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        protocols = self._connection.protocols
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._connection.close()
        except TimeoutError:
            await asyncio.gather(*(_abandon(protocol) for protocol in protocols))

    # What the connection beneath reports

    def datagrams_received(self, datagrams: Datagrams) -> None:
        """Pass on what is not STUN."""
        if not self._closing:
            self._listener.datagrams_received(datagrams)

    def pair_changed(self, pair: ice.CandidatePair) -> None:
        """Send over this pair from now on."""
        if pair is not self._pair and not self._closing:
            self._pair = pair
            if self.freshness is not None:
                self.freshness.stop()
            self.freshness = Freshness(self, self._connection, pair)
            self._loop.call_soon(self._report_pair)

    def pair_lost(self) -> None:
        """End."""
        self._loop.call_soon(self._report_end, "its socket was closed")

    # What keeps the pair reports

    def consent_expired(self) -> None:
        """Send no more, and end."""
        self._pair = None
        self._report_end("the other end no longer answers ICE")

    async def open_hosts(self, component: int, addresses: Sequence[str]) -> list[aioice.Candidate]:
        """Open a socket on each address; what cannot be bound is left out."""
        candidates: list[aioice.Candidate] = []
        for number, address in enumerate(addresses):
            try:
                protocol = await self._open(address)
            except OSError as error:
                logger.info("no candidate for %s: %s", address, error)
                continue
            host, port = protocol.transport.get_extra_info("sockname")[:2]
            # Equal priorities would leave the order of pairs to chance (RFC 8445 section 5.1.2.1).
            priority = candidate_priority(component, "host", 65_535 - number)
            protocol.local_candidate = aioice.Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=priority,
                host=host,
                port=port,
                type="host",
            )
            self._connection.protocols.append(protocol)
            candidates.append(protocol.local_candidate)
        return candidates

    # Rules

    async def _open(self, address: str) -> _Protocol:
        if supports_batches(self._loop):
            protocol = _Protocol(self._connection, self)
            DatagramSocket.bind(self._loop, address, protocol)
            return protocol
        _, protocol = await self._loop.create_datagram_endpoint(
            lambda: _Protocol(self._connection, self), local_addr=(address, 0)
        )
        return protocol

    async def _run(self) -> None:
        try:
            await self._connection.connect()
        except ConnectionError as error:
            self._report_end(str(error))

    async def _ask_servers(self) -> None:
        asking: list[Coroutine[Any, Any, None]] = []
        for server in self._servers:
            if isinstance(server, TurnServer):
                asking.append(self._allocate(server))
            else:
                hosts = (
                    []
                    if self._config.ice_transport_policy is IceTransportPolicy.RELAY
                    else self._ipv4_hosts()
                )
                asking += [self._reflect(server, protocol) for protocol in hosts]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.gathering_timeout), asyncio.TaskGroup() as tasks:
                for each in asking:
                    tasks.create_task(each)
        self._end_gathering()

    def _ipv4_hosts(self) -> list[ice.StunProtocol]:
        return [
            protocol for protocol in self._connection.protocols if ":" not in protocol.local_candidate.host
        ]

    async def _reflect(self, server: StunServer, protocol: ice.StunProtocol) -> None:
        try:
            candidate, _ = await ice.server_reflexive_candidate(protocol, (server.host, server.port))
        except (OSError, stun.TransactionError, KeyError) as error:
            logger.info("STUN server %s:%d: %s", server.host, server.port, repr(error))
            return
        self._found(candidate)

    async def _allocate(self, server: TurnServer) -> None:
        tls = (self._config.turn_tls or ssl.create_default_context()) if server.tls else None
        try:
            candidate, protocol = await ice.relayed_candidate(
                component=1,
                hide_related_address=self._config.ice_transport_policy is IceTransportPolicy.RELAY,
                protocol_factory=lambda: _Protocol(self._connection, self),
                turn_server=(server.host, server.port),
                turn_username=server.username,
                turn_password=server.password,
                turn_ssl=cast("bool", tls),  # handed on to asyncio, which takes a context as well
                turn_transport=server.transport,
            )
        except (OSError, stun.TransactionError) as error:
            logger.info("TURN server %s:%d: %s", server.host, server.port, repr(error))
            return
        self._connection.add_local(protocol)
        self._found(candidate)

    def _found(self, candidate: aioice.Candidate) -> None:
        """Tell a candidate, unless it says nothing new (RFC 8445 section 5.1.3)."""
        if (candidate.host, candidate.port) not in self._known:
            self._known.add((candidate.host, candidate.port))
            self._listener.candidate_found(from_aioice(candidate))

    def _end_gathering(self) -> None:
        self.is_gathering = False
        self._connection.local_candidates_ended()
        self._listener.candidate_found(None)

    def _report_pair(self) -> None:
        if not self._closing:
            self._listener.pair_selected()

    def _report_end(self, reason: str) -> None:
        if not self._closing:
            self._listener.ice_ended(reason)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Protocol(ice.StunProtocol, DatagramsProtocol):
    """A socket of ours or an allocation on a TURN server: STUN goes to aioice, DTLS to the agent (RFC 7983)."""

    def __init__(self, connection: Checks, agent: TrickleIce) -> None:
        super().__init__(connection)
        self._agent = agent

    def datagrams_received(self, datagrams: Datagrams, addr: Address) -> None:
        """Sort a run of datagrams."""
        first_bytes = bytes(datagrams.data[:: datagrams.size_bytes])
        if min(first_bytes) > 19 and max(first_bytes) < 64:
            self._agent.datagrams_received(datagrams)
            return
        for datagram in datagrams.split():
            self.datagram_received(datagram, addr)

    def send_stun(self, message: stun.Message, addr: tuple[str, int]) -> None:
        """Send a message; a request again and again, as long as there is no answer and no pair is nominated."""
        super().send_stun(message, addr)
        if message.message_class is stun.Class.REQUEST and not self._agent.is_settled:
            for delay in EARLY_REPEATS:
                asyncio.get_running_loop().call_later(delay, self._repeat, message, addr)

    def _repeat(self, message: stun.Message, addr: tuple[str, int]) -> None:
        if message.transaction_id in self.transactions and not self._agent.is_settled:
            super().send_stun(message, addr)

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Sort one datagram."""
        assert isinstance(data, bytes)
        if data and 19 < data[0] < 64:
            self._agent.datagrams_received(Datagrams(data, len(data)))
            return
        freshness = self._agent.freshness
        if freshness is not None and freshness.receive(data, self, (addr[0], addr[1])):
            return
        try:
            super().datagram_received(data, addr)
        except Exception:
            # aioice takes some things for granted in a message that a peer made; one that lacks them is dropped.
            logger.debug("a STUN message was dropped", exc_info=True)


def _send_over_relay(transport: turn.TurnTransport, datagrams: Datagrams, addr: Address) -> None:
    """Send through a TURN server; without the task for each packet once a channel is bound (RFC 8656 section 12)."""
    client: Any = vars(transport).get("_TurnTransport__inner_protocol")
    channel = None if client is None else client.peer_to_channel.get(addr)
    if client is None or channel is None or time.time() > client.channel_refresh_at[channel]:
        for datagram in datagrams.split():
            transport.sendto(datagram, addr)
        return
    inner = client.transport
    if inner.is_closing() or getattr(inner, "get_write_buffer_size", int)() > MAX_RELAY_BUFFER_BYTES:
        return
    for datagram in datagrams.split():
        client._send(struct.pack("!HH", channel, len(datagram)) + datagram)  # noqa: SLF001


async def _abandon(protocol: ice.StunProtocol) -> None:
    """Let go of a socket whose orderly end takes too long; a server forgets an allocation that is not refreshed."""
    deletion: asyncio.Task[None] | None = vars(protocol.transport).get("_TurnTransport__close_task")
    if deletion is None:
        protocol.transport.close()
        deletion = vars(protocol.transport).get("_TurnTransport__close_task")
    if deletion is not None:
        deletion.cancel()
        await asyncio.wait([deletion])
