"""The shell around everything that concerns one other peer: negotiation, path, session.

One owner, one drain: every input goes into a machine and `_drain` then carries out whatever the machines want. What
the application sends is drained once per turn of the event loop, so that small messages share packets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any, Protocol, assert_never

from rtcmesh.signaling.identity import PeerId, short
from rtcmesh.signaling.messages import IceServer, Member
from rtcmesh.signaling.sealing import PairSeal

from . import frames
from .attempt import Attempt
from .config import MeshConfig
from .conversation import Conversation
from .errors import ProtocolViolation
from .events import PathChangeReason, PathKind
from .liveness import Liveness
from .negotiation import (
    AcceptAnswer,
    Action,
    AddCandidate,
    Discard,
    MakeAnswer,
    MakeOffer,
    Negotiation,
    SendSignal,
    State,
)
from .session import CreditGrew, MessageReceived, RemoteEnded, RemoteRestarted, Session
from .signal_line import SignalLine
from .transport import HIGH_WATER_BYTES, TransportFactory

logger = logging.getLogger(__name__)


class Surroundings(Protocol):
    """What a remote peer needs of the mesh it belongs to."""

    config: MeshConfig
    random: Random
    transports: TransportFactory
    dial_slot: asyncio.Semaphore

    @property
    def peer_id(self) -> PeerId:
        """The local peer."""
        ...

    @property
    def ice_servers(self) -> Sequence[IceServer]:
        """The servers to gather candidates with, as last announced."""
        ...

    def derive_seal(self, member: Member) -> PairSeal | None:
        """Return a new seal for a membership; None for a prekey that cannot be verified."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that the mesh awaits before it is closed."""
        ...

    async def send_signal(self, to: PeerId, sealed: bytes) -> None:
        """Hand a sealed signal to the server. Returns when it was accepted or cannot be."""
        ...

    def path_changed(self, remote: RemotePeer, reason: PathChangeReason) -> None:
        """The path to this peer is another one, or gone."""
        ...

    def message_received(self, conversation: Conversation, message: MessageReceived) -> None:
        """A message waits to be taken."""
        ...

    def peer_ended(self, remote: RemotePeer) -> None:
        """The peer said goodbye."""
        ...

    def peer_restarted(self, remote: RemotePeer, ended: Conversation) -> None:
        """Another session answers for this peer; a new conversation has begun."""
        ...


