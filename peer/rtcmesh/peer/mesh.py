"""The mesh: one membership in a room, and a conversation with every other member."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from types import MappingProxyType
from typing import Any, TypeVar, assert_never, overload

from rtcmesh.signaling import codes
from rtcmesh.signaling import messages as wire
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.errors import Closed as LinkClosed
from rtcmesh.signaling.errors import JoinRefused, SignalRefused
from rtcmesh.signaling.events import LinkEvent, LinkLost, LinkResumed
from rtcmesh.signaling.identity import Identity, PeerId, short
from rtcmesh.signaling.prekey import InvalidPrekey, LocalPrekey
from rtcmesh.signaling.sealing import PairSeal
from rtcmesh.signaling.text_socket import Dial

from . import events
from .channel import Channel
from .config import MeshConfig
from .conversation import Conversation
from .errors import Closed, NotDecodable, PeerGone
from .event_stream import EventStream
from .events import LeaveReason, MeshEvent, PathChangeReason
from .inbox import Inbox
from .remote_peer import RemotePeer
from .roster import Admit, Decision, Dismiss, Rekey, Roster
from .session import MessageReceived
from .transport import TransportFactory

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Mesh:
    """Everybody in a room, reachable through channels. Made by `Mesh.join`; an async context manager owns it.

    Guarantees: a message that `Channel.send` has taken is delivered once and in order, over as many paths as it takes,
    or the peer's `PeerLeft` says how many were not. Memory is bounded per peer and channel by
    `MeshConfig.channel_window_bytes` in each direction. After the `async with` block nothing of the mesh runs.
    """

    def __init__(
        self,
        link: SignalingLink,
        tasks: asyncio.TaskGroup,
        *,
        identity: Identity,
        seal_with: Callable[[wire.Member], PairSeal],
        config: MeshConfig,
        transports: TransportFactory,
        random: Random,
    ) -> None:
        self.config = config
        self.random = random
        self.transports = transports
        self.dial_slot = asyncio.Semaphore(config.max_concurrent_dials)
        self.ice_servers: Sequence[wire.IceServer] = link.welcome.ice_servers
        self._identity = identity
        self._seal_with = seal_with
        self._link = link
        self._tasks = tasks
        # Tasks start in the context in which the mesh was joined, not in that of whoever happens to send a message.
        self._context = contextvars.copy_context()
        self._roster = Roster(config.rejoin_grace)
        self._remotes: dict[PeerId, RemotePeer] = {}
        self._channels: dict[str, Channel[Any]] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._paths_changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._closed = asyncio.Event()
        self._reader = tasks.create_task(self._read_link(), name="signaling events")

    @classmethod
    @asynccontextmanager
    async def join(
        cls,
        url: str,
        *,
        room: str,
        identity: Identity | None = None,
        token: str | None = None,
        presence: wire.Presence | None = None,
        room_secret: bytes | None = None,
        config: MeshConfig | None = None,
        transports: TransportFactory | None = None,
        dial: Dial | None = None,
        random: Random | None = None,
    ) -> AsyncGenerator[Mesh]:
        """Join the room at a signaling server (`http://` or `https://`) and begin to connect to everybody in it.

        Without an `identity` a new one is made for this membership. Only peers that give the same `room_secret` can
        read each other's signals. The block's end closes the mesh as `aclose` does. `transports`, `dial` and `random`
        are the seams that tests use.

        Raises `JoinRefused` or `SignalingUnreachable`.
        """
        identity = identity or Identity.create()
        prekey = LocalPrekey.create(identity, room)
        config = config or MeshConfig()
        random = random or Random()

        def seal_with(member: wire.Member) -> PairSeal:
            return PairSeal.derive(
                identity.peer_id, prekey, member.peer_id, member.prekey, room=room, secret=room_secret
            )

        link = SignalingLink.open(
            url,
            room=room,
            identity=identity,
            prekey=prekey.public,
            presence=presence,
            token=token,
            config=config.signaling,
            dial=dial,
            random=random,
        )
        async with link as opened, asyncio.TaskGroup() as tasks:
            mesh = cls(
                opened,
                tasks,
                identity=identity,
                seal_with=seal_with,
                config=config,
                transports=transports or _default_transports(),
                random=random,
            )
            try:
                mesh._apply(mesh._roster.snapshot(opened.welcome.members, mesh._now()))
                yield mesh
            finally:
                await mesh.aclose()

    # What is known

    @property
    def peer_id(self) -> PeerId:
        """The local peer's id."""
        return self._identity.peer_id

    @property
    def peers(self) -> Mapping[PeerId, RemotePeer]:
        """The other members, live: `peers[id].path`, `.rtt`, `.presence`, `.suspended`."""
        return MappingProxyType(self._remotes)

    def events(self) -> EventStream:
        """Return a new stream of events; it starts with `PeerJoined` for everybody who is there already."""
        present = [events.PeerJoined(remote.peer_id, remote.presence) for remote in self._remotes.values()]
        stream = EventStream(self.config.max_queued_events, present)
        if self._closing:
            stream.close()
        self._streams.add(stream)
        return stream

    async def wait_for_peers(self, count: int) -> None:
        """Return as soon as at least `count` peers can be reached at the same time. Raises `Closed`."""
        while sum(remote.path is not None for remote in self._remotes.values()) < count:
            if self._closing:
                raise Closed
            self._paths_changed.clear()
            await self._paths_changed.wait()

    # What can be done

    @overload
    def channel(self, label: str) -> Channel[Any]: ...

    @overload
    def channel(self, label: str, *, type: type[T]) -> Channel[T]: ...

    def channel(self, label: str, *, type: Any = Any) -> Channel[Any]:  # noqa: A002
        """Return the channel of this label (1 to 255 bytes in UTF-8); it need not be opened at the other end first.

        With `type`, messages are converted to it and checked by msgspec; what does not fit is dropped and told as a
        `MessageRejected` event. The same label gives the same channel. Raises `ValueError` for a bad label, for
        another type than before, and beyond `MeshConfig.max_channels`.
        """
        known = self._channels.get(label)
        if known is not None:
            if known.expected != type:
                raise ValueError(f"channel {label!r} is open with another type")
            return known
        if not 1 <= len(label.encode()) <= 255:
            raise ValueError("a channel's label has 1 to 255 bytes in UTF-8")
        if len(self._channels) >= self.config.max_channels:
            raise ValueError(f"a mesh has at most {self.config.max_channels} channels")
        channel = self._channels[label] = Channel(
            label, type, self._inbox(label), self, self.config.max_message_bytes
        )
        return channel

    async def set_presence(self, presence: wire.Presence) -> None:
        """Tell everybody in the room something about this peer: a small JSON object that replaces the one before.

        Returns when the link has taken it; while the server is out of reach it is sent on the next connection.
        """
        await self._link.set_presence(presence)

    async def aclose(self) -> None:
        """Deliver what was sent, say goodbye, and release everything. Idempotent; a second caller waits for the first.

        Takes at most `MeshConfig.close_timeout`, and the link's own on top. What could not be delivered by then is
        logged, peer by peer. Cancelling it skips the rest of the delivery, not the release.
        """
        if self._closing:
            await self._closed.wait()
            return
        self._closing = True
        try:
            async with asyncio.timeout(self.config.close_timeout):
                await asyncio.gather(*(remote.close() for remote in self._remotes.values()))
        except TimeoutError:
            logger.info("closing took longer than %g s", self.config.close_timeout)
        finally:
            self._release()
            try:
                await self._link.aclose()
            finally:
                self._closed.set()

    def _release(self) -> None:
        for remote in self._remotes.values():
            if undelivered := remote.abandon():
                logger.warning("%d messages to %s were not delivered", undelivered, short(remote.peer_id))
        self._remotes.clear()
        self._reader.cancel()
        if self._timer is not None:
            self._timer.cancel()
        for inbox in self._inboxes.values():
            inbox.close(Closed)
        for stream in self._streams:
            stream.close()
        self._paths_changed.set()

    # ChannelHost

    async def send(self, label: str, payload: bytes, to: Iterable[PeerId] | None) -> None:
        """Send to these peers, or to all. See `Channel.send`."""
        if self._closing:
            raise Closed
        addressed = list(self._remotes) if to is None else list(dict.fromkeys(to))
        conversations = [
            self._remotes[peer_id].conversation for peer_id in addressed if peer_id in self._remotes
        ]
        waiting = [
            conversation for conversation in conversations if not conversation.try_send(label, payload)
        ]
        gone = [peer_id for peer_id in addressed if peer_id not in self._remotes]
        if waiting:
            gone += await self._send_later(waiting, label, payload)
        if gone and to is not None:
            raise PeerGone(gone)

    async def _send_later(self, waiting: Iterable[Conversation], label: str, payload: bytes) -> list[PeerId]:
        outcomes = await asyncio.gather(
            *(conversation.send(label, payload) for conversation in waiting), return_exceptions=True
        )
        if self._closing and any(outcomes):
            raise Closed
        gone: list[PeerId] = []
        for outcome in outcomes:
            match outcome:
                case PeerGone():
                    gone += outcome.peer_ids
                case BaseException():
                    raise outcome
                case _:
                    pass
        return gone

    def message_rejected(self, sender: PeerId, label: str, error: NotDecodable) -> None:
        """Tell the application that a message was dropped."""
        self._post(events.MessageRejected(sender, label, str(error)))

    # Surroundings of remote peers

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that the end of the block awaits."""
        return self._tasks.create_task(coroutine, name=name, context=self._context.copy())

    async def send_signal(self, to: PeerId, sealed: bytes) -> None:
        """Hand a sealed signal to the server; what is refused is negotiated again when its attempt times out."""
        try:
            await self._link.signal(to, sealed)
        except (SignalRefused, JoinRefused, LinkClosed) as error:
            logger.info("a signal to %s was not accepted: %s", short(to), error)

    def path_changed(self, remote: RemotePeer, reason: PathChangeReason) -> None:
        """Tell the roster and the application."""
        self._roster.path_changed(remote.peer_id, reachable=remote.path is not None, now=self._now())
        self._arm_timer()
        self._paths_changed.set()
        self._post(events.PathChanged(remote.peer_id, remote.path, reason))

    def message_received(self, conversation: Conversation, message: MessageReceived) -> None:
        """Put a message where the application takes it."""
        self._inbox(message.label).put(conversation, message)

    def peer_ended(self, remote: RemotePeer) -> None:
        """Part from a peer that said goodbye on its path."""
        self._roster.gone(remote.peer_id)
        self._part(remote, LeaveReason.LEFT)

    def peer_restarted(self, remote: RemotePeer, undelivered: int) -> None:
        """Tell the application that another process answers for this peer."""
        self._post(events.PeerLeft(remote.peer_id, LeaveReason.RESTARTED, undelivered))
        self._post(events.PeerJoined(remote.peer_id, remote.presence))

    # Signaling

    async def _read_link(self) -> None:
        try:
            async for event in self._link:
                self._handle(event)
        except JoinRefused as error:
            logger.warning("signaling ended: %s", error)
            self._post(events.SignalingLost(str(error), final=True))

    def _handle(self, event: LinkEvent) -> None:
        now = self._now()
        match event:
            case wire.PeerJoined():
                self._apply(self._roster.joined(event.member))
            case wire.PeerLeft(reason=codes.LeaveReason.REPLACED):
                self._roster.replaced(event.peer_id, now)
            case wire.PeerLeft():
                self._apply(self._roster.left(event.peer_id, orderly=event.reason is codes.LeaveReason.LEFT))
            case wire.PeerSuspended() | wire.PeerResumed():
                if remote := self._remotes.get(event.peer_id):
                    remote.suspended = isinstance(event, wire.PeerSuspended)
            case wire.PresenceChanged():
                self._set_presence(event.peer_id, event.presence)
            case wire.Signal():
                if remote := self._remotes.get(event.sender):
                    remote.receive_signal(event.sealed)
            case wire.IceServersRenewed():
                self.ice_servers = event.ice_servers
            case LinkLost():
                self._post(events.SignalingLost(event.reason, final=False))
            case LinkResumed():
                self._resumed(event, now)
            case _:
                assert_never(event)
        self._arm_timer()

    def _resumed(self, event: LinkResumed, now: float) -> None:
        self._post(events.SignalingResumed(continued=event.resumed))
        self.ice_servers = event.welcome.ice_servers
        if not event.resumed:
            self._apply(self._roster.snapshot(event.welcome.members, now))
            for member in event.welcome.members:
                self._set_presence(member.peer_id, member.presence)

    def _set_presence(self, peer_id: PeerId, presence: wire.Presence) -> None:
        remote = self._remotes.get(peer_id)
        if remote is not None and remote.presence != presence:
            remote.presence = presence
            self._post(events.PresenceChanged(peer_id, presence))

    def _apply(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Admit():
                    self._admit(decision.member)
                case Rekey():
                    self._rekey(decision.member)
                case Dismiss():
                    self._part(self._remotes[decision.peer_id], decision.reason)
                case _:
                    assert_never(decision)

    def _admit(self, member: wire.Member) -> None:
        if self._closing:
            self._roster.gone(member.peer_id)
            return
        try:
            seal = self._seal_with(member)
        except InvalidPrekey as error:
            logger.warning("%s is not admitted: %s", short(member.peer_id), error)
            self._roster.gone(member.peer_id)
            return
        remote = self._remotes[member.peer_id] = RemotePeer(member, seal, self)
        self._post(events.PeerJoined(member.peer_id, member.presence))
        remote.dial()

    def _rekey(self, member: wire.Member) -> None:
        remote = self._remotes[member.peer_id]
        try:
            remote.rekey(member, self._seal_with(member))
        except InvalidPrekey as error:
            logger.warning("parting from %s: %s", short(member.peer_id), error)
            self._roster.gone(member.peer_id)
            self._part(remote, LeaveReason.REFUSED)

    def _part(self, remote: RemotePeer, reason: LeaveReason) -> None:
        self._remotes.pop(remote.peer_id, None)
        undelivered = remote.abandon()
        self._paths_changed.set()
        self._post(events.PeerLeft(remote.peer_id, reason, undelivered))

    # Parts

    def _inbox(self, label: str) -> Inbox:
        inbox = self._inboxes.get(label)
        if inbox is None:
            inbox = self._inboxes[label] = Inbox()
        return inbox

    def _post(self, event: MeshEvent) -> None:
        if self._closing:
            return  # what happens while we leave is our own doing
        for stream in self._streams:
            stream.put(event)

    def _arm_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self._roster.deadline()
        loop = asyncio.get_running_loop()
        self._timer = None if due is None or self._closing else loop.call_at(due, self._handle_timeout)

    def _handle_timeout(self) -> None:
        self._apply(self._roster.handle_timeout(self._now()))
        self._arm_timer()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _default_transports() -> TransportFactory:
    # Late, because aiortc brings PyAV: 64 MB that a program with transports of its own does not need.
    from .aiortc_transport import AiortcTransport

    return AiortcTransport
