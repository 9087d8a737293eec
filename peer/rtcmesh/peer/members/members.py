"""The other members of the room: made, kept and parted from as signaling and the paths together tell."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from random import Random
from typing import Any, Protocol, assert_never

from rtcmesh.peer import events
from rtcmesh.peer.alarm import Alarm
from rtcmesh.peer.config import MeshConfig, PathPolicy
from rtcmesh.peer.conversation import Conversation
from rtcmesh.peer.events import LeaveReason, MeshEvent, PathChangeReason
from rtcmesh.peer.paths.path_chooser import Change
from rtcmesh.peer.paths.relays import Relays
from rtcmesh.peer.paths.transport import TransportFactory
from rtcmesh.peer.session.session_events import MessagesReceived
from rtcmesh.signaling import codes
from rtcmesh.signaling import messages as wire
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.errors import Closed, JoinRefused, SignalRefused
from rtcmesh.signaling.events import LinkEvent, LinkLost, LinkResumed
from rtcmesh.signaling.identity import PeerId, short
from rtcmesh.signaling.prekey import InvalidPrekey
from rtcmesh.signaling.sealing import PairSeal

from .remote_peer import RemotePeer
from .roster import Admit, Decision, Dismiss, Rekey, Roster

logger = logging.getLogger(__name__)


class MembersOwner(Protocol):
    """Who is told what happens."""

    def happened(self, event: MeshEvent) -> None:
        """Something for the application to know."""
        ...

    def messages_received(self, conversation: Conversation, messages: MessagesReceived) -> None:
        """Messages wait to be taken."""
        ...

    def conversation_began(self, conversation: Conversation) -> None:
        """Messages to this peer are taken from now on."""
        ...

    def conversation_ended(self, conversation: Conversation) -> int:
        """Nothing more comes in this conversation. Returns how many of its messages were dropped unread."""
        ...


class Members:
    """One shell around the roster: reads the link, and owns a `RemotePeer` for every member that is admitted.

    It is what remote peers call their surroundings. Nothing is admitted after `close`.
    """

    def __init__(
        self,
        owner: MembersOwner,
        link: SignalingLink,
        relays: Relays,
        tasks: asyncio.TaskGroup,
        *,
        peer_id: PeerId,
        seal_with: Callable[[wire.Member, str], PairSeal],
        config: MeshConfig,
        transports: TransportFactory,
        random: Random,
    ) -> None:
        self.remotes: dict[PeerId, RemotePeer] = {}
        """The other members by id."""
        self.peer_id = peer_id
        self.config = config
        self.random = random
        self.relays = relays
        self.transports = transports
        self.dial_slot = asyncio.Semaphore(config.max_concurrent_dials)
        self.ice_servers: Sequence[wire.IceServer] = link.welcome.ice_servers
        self._owner = owner
        self._link = link
        self._seal_with = seal_with
        self._roster = Roster(config.rejoin_grace)
        # The upper half names this process, the lower half counts its sessions.
        self._last_session = random.randrange(1, 2**32) << 32
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._deadline, self._handle_timeout)
        self._closing = False
        self._tasks = tasks
        # Tasks start in the context in which the mesh was joined, not in that of whoever happens to send a message.
        self._context = contextvars.copy_context()
        self._reader = self.spawn(self._read_link(), "signaling events")
        self._settle(link.welcome)
        self._apply(self._roster.snapshot(link.welcome.members, self._loop.time()))

    async def close(self) -> None:
        """Deliver what was sent and say goodbye to everybody; for the caller to bound."""
        self._closing = True
        await asyncio.gather(*(remote.close() for remote in self.remotes.values()))

    def abandon(self) -> None:
        """Let go of everybody at once."""
        self._closing = True
        for remote in self.remotes.values():
            remote.abandon()
            if undelivered := len(remote.conversation.undelivered()):
                logger.warning("%d messages to %s were not delivered", undelivered, short(remote.peer_id))
        self.remotes.clear()
        self._reader.cancel()
        self._alarm.stop()

    # Surroundings of remote peers

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that the mesh awaits before it is closed."""
        return self._tasks.create_task(coroutine, name=name, context=self._context.copy())

    def next_session_number(self) -> int:
        """Return a number that is greater than those of the sessions before, and has their upper half."""
        self._last_session += 1
        return self._last_session

    def derive_seal(self, member: wire.Member, purpose: str = "signal") -> PairSeal | None:
        """Return a new seal for a membership; None, with a log line, for a prekey that cannot be verified."""
        try:
            return self._seal_with(member, purpose)
        except InvalidPrekey as error:
            logger.warning("%s has no valid prekey: %s", short(member.peer_id), error)
            return None

    async def send_signal(self, to: PeerId, sealed: bytes) -> None:
        """Hand a sealed signal to the server; what is refused is negotiated again when its attempt times out."""
        try:
            await self._link.signal(to, sealed)
        except (SignalRefused, JoinRefused, Closed) as error:
            logger.info("a signal to %s was not accepted: %s", short(to), error)

    def path_changed(self, remote: RemotePeer, change: Change) -> None:
        """Tell the roster and the application."""
        self._owner.happened(
            events.PathChanged(remote.peer_id, change.kind, change.reason, change.rtt, remote.path_changes)
        )
        reachable = change.kind is not None
        self._apply(self._roster.path_changed(remote.peer_id, reachable=reachable, now=self._loop.time()))
        self._alarm.set()

    def messages_received(self, conversation: Conversation, messages: MessagesReceived) -> None:
        """Put messages where the application takes them."""
        self._owner.messages_received(conversation, messages)

    def peer_ended(self, remote: RemotePeer) -> None:
        """Part from a peer that said goodbye on its path."""
        self._roster.gone(remote.peer_id)
        self._part(remote, LeaveReason.LEFT)

    def peer_restarted(self, remote: RemotePeer, ended: Conversation) -> None:
        """Tell the application that another process answers for this peer."""
        self._tell_left(ended, LeaveReason.RESTARTED)
        self._owner.happened(events.PeerJoined(remote.peer_id, remote.presence))
        self._owner.conversation_began(remote.conversation)
        self._owner.happened(
            events.PathChanged(
                remote.peer_id, remote.path, PathChangeReason.OPENED, remote.rtt, remote.path_changes
            )
        )

    def timed_out(self, remote: RemotePeer) -> None:
        """Part from a peer that the server has given up as well."""
        self._apply(self._roster.timed_out(remote.peer_id))

    def session_expired(self, remote: RemotePeer, ended: Conversation) -> None:
        """Give back to the application what the peer was out of reach for."""
        self._owner.conversation_ended(ended)
        self._owner.happened(events.SessionExpired(remote.peer_id, ended.undelivered()))
        self._owner.conversation_began(remote.conversation)

    # Signaling

    async def _read_link(self) -> None:
        try:
            async for event in self._link:
                self._handle(event)
        except JoinRefused as error:
            logger.warning("signaling ended: %s", error)
            self._owner.happened(events.SignalingLost(str(error), final=True))
            # From now on nobody is listed: who has no path, or loses it, is given up after the grace.
            self._apply(self._roster.snapshot([], self._loop.time()))
            self._alarm.set()

    def _handle(self, event: LinkEvent) -> None:
        now = self._loop.time()
        match event:
            case wire.PeerJoined():
                self._apply(self._roster.joined(event.member))
                self._refresh(event.member)
            case wire.PeerLeft(reason=codes.LeaveReason.REPLACED):
                self._roster.replaced(event.peer_id, now)
            case wire.PeerLeft():
                orderly = event.reason is codes.LeaveReason.LEFT
                self._apply(self._roster.left(event.peer_id, orderly=orderly))
            case wire.Signal():
                if remote := self.remotes.get(event.sender):
                    remote.receive_signal(event.sealed)
            case wire.IceServersRenewed():
                self.ice_servers = event.ice_servers
            case wire.RelayTicketRenewed():
                self.relays.authorize(event.ticket)
            case LinkLost():
                self._owner.happened(events.SignalingLost(event.reason, final=False))
            case LinkResumed():
                self._resumed(event, now)
            case _:
                self._member_changed(event)
        self._alarm.set()

    def _member_changed(
        self, event: wire.PeerSuspended | wire.PeerResumed | wire.PresenceChanged | wire.RelayChanged
    ) -> None:
        remote = self.remotes.get(event.peer_id)
        if remote is None:
            return
        match event:
            case wire.PeerSuspended():
                remote.suspended = True
            case wire.PeerResumed():
                remote.suspended = False
                if event.anew:
                    remote.hurry()  # what it was signaled may be lost, and no answer would come
            case wire.PresenceChanged():
                self._set_presence(event.peer_id, event.presence)
            case wire.RelayChanged():
                remote.move(event.relay)
            case _:
                assert_never(event)

    def _resumed(self, event: LinkResumed, now: float) -> None:
        self._owner.happened(events.SignalingResumed(continued=event.resumed))
        self.ice_servers = event.welcome.ice_servers
        self._settle(event.welcome)
        if not event.resumed:
            self._apply(self._roster.snapshot(event.welcome.members, now))
            for member in event.welcome.members:
                self._refresh(member)
        self.relays.hurry()  # where signaling is back, a relay often is
        for remote in list(self.remotes.values()):
            remote.hurry()

    def _settle(self, welcome: wire.Welcome) -> None:
        """Have the home relay that the server knows of, with its newest ticket."""
        if self.config.path_policy is PathPolicy.DIRECT_ONLY:
            return
        self.relays.settle(self._link.home_relay)
        if welcome.relay_ticket is not None:
            self.relays.authorize(welcome.relay_ticket)

    def _refresh(self, member: wire.Member) -> None:
        """Take what a member that is known already says of itself when it joins again."""
        if remote := self.remotes.get(member.peer_id):
            remote.suspended = member.suspended
            remote.move(member.relay)
        self._set_presence(member.peer_id, member.presence)

    def _set_presence(self, peer_id: PeerId, presence: wire.Presence) -> None:
        remote = self.remotes.get(peer_id)
        if remote is not None and remote.presence != presence:
            remote.presence = presence
            self._owner.happened(events.PresenceChanged(peer_id, presence))

    # Decisions of the roster

    def _apply(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Admit():
                    self._admit(decision.member)
                case Rekey():
                    self._rekey(decision.member)
                case Dismiss():
                    self._part(self.remotes[decision.peer_id], decision.reason)
                case _:
                    assert_never(decision)

    def _admit(self, member: wire.Member) -> None:
        seal = None if self._closing else self.derive_seal(member)
        if seal is None:
            self._roster.gone(member.peer_id)
            return
        remote = self.remotes[member.peer_id] = RemotePeer(member, seal, self)
        self._owner.happened(events.PeerJoined(member.peer_id, member.presence))
        self._owner.conversation_began(remote.conversation)
        remote.connect(member.relay)

    def _rekey(self, member: wire.Member) -> None:
        # A membership that cannot be verified is the server's doing: it ends nothing that the peer itself began.
        if seal := self.derive_seal(member):
            self.remotes[member.peer_id].rekey(member, seal)

    def _part(self, remote: RemotePeer, reason: LeaveReason) -> None:
        self.remotes.pop(remote.peer_id, None)
        remote.abandon()
        self._tell_left(remote.conversation, reason)

    def _tell_left(self, ended: Conversation, reason: LeaveReason) -> None:
        unread = self._owner.conversation_ended(ended)
        self._owner.happened(events.PeerLeft(ended.peer_id, reason, ended.undelivered(), unread))

    def _deadline(self) -> float | None:
        return None if self._closing else self._roster.deadline()

    def _handle_timeout(self, now: float) -> None:
        self._apply(self._roster.handle_timeout(now))
        self._alarm.set()