class RemotePeer:
    """One other member of the room."""

    def __init__(self, member: Member, seal: PairSeal, mesh: Surroundings) -> None:
        self.peer_id = member.peer_id
        self.presence = member.presence
        self.suspended = member.suspended
        self._member = member
        self._mesh = mesh
        self._loop = asyncio.get_running_loop()
        self._line, self._line_task = self._new_line(seal)
        self._negotiation = self._new_negotiation()
        self._attempt: Attempt | None = None
        self._path: Attempt | None = None
        self._liveness: Liveness | None = None
        self.conversation = self._new_conversation()
        self._timer: asyncio.TimerHandle | None = None
        self._drain_scheduled = False
        self._gone = False
        self._closing = False
        self._remote_ended = False
        self._finished = asyncio.Event()

    # What is known

    @property
    def path(self) -> PathKind | None:
        """How the peer is reached now."""
        return PathKind.DIRECT if self._path else None

    @property
    def rtt(self) -> float | None:
        """The smoothed round-trip time of the path in seconds."""
        return self._liveness.rtt if self._liveness else None

    @property
    def attempts(self) -> int:
        """How many attempts at a transport there were in the present pair of memberships."""
        return self._negotiation.attempt

    @property
    def rejected_signals(self) -> int:
        """How many signals were forged, replayed or malformed in the present pair of memberships."""
        return self._line.rejected

    # Commands

    def dial(self) -> None:
        """Start to get a path."""
        self._negotiation.dial(self._loop.time())
        self._drain()

    def hurry(self) -> None:
        """Dial without waiting out the pauses of before: signaling is back."""
        self._negotiation.hurry(self._loop.time())
        self._drain()

    def rekey(self, member: Member, seal: PairSeal) -> None:
        """Take a new membership of the same peer. Negotiation starts over; an open path goes on."""
        self._member = member
        self._replace_line(seal)
        self._restart_negotiation()
        self._drain()

    def receive_signal(self, sealed: bytes) -> None:
        """Take a sealed signal. What cannot be opened or read is counted, and changes nothing."""
        signal = self._line.open(sealed)
        if self._line.exhausted and (seal := self._mesh.derive_seal(self._member)):
            self._replace_line(seal)
            signal = self._line.open(sealed)
        if signal is None:
            return
        if self._line.remote_began_anew:
            self._restart_negotiation()  # the remote end counts its attempts from 1 again
        self._negotiation.receive(signal, self._loop.time())
        self._drain()

    async def close(self) -> None:
        """Deliver what was sent and end the session in order; for the caller to bound."""
        self._closing = True
        self._end_conversation()
        self._drain()
        await self._finished.wait()

    def abandon(self) -> int:
        """Let go of everything at once. Returns how many messages were never acknowledged."""
        self._gone = True
        self._finished.set()
        self._negotiation.hang_up()
        for attempt in (self._attempt, self._path):
            if attempt is not None:
                attempt.discard()
        self._attempt = self._path = self._liveness = None
        if self._timer is not None:
            self._timer.cancel()
        self._line_task.cancel()
        self.conversation.end()
        return self.conversation.session.unacknowledged

    # AttemptOwner: reports of the transports

    def described(self, attempt: Attempt, sdp: str) -> None:
        """Pass the description on to the remote peer."""
        now = self._loop.time()
        if self._offers:
            self._negotiation.offer_made(attempt.number, sdp, now)
        else:
            self._negotiation.answer_made(attempt.number, sdp, now)
        self._drain()

    def candidate_gathered(self, attempt: Attempt, candidate: str) -> None:
        """Pass the candidate on to the remote peer."""
        self._negotiation.candidate_gathered(attempt.number, candidate)
        self._drain()

    def opened(self, attempt: Attempt) -> None:
        """Move the conversation onto the new path."""
        self._negotiation.opened(attempt.number, self._loop.time())
        superseded, self._path, self._attempt = self._path, attempt, None
        if superseded is not None:
            superseded.discard()
        config = self._mesh.config
        self._liveness = Liveness(
            self._loop.time(), interval=config.ping_interval, timeout=config.path_timeout
        )
        self.conversation.session.path_opened()
        self._mesh.path_changed(self, PathChangeReason.SUPERSEDED if superseded else PathChangeReason.OPENED)
        self._drain()

    def closed(self, attempt: Attempt, reason: str) -> None:
        """Try again, or note that the path is lost."""
        logger.info("transport %d to %s closed: %s", attempt.number, short(self.peer_id), reason)
        if attempt is self._path:
            self._lose_path(PathChangeReason.TRANSPORT_CLOSED)
        else:
            self._negotiation.failed(attempt.number, self._loop.time())
        self._drain()

    def packet_received(self, attempt: Attempt, packet: bytes) -> None:
        """Feed the session. A peer that breaks the protocol loses this path."""
        if attempt is not self._path or self._liveness is None:
            return
        now = self._loop.time()
        self._liveness.heard(now)
        try:
            self._feed_session(packet, now)
        except ProtocolViolation as violation:
            self._break_off(violation)
        self._drain()

    def probe_received(self, attempt: Attempt, probe: bytes) -> None:
        """Feed the path's pulse."""
        if attempt is not self._path or self._liveness is None:
            return
        try:
            self._liveness.receive(frames.decode_probe(probe), self._loop.time())
        except ProtocolViolation as violation:
            self._break_off(violation)
        self._drain()

    def writable(self, attempt: Attempt) -> None:
        """Send on."""
        if attempt is self._path:
            self._drain()

    # The one drain

    def _drain(self) -> None:
        """Carry out what the machines want, until they want nothing."""
        self._drain_scheduled = False
        if self._gone:
            return
        while actions := self._negotiation.actions():
            for action in actions:
                self._act(action)
        self._drain_session()
        if self._is_finished():
            self._finished.set()
            if self._remote_ended:
                self._mesh.peer_ended(self)
                return
        self._arm_timer()

    def _is_finished(self) -> bool:
        """Whether nothing is left to be said, on either side or on ours without a path.

        A peer that said goodbye still acknowledges what we had sent, until we close the transport or its time is up.
        """
        if self._remote_ended:
            return self._path is None or not self.conversation.session.unacknowledged
        return self._closing and self._path is None and not self.conversation.session.unacknowledged

    def _drain_session(self) -> None:
        session = self.conversation.session
        for event in session.events():
            match event:
                case MessageReceived():
                    self._mesh.message_received(self.conversation, event)
                case CreditGrew():
                    self.conversation.credit_grew(event)
                case RemoteEnded():
                    self._remote_ended = True
                    self._end_conversation()
                case _:
                    assert_never(event)
        if self._path is None or self._liveness is None:
            return
        for probe in self._liveness.probes_to_send():
            self._path.send_probe(frames.encode_probe(probe))
        budget = HIGH_WATER_BYTES - self._path.buffered_amount
        if budget > 0:
            for packet in session.packets_to_send(budget):
                self._path.send(packet)

    def _act(self, action: Action) -> None:
        match action:
            case MakeOffer() | MakeAnswer():
                self._begin(action)
            case AcceptAnswer() | AddCandidate():
                if self._attempt is not None and self._attempt.number == action.attempt:
                    self._attempt.proceed(action)
            case Discard():
                self._discard(action.attempt)
            case SendSignal():
                self._line.post(action.signal)
            case _:
                assert_never(action)

    def _begin(self, action: MakeOffer | MakeAnswer) -> None:
        mesh = self._mesh
        attempt = self._attempt = Attempt(action.attempt, self)
        run = attempt.run(
            action, mesh.transports, mesh.ice_servers, mesh.dial_slot, mesh.config.connect_timeout
        )
        attempt.start(mesh.spawn(run, f"transport {action.attempt} to {short(self.peer_id)}"))

    def _discard(self, number: int) -> None:
        if self._attempt is not None and self._attempt.number == number:
            self._attempt.discard()
            self._attempt = None
        elif self._path is not None and self._path.number == number:
            self._lose_path(PathChangeReason.TRANSPORT_CLOSED)

    def _break_off(self, violation: ProtocolViolation) -> None:
        logger.warning("%s broke the protocol: %s", short(self.peer_id), violation)
        self._lose_path(PathChangeReason.PROTOCOL_VIOLATION)

    def _lose_path(self, reason: PathChangeReason) -> None:
        """Give the path up and dial again, unless nothing is left to be said."""
        path, self._path, self._liveness = self._path, None, None
        if path is None:
            return
        path.discard()
        session = self.conversation.session
        session.path_lost()
        self._mesh.path_changed(self, reason)
        if self._gone:
            return  # the path was the last thing that kept it
        if self._closing and not session.unacknowledged:
            self._negotiation.hang_up()
        elif self._negotiation.state is State.OPEN:
            self._negotiation.failed(path.number, self._loop.time())
        else:
            self._negotiation.dial(self._loop.time())

    def _arm_timer(self) -> None:
        machines = (self._negotiation, self.conversation.session, self._liveness)
        due = [at for machine in machines if machine is not None and (at := machine.deadline()) is not None]
        # A timer that is too early costs one look at the machines; moving it with every packet would cost more.
        if due and (self._timer is None or min(due) < self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(min(due), self._handle_timeout)

    def _handle_timeout(self) -> None:
        self._timer = None
        now = self._loop.time()
        self._negotiation.handle_timeout(now)
        self.conversation.session.handle_timeout(now)
        if self._liveness is not None:
            self._liveness.handle_timeout(now)
            if self._liveness.silent:
                self._lose_path(PathChangeReason.SILENT)
        self._drain()

    def _schedule_drain(self) -> None:
        if not self._drain_scheduled:
            self._drain_scheduled = True
            self._loop.call_soon(self._drain)

    # Parts that are replaced

    @property
    def _offers(self) -> bool:
        """The peer with the smaller id makes the offers, always."""
        return self._mesh.peer_id < self.peer_id

    def _new_negotiation(self) -> Negotiation:
        config = self._mesh.config
        return Negotiation(
            offers=self._offers,
            random=self._mesh.random,
            connect_timeout=config.connect_timeout,
            pause=config.redial_delay,
            max_pause=config.max_redial_delay,
        )

    def _restart_negotiation(self) -> None:
        """Count attempts from 1 again. What runs on the open path is not touched."""
        if self._attempt is not None:
            self._attempt.discard()
            self._attempt = None
        if self._path is not None:
            self._path.number = 0  # its number belongs to the negotiation that ends here
        self._line.drop_queued()
        self._negotiation = self._new_negotiation()
        if self._path is None:
            self._negotiation.dial(self._loop.time())

    def _replace_line(self, seal: PairSeal) -> None:
        self._line_task.cancel()
        self._line, self._line_task = self._new_line(seal)

    def _new_line(self, seal: PairSeal) -> tuple[SignalLine, asyncio.Task[None]]:
        line = SignalLine(self.peer_id, seal, self._mesh.send_signal)
        return line, self._mesh.spawn(line.run(), f"signals to {short(self.peer_id)}")

    def _new_conversation(self) -> Conversation:
        config = self._mesh.config
        number = self._mesh.random.randrange(1, 2**63)
        session = Session(number, window=config.channel_window_bytes)
        return Conversation(self.peer_id, session, self._schedule_drain)

    def _end_conversation(self) -> None:
        """Take no more messages, and let go of those that wait for credit; what was taken is still delivered."""
        self.conversation.end()
        self.conversation.session.end()

    def _feed_session(self, packet: bytes, now: float) -> None:
        try:
            self.conversation.session.receive(packet, now)
        except RemoteRestarted:
            ended, self.conversation = self.conversation, self._new_conversation()
            ended.end()
            if self._closing:
                self._end_conversation()
            self._mesh.peer_restarted(self, ended)
            self.conversation.session.path_opened()
            # A second session in the same packet is a violation, which the fresh session raises as such.
            self.conversation.session.receive(packet, now)
