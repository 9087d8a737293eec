"""The shell around everything that concerns one other peer: its paths, which of them carries, and the session.

One owner, one drain: every input goes into a machine, and `drain` then carries out whatever the machines want. What
comes and goes within one turn of the event loop is drained together, so that small messages share packets.
"""

from __future__ import annotations

import asyncio
import logging
from typing import assert_never

from rtcmesh.peer.alarm import Alarm
from rtcmesh.peer.config import PathPolicy
from rtcmesh.peer.conversation import Conversation
from rtcmesh.peer.errors import ProtocolViolation, RemoteRestarted
from rtcmesh.peer.events import PathChangeReason, PathKind
from rtcmesh.peer.paths.attempt import Attempt
from rtcmesh.peer.paths.path import DirectPath, Path, RelayPath
from rtcmesh.peer.paths.path_chooser import (
    AskRelays,
    Change,
    Decision,
    Doubt,
    Expire,
    GiveUp,
    PathChooser,
    SendProbes,
)
from rtcmesh.peer.paths.path_table import PathTable
from rtcmesh.peer.paths.relay_seal import RelaySeal
from rtcmesh.peer.session.probes import decode_probes, is_probe, probe_packet
from rtcmesh.peer.session.session_events import Acknowledged, CreditGrew, Ended, MessagesReceived, RemoteEnded
from rtcmesh.peer.stats import PeerStats
from rtcmesh.relay.link import RelayLink
from rtcmesh.signaling.identity import short
from rtcmesh.signaling.messages import Member
from rtcmesh.signaling.sealing import PairSeal, SealError

from .dialler import Dialler
from .dialogue import Dialogue
from .surroundings import Surroundings

logger = logging.getLogger(__name__)

RELAY_CHECK_TIMEOUT = 2.0
"""How long a relay may keep silent after a peer fell silent behind it, in seconds, before it is connected anew."""


