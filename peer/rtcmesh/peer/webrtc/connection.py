"""One WebRTC connection for data channels: ICE, DTLS and SCTP, one on top of the other.

    IceAgent ── datagrams ──▶ Dtls ── packets ──▶ Association ── events ──▶ ConnectionListener
       ▲                       │ seal                 │ packets_to_send
       └────── runs ───────────┴──────────────────────┘

Once connected, nothing on this way is a task or a queue: the socket's reader calls through to the listener.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import Protocol

from rtcmesh.peer.alarm import Alarm
from rtcmesh.peer.errors import TransportFailed
from rtcmesh.peer.sctp import (
    Association,
    AssociationAnswered,
    AssociationClosed,
    Event,
    MessagesReceived,
    Role,
    SctpConfig,
)

from .agents import default_agent
from .candidate import Candidate
from .certificate import process_certificate
from .config import WebRtcConfig
from .datagrams import Datagrams
from .description import MAX_CANDIDATES, Description, Setup
from .dtls import Dtls, DtlsState
from .errors import BadDescription
from .ice import CandidatePair, IceAgent, IceAgentFactory
from .ice_server import StunServer, TurnServer

logger = logging.getLogger(__name__)

_random = SystemRandom()

MAX_EARLY_DATAGRAMS = 64
"""What waits for our own handshake to begin; the other end repeats what is lost."""

FIRST_WORD_TURNS = 3
"""For how many turns of the event loop the cookie waits for company: the listener tells a task that tells another."""

MAX_CLOSE_PERIODS = 5
"""How many times `close_timeout` closing may take while the other end does answer."""


class ConnectionListener(Protocol):
    """Who uses a connection. Called from the event loop, never from within a call of the connection."""

    def association_made(self, association: Association) -> None:
        """The description of the other end was taken: channels can be opened, before anything can arrive on them."""
        ...

    def candidate_gathered(self, candidate: str) -> None:
        """A candidate was found that no description has; the empty string: there are no more (W3C webrtc-pc)."""
        ...

    def event_received(self, event: Event) -> None:
        """Something happened on the association, in order. Messages count as consumed when this returns."""
        ...

    def connection_ended(self, reason: str) -> None:
        """The connection failed, or the other end closed it. Nothing follows; never called after `close`."""
        ...


@dataclass(slots=True)
class Traffic:
    """What crossed the selected pair."""

    packets_sent: int = 0
    packets_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


class Connection:
    """Negotiated once, opened once, closed once. Owned by one task that always ends it with `close`.

    Descriptions and candidates of the other end may be anything: what cannot be used is a `TransportFailed`.
    """

    def __init__(
        self,
        listener: ConnectionListener,
        servers: Sequence[StunServer | TurnServer] = (),
        config: WebRtcConfig | None = None,
        *,
        agent: IceAgentFactory | None = None,
        random: Random | None = None,
    ) -> None:
        self._listener = listener
        self._servers = servers
        self._config = config or WebRtcConfig()
        self._make_agent = agent or default_agent()
        self._random = random or _random
        self._certificate = self._config.certificate or process_certificate()
        self._loop = asyncio.get_running_loop()
        self._agent: IceAgent | None = None
        self._dtls: Dtls | None = None
        self._association: Association | None = None
        self._mid = "0"
        self._local: list[Candidate] = []
        self._gathered = asyncio.Event()
        self._described = False
        self._early_candidates: list[Candidate | None] = []
        self._early_datagrams: list[bytes] = []
        self.will_flush = False
        """Whether what the association is given now leaves without `schedule_flush`: a flush is due, or under way."""
        self._flushing = False
        self._alarm = Alarm(self._deadline, self._timeout)
        self._heard_at = 0.0
        self._closing = False
        self._over = asyncio.Event()
        self.traffic = Traffic()
        """What was sent and received, in datagrams."""

    # Negotiation

    async def create_offer(self, *, complete: bool = False) -> str:
        """Return an offer with the host candidates; those of servers follow as they are found.

        With `complete`, wait for them a while and put them in: some peers take no others.
        """
        await self._gather(is_controlling=True, complete=complete)
        return self._describe(Setup.ACTPASS)

    async def create_answer(self, offer: str, *, complete: bool = False) -> str:
        """Take an offer and return the answer. Raises `TransportFailed`."""
        remote = Description.parse(offer)
        self._mid = remote.mid
        await self._gather(is_controlling=remote.is_lite, complete=complete)
        # RFC 8842 section 5.3 leaves the choice to us: the client speaks first, and saves half a round trip.
        is_client = remote.setup is not Setup.ACTIVE
        await self._begin(remote, is_client=is_client)
        return self._describe(Setup.ACTIVE if is_client else Setup.PASSIVE)

    async def accept_answer(self, answer: str) -> None:
        """Take the answer to our offer. Raises `TransportFailed`."""
        remote = Description.parse(answer)
        if remote.setup is Setup.ACTPASS:
            raise BadDescription("an answer", "it does not choose a side of the DTLS handshake")
        if self._agent is None or self._dtls is not None:
            raise TransportFailed("an answer without an offer")
        await self._begin(remote, is_client=remote.setup is Setup.PASSIVE)

    async def add_candidate(self, candidate: str) -> None:
        """Take a candidate of the other end, also before its description; empty: no more follow."""
        try:
            parsed = Candidate.parse(candidate) if candidate.strip() else None
        except BadDescription as error:
            logger.debug("%s", error)  # RFC 8839 section 5.1: what is not understood is ignored
            return
        if self._dtls is not None and self._agent is not None:
            await self._agent.add_remote_candidate(parsed)
        elif len(self._early_candidates) < MAX_CANDIDATES:
            self._early_candidates.append(parsed)

    # The association, for the listener

    def schedule_flush(self) -> None:
        """Send what the association wants to send, once for everything that this turn of the event loop brings.

        While nothing is on its way, what comes first leaves at once: the next turn would come too late for an answer.
        """
        if self.will_flush:
            return
        association, dtls, agent = self._association, self._dtls, self._agent
        if association is not None and dtls is not None and agent is not None and association.is_idle:
            self._transmit(association, dtls, agent, self._loop.time())
            if dtls.state is DtlsState.CONNECTED and not self._over.is_set():
                self._alarm.set()
                return
        self._flush_later(1)

    @property
    def dtls(self) -> Dtls | None:
        """The DTLS connection, once the description of the other end is known."""
        return self._dtls

    @property
    def association(self) -> Association | None:
        """The association, once the description of the other end is known."""
        return self._association

    @property
    def selected_pair(self) -> CandidatePair | None:
        """The pair of addresses over which datagrams are sent."""
        return None if self._agent is None else self._agent.selected_pair

    async def close(self) -> None:
        """Deliver what was sent, say goodbye and release everything. Idempotent, never raises.

        Takes `close_timeout` when the other end has fallen silent. Cancelling it loses what was not yet delivered.
        """
        if self._closing:
            return
        self._closing = True
        try:
            await self._drain()
        finally:
            self._shut_down()
            if self._agent is not None:
                await self._agent.close()

    # IceListener

    def candidate_found(self, candidate: Candidate | None) -> None:
        """Keep it for the description, or trickle it."""
        if candidate is None:
            self._gathered.set()
        else:
            self._local.append(candidate)
        if self._described and not self._closing:
            self._listener.candidate_gathered("" if candidate is None else str(candidate))

    def pair_selected(self) -> None:
        """Begin the DTLS handshake, when this is the first pair."""
        dtls = self._dtls
        assert dtls is not None, "checks begin with the remote description"
        pair = self.selected_pair
        if pair is not None and self._association is not None:
            may_grow = "relay" not in (pair.local.type, pair.remote.type)
            self._association.path_selected(self._loop.time(), may_grow=may_grow)
        if dtls.state is DtlsState.NEW:
            dtls.start(self._loop.time())
            early, self._early_datagrams = self._early_datagrams, []
            for datagram in early:
                self.datagrams_received(Datagrams(datagram, len(datagram)))
        self._advance()

    def datagrams_received(self, datagrams: Datagrams) -> None:
        """Decrypt, and give the packets to the association."""
        self.traffic.packets_received += datagrams.count
        self.traffic.bytes_received += len(datagrams.data)
        dtls = self._dtls
        if dtls is None or dtls.state is DtlsState.NEW:
            room = MAX_EARLY_DATAGRAMS - len(self._early_datagrams)
            self._early_datagrams += list(datagrams.split())[:room]
            return
        now = self._loop.time()
        packets = dtls.receive(datagrams, now)
        if packets and self._association is not None:
            self._heard_at = now
            self._association.receive_packets(packets, now)
        self._advance()

    def ice_ended(self, reason: str) -> None:
        """End."""
        self._end(reason)

    # Rules

    async def _gather(self, *, is_controlling: bool, complete: bool) -> None:
        if self._agent is not None or self._closing:
            raise TransportFailed("a connection is negotiated once")
        self._agent = self._make_agent(self, self._servers, self._config, is_controlling=is_controlling)
        try:
            await self._agent.gather()
            if complete:
                async with asyncio.timeout(self._config.complete_within):
                    await self._gathered.wait()
        except TimeoutError:
            logger.info("the description goes out before all candidates are found")
        except OSError as error:
            raise TransportFailed(f"no candidates: {error}") from error

    def _describe(self, setup: Setup) -> str:
        assert self._agent is not None
        self._described = True
        return Description(
            ufrag=self._agent.ufrag,
            password=self._agent.password,
            fingerprints=(self._certificate.fingerprint,),
            setup=setup,
            mid=self._mid,
            max_message_bytes=self._config.max_message_bytes,
            candidates=tuple(self._local),
            is_complete=self._gathered.is_set(),
        ).write(session_id=self._random.getrandbits(62))

    async def _begin(self, remote: Description, *, is_client: bool) -> None:
        assert self._agent is not None
        self._dtls = Dtls(self._certificate, remote.fingerprints, is_client=is_client)
        config = SctpConfig(
            role=Role.CLIENT if is_client else Role.SERVER,
            remote_port=remote.sctp_port,
            congestion_control=self._config.congestion_control,
            max_packet_bytes=self._config.max_packet_bytes,
            receive_window_bytes=self._config.receive_window_bytes,
            max_message_bytes=self._config.max_message_bytes,
            zero_checksum=True,
        )
        self._association = Association(config, self._random)
        self._association.remote_max_message_bytes = remote.max_message_bytes
        self._listener.association_made(self._association)
        early, self._early_candidates = self._early_candidates, []
        ending = [None] if remote.is_complete else []
        for candidate in [*remote.candidates, *early, *ending]:
            await self._agent.add_remote_candidate(candidate)
        self._agent.start(remote.ufrag, remote.password, is_lite=remote.is_lite)

    def _flush_later(self, turns: int) -> None:
        if not self._flushing:
            self._flushing = self.will_flush = True
            self._loop.call_soon(self._flush, turns)

    def _flush(self, turns: int) -> None:
        if turns > 1:
            self._loop.call_soon(self._flush, turns - 1)
        else:
            self._flushing = self.will_flush = False
            self._advance()

    def _advance(self) -> None:
        """Carry out what the machines want, and tell the listener what happened: the one drain."""
        dtls, association, agent = self._dtls, self._association, self._agent
        if dtls is None or association is None or agent is None or self._over.is_set():
            return
        now = self._loop.time()
        self.will_flush = True  # what the listener sends meanwhile leaves with the rest
        try:
            for datagram in dtls.datagrams_to_send():
                self._send(agent, Datagrams(datagram, len(datagram)))
            if dtls.state is DtlsState.CONNECTED:
                if not self._heard_at:
                    self._heard_at = now
                    association.connect(now)
                if not self._report(association, association.events()):
                    self._transmit(association, dtls, agent, now)
        finally:
            self.will_flush = self._flushing
        if dtls.state is DtlsState.FAILED:
            self._end(dtls.reason)
        elif dtls.state is DtlsState.CLOSED:
            self._end("the remote end closed the connection")
        else:
            self._alarm.set()

    def _report(self, association: Association, events: list[Event]) -> bool:
        """Tell the listener what happened; return whether to wait for what it has to say, with the cookie."""
        answered = False
        receive = self._listener.event_received
        for event in events:
            if isinstance(event, MessagesReceived):
                association.consumed(sum(map(len, event.messages)), len(event.messages))
            elif isinstance(event, AssociationClosed):
                self._end(f"{event.reason.value}: {event.detail}" if event.detail else event.reason.value)
                continue
            elif isinstance(event, AssociationAnswered):
                answered = True
                self._flush_later(FIRST_WORD_TURNS)
            if not self._closing:
                try:
                    receive(event)
                except Exception as error:  # noqa: BLE001  (what follows it must not suffer from the listener's fault)
                    self._loop.call_exception_handler({"message": "a listener failed", "exception": error})
        return answered

    def _transmit(self, association: Association, dtls: Dtls, agent: IceAgent, now: float) -> None:
        packets = association.packets_to_send(now)
        if packets:
            for run in dtls.seal(packets):
                self._send(agent, run)
        if association.has_events:
            self._flush_later(1)  # whoever waits to send more need not wait for an answer

    def _send(self, agent: IceAgent, datagrams: Datagrams) -> None:
        self.traffic.packets_sent += datagrams.count
        self.traffic.bytes_sent += len(datagrams.data)
        agent.send(datagrams)

    def _deadline(self) -> float | None:
        if self._over.is_set():
            return None
        assert self._dtls is not None
        assert self._association is not None
        secured = self._dtls.state is DtlsState.CONNECTED
        return self._association.deadline() if secured else self._dtls.deadline()

    def _timeout(self, now: float) -> None:
        if self._dtls is not None and self._association is not None:
            self._dtls.handle_timeout(now)
            if self._dtls.state is DtlsState.CONNECTED:
                self._association.handle_timeout(now)
        self._advance()

    def _end(self, reason: str) -> None:
        if self._over.is_set():
            return
        self._over.set()
        self._alarm.stop()
        if not self._closing:
            self._listener.connection_ended(reason)

    async def _drain(self) -> None:
        """Shut the association down, which delivers what was sent, unless the other end does not answer."""
        if self._association is None or self._dtls is None or self._dtls.state is not DtlsState.CONNECTED:
            return
        start = self._loop.time()
        self._association.shutdown(start)
        self._advance()
        patience = self._config.close_timeout
        while not self._over.is_set():
            until = min(max(self._heard_at, start) + patience, start + MAX_CLOSE_PERIODS * patience)
            if until <= self._loop.time():
                return
            try:
                async with asyncio.timeout_at(until):
                    await self._over.wait()
            except TimeoutError:
                continue

    def _shut_down(self) -> None:
        self._over.set()
        self._alarm.stop()
        if self._dtls is not None and self._agent is not None:
            self._dtls.shutdown()
            for datagram in self._dtls.datagrams_to_send():
                self._send(self._agent, Datagrams(datagram, len(datagram)))