class RemotePeer:
    """One other member of the room."""

    def __init__(self, member: Member, seal: PairSeal, mesh: Surroundings) -> None:
        self.peer_id = member.peer_id
        self.presence = member.presence
        self.suspended = member.suspended
        self._mesh = mesh
        self._loop = asyncio.get_running_loop()
        self._dialler = Dialler(member, seal, mesh, self)
        self._relay_seal = RelaySeal(member, mesh.derive_seal)
        self._paths = PathTable()
        self._chooser = self._new_chooser()
        self._dialogue = Dialogue(member.peer_id, mesh, self._paths, self._schedule_drain)
        self._path_kind: PathKind | None = None
        self._changes = 0
        self._rejected = 0
        self._alarm = Alarm(self._deadline, self._handle_timeout)
        self._drain_scheduled = False
        self._gone = False
        self._finished = asyncio.Event()

    # What is known

    @property
    def conversation(self) -> Conversation:
        """What is said with it now; a restarted peer begins another one."""
        return self._dialogue.conversation

    @property
    def path(self) -> PathKind | None:
        """How the peer is reached now, as the last event said."""
        return self._path_kind

    @property
    def rtt(self) -> float | None:
        """The smoothed round-trip time in seconds of the path that carries."""
        return self._chooser.rtt

    @property
    def path_changes(self) -> int:
        """How often the path to this peer has changed."""
        return self._changes

    def stats(self) -> PeerStats:
        """Return the figures as they are now."""
        session = self._dialogue.session
        return PeerStats(
            paths=tuple(
                path.stats(self._chooser.liveness(path.number), carries=path.number in self._chooser.carriers)
                for path in self._paths
            ),
            path_changes=self._changes,
            unacknowledged=session.unacknowledged,
            in_flight_bytes=session.in_flight_bytes,
            rejected_packets=self._rejected,
            rejected_signals=self._dialler.rejected_signals,
            attempts=self._dialler.attempts,
        )

    # Commands

    def connect(self, home_relay: str | None) -> None:
        """Start to get paths: the relay that the peer is at home at, and a direct one."""
        if self._policy is not PathPolicy.DIRECT_ONLY:
            self._mesh.relays.attach(self, home_relay)
        if self._policy is not PathPolicy.RELAY_ONLY:
            self._dialler.dial()
        self.drain()

    def move(self, home_relay: str | None) -> None:
        """Reach the peer through another home relay from now on."""
        if self._policy is not PathPolicy.DIRECT_ONLY and not self._gone:
            self._mesh.relays.attach(self, home_relay)
            self.drain()

    def hurry(self) -> None:
        """Dial without waiting out the pauses of before: signaling is back, or the network is another one."""
        self._dialler.hurry()
        self.drain()

    def suspect(self) -> None:
        """Ask all paths at once whether they live."""
        self._chooser.suspect(self._loop.time())
        self.drain()

    def rekey(self, member: Member, seal: PairSeal) -> None:
        """Take a new membership of the same peer. Negotiation starts over; what is open goes on."""
        self._dialler.rekey(member, seal)
        self._relay_seal.rekey(member)
        self._dialogue.renewed()
        self.drain()

    def receive_signal(self, sealed: bytes) -> None:
        """Take a sealed signal. What cannot be opened or read is counted, and changes nothing."""
        if self._policy is not PathPolicy.RELAY_ONLY:
            self._dialler.receive_signal(sealed)
            self.drain()

    async def close(self) -> None:
        """Deliver what was sent and end the session in order; for the caller to bound."""
        self._dialogue.close()
        self.drain()
        await self._finished.wait()

    def abandon(self) -> None:
        """Let go of everything at once."""
        self._gone = True
        self._finished.set()
        self._dialler.abandon()
        for path in self._paths:
            if isinstance(path, DirectPath):
                path.attempt.discard()
        self._paths.clear()
        self._mesh.relays.detach(self)
        self._alarm.stop()
        self.conversation.abandon()

    # DiallerOwner: direct paths

    def direct_opened(self, attempt: Attempt) -> None:
        """Add a path."""
        self._open_path(DirectPath(self._paths.next_number(), attempt, membership=self._dialogue.membership))

    def direct_closed(self, attempt: Attempt, reason: str) -> None:
        """Go on without it, and get another one."""
        logger.info("a transport to %s closed: %s", short(self.peer_id), reason)
        if (path := self._paths.direct(attempt)) is not None:
            self._close_direct(path, PathChangeReason.TRANSPORT_CLOSED)

    def direct_received(self, attempt: Attempt, packet: bytes) -> None:
        """Take a packet. A peer that breaks the protocol loses this path."""
        path = self._paths.direct(attempt)
        if path is None:
            return
        path.received(len(packet))
        try:
            self._receive(packet, path.number, path.membership)
        except ProtocolViolation as violation:
            self._note_violation(violation)
            self._close_direct(path, PathChangeReason.PROTOCOL_VIOLATION)
        self._schedule_drain()

    # RelayUser: the relayed path

    def relay_up(self, link: RelayLink) -> None:
        """Add a path."""
        if self._relay_seal.has_key and not self._gone:
            self._open_path(RelayPath(self._paths.next_number(), link, self.peer_id, self._relay_seal))
            self.drain()

    def relay_lost(self, link: RelayLink, reason: str) -> None:
        """Go on without it."""
        del reason
        if (path := self._paths.relayed(link)) is not None:
            self._close_path(path, PathChangeReason.RELAY_LOST)
            self.drain()

    def relay_received(self, payload: bytes) -> None:
        """Open a frame and take the packet in it. What cannot be opened or read is counted, and changes nothing."""
        path = self._paths.relayed()
        number = path.number if path else 0
        try:
            packet = self._relay_seal.open(payload)
            if path is not None:
                path.received(len(packet))
            self._receive(packet, number, self._dialogue.membership)
        except SealError as error:
            self._rejected += 1
            logger.info("rejected a frame in the name of %s: %s", short(self.peer_id), error)
        except ProtocolViolation as violation:
            self._note_violation(violation)
        self._schedule_drain()

    def relay_gone(self, link: RelayLink) -> None:
        """Wait until the peer is heard again."""
        if (path := self._paths.relayed(link)) is not None:
            self._chooser.unreachable(path.number, self._loop.time())
            self.drain()

    def relay_refused(self, link: RelayLink, *, away: bool) -> None:
        """Send what the relay did not forward again: a little later if it has too much already."""
        if (path := self._paths.relayed(link)) is not None:
            session = self._dialogue.session
            (session.path_doubted if away else session.path_refused)(path.number, self._loop.time())
            self.drain()

    def relay_writable(self) -> None:
        """Send on."""
        self.drain()

    # The one drain

    def drain(self) -> None:
        """Carry out what the machines want, until they want nothing."""
        self._drain_scheduled = False
        if self._gone:
            return
        self._take_session_events()
        if self._dialogue.is_finished(reachable=self.path is not None) and not self._finished.is_set():
            self._send_packets()
            self._finished.set()
            if self._dialogue.remote_ended:
                self._mesh.peer_ended(self)
        self._carry_out_decisions()
        if not self._gone:
            self._send_packets()
            self._alarm.set()

    def _carry_out_decisions(self) -> None:
        self._dialler.carry_out()
        while not self._gone and (decisions := self._chooser.decisions()):
            for decision in decisions:
                self._carry_out(decision)
        self._dialler.carry_out()

    def _carry_out(self, decision: Decision) -> None:
        match decision:
            case SendProbes():
                if path := self._paths.find(decision.path):  # it may have closed in this turn of the loop
                    path.send(probe_packet(decision.probes))
            case GiveUp():
                if isinstance(path := self._paths.find(decision.path), DirectPath):
                    self._close_direct(path, decision.reason)
            case Doubt():
                self._dialogue.session.path_doubted(decision.path, self._loop.time())
            case AskRelays():
                self._mesh.relays.doubt(RELAY_CHECK_TIMEOUT)
            case Change():
                self._path_kind = decision.kind
                self._changes += 1
                self._mesh.path_changed(self, decision)
            case Expire():
                self._expire()
            case _:
                assert_never(decision)

    def _take_session_events(self) -> None:
        for event in self._dialogue.session.events():
            match event:
                case MessagesReceived():
                    self._mesh.messages_received(self.conversation, event)
                case CreditGrew():
                    self.conversation.credit_grew(event)
                case Acknowledged():
                    self.conversation.acknowledged(event)
                case RemoteEnded():
                    self._dialogue.remote_closed()
                case Ended():
                    pass
                case _:
                    assert_never(event)

    def _send_packets(self) -> None:
        carriers = (self._paths[number] for number in self._chooser.carriers)
        paths = [path for path in carriers if path.room_bytes > 0]
        if not paths:
            return
        now = self._loop.time()
        packets = self._dialogue.session.packets_to_send(paths[0].number, paths[0].room_bytes, now)
        if packets:
            self._chooser.used(now)
        for path in paths:
            for packet in packets:
                path.send(packet)

    def _deadline(self) -> float | None:
        machines = (self._dialler, self._dialogue.session, self._chooser)
        return min([at for machine in machines if (at := machine.deadline()) is not None], default=None)

    def _handle_timeout(self, now: float) -> None:
        self._dialler.handle_timeout(now)
        self._dialogue.session.handle_timeout(now)
        self._chooser.fell_silent(self._dialogue.session.silent_paths(), now)
        self._chooser.handle_timeout(now)
        self.drain()

    def _schedule_drain(self) -> None:
        if not self._drain_scheduled:
            self._drain_scheduled = True
            self._loop.call_soon(self.drain)

    # What comes in

    def _receive(self, packet: bytes, path: int, membership: int) -> None:
        """Take a packet that came on a path, and under a membership of the peer."""
        now = self._loop.time()
        if is_probe(packet):
            self._chooser.receive(path, decode_probes(packet), now)
            return
        try:
            taken = self._dialogue.session.receive(packet, path, now)
        except RemoteRestarted as restarted:
            ended = self._dialogue.restart(restarted, membership)
            if ended is None:
                return
            self._mesh.peer_restarted(self, ended)
            if restarted.another_process:
                self._close_superseded(membership)
            taken = self._dialogue.session.receive(packet, path, now)
        if taken:
            self._dialogue.heard(membership)
        self._chooser.heard(path, now)

    def _note_violation(self, violation: ProtocolViolation) -> None:
        self._rejected += 1
        logger.warning("%s broke the protocol: %s", short(self.peer_id), violation)

    # Paths

    @property
    def _policy(self) -> PathPolicy:
        return self._mesh.config.path_policy

    def _open_path(self, path: Path) -> None:
        now = self._loop.time()
        self._paths.add(path)
        self._dialogue.session.path_opened(path.number, now)
        self._chooser.opened(path.number, path.kind, now)

    def _close_path(self, path: Path, reason: PathChangeReason) -> None:
        now = self._loop.time()
        if self._paths.remove(path):
            self._dialogue.session.path_closed(path.number, now)
            self._chooser.closed(path.number, reason, now)

    def _close_direct(self, path: DirectPath, reason: PathChangeReason) -> None:
        """Close a direct path, and dial again unless nothing is left to be said."""
        self._close_path(path, reason)
        self._dialler.lost(path.attempt, redial=not self._gone and self._dialogue.has_more_to_say)

    def _close_superseded(self, membership: int) -> None:
        """Close the paths to a process that has another one in its place."""
        for path in self._paths:
            if isinstance(path, DirectPath) and path.membership < membership:
                self._close_direct(path, PathChangeReason.SUPERSEDED)

    def _expire(self) -> None:
        """Give up a peer that is out of reach, or give back what waits for it."""
        self._mesh.timed_out(self)
        if not self._gone and (ended := self._dialogue.expire()) is not None:
            self._mesh.session_expired(self, ended)

    def _new_chooser(self) -> PathChooser:
        config = self._mesh.config
        return PathChooser(
            self._loop.time(),
            follows=not self._dialler.offers,
            ping_interval=config.ping_interval,
            standby_ping_interval=config.standby_ping_interval,
            path_timeout=config.path_timeout,
            session_timeout=config.session_timeout,
        )
