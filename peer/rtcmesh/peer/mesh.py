"""The mesh: one membership in a room, and a conversation with every other member."""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar, overload

from rtcmesh.relay.binary_socket import Dial as DialRelay
from rtcmesh.signaling import messages as wire
from rtcmesh.signaling.client import SignalingLink
from rtcmesh.signaling.errors import Closed as LinkClosed
from rtcmesh.signaling.identity import Identity, PeerId
from rtcmesh.signaling.prekey import LocalPrekey
from rtcmesh.signaling.sealing import PairSeal
from rtcmesh.signaling.text_socket import Dial

from . import events
from .channel import Channel, ChannelKind
from .channels import Channels
from .config import MeshConfig, PathPolicy
from .conversation import Conversation
from .delivery import Delivery, Priority
from .errors import Closed, NotDecodable
from .event_stream import EventStream
from .events import MeshEvent, PathChangeReason, PathKind
from .fan_out import FanOut
from .members.members import Members
from .outbox.outboxes import Outboxes
from .outbox.stamps import RECEIPTS_LABEL
from .paths.network_watch import NetworkWatch
from .paths.relays import DEFAULT_RELAY, Relays
from .paths.transport import TransportFactory
from .peer import Peer
from .session.session_events import MessagesReceived
from .tasks import owned_tasks

logger = logging.getLogger(__name__)

T = TypeVar("T")

NETWORK_CHECK_TIMEOUT = 2.0
"""How long a connection may keep silent after the network has changed, in seconds, before it is made anew."""


class Mesh:
    """Everybody in a room, reachable through channels. Made by `Mesh.join`; an async context manager owns it.

    Guarantees: a message that `Channel.send` has taken is delivered once and in order, over as many paths as it takes,
    or the peer's `PeerLeft` or `SessionExpired` gives it back. Memory is bounded per peer and channel by
    `MeshConfig.channel_window_bytes` in each direction. After the `async with` block nothing of the mesh runs.
    """

    def __init__(
        self,
        link: SignalingLink,
        relays: Relays,
        tasks: asyncio.TaskGroup,
        *,
        peer_id: PeerId,
        seal_with: Callable[[wire.Member, str], PairSeal],
        config: MeshConfig,
        transports: TransportFactory,
        random: Random,
        lasting_identity: bool = False,
    ) -> None:
        self.peer_id = peer_id
        """The local peer's id."""
        self.config = config
        """What the mesh was joined with."""
        self._link = link
        self._relays = relays
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self._peers_changed = asyncio.Event()
        self._closing = False
        self._closed = asyncio.Event()
        self._outboxes = Outboxes(peer_id, config, self.happened, lasting=lasting_identity)
        self._members = Members(
            self,
            link,
            relays,
            tasks,
            peer_id=peer_id,
            seal_with=seal_with,
            config=config,
            transports=transports,
            random=random,
        )
        self._fan_out = FanOut(self._members.remotes)
        self._channels = Channels(self._fan_out, self._outboxes, config, rejected=self.message_rejected)

    @classmethod
    @asynccontextmanager
    async def join(
        cls,
        url: str | Sequence[str],
        *,
        room: str,
        identity: Identity | None = None,
        token: str | None = None,
        presence: wire.Presence | None = None,
        room_secret: bytes | None = None,
        config: MeshConfig | None = None,
        transports: TransportFactory | None = None,
        dial: Dial | None = None,
        dial_relay: DialRelay | None = None,
        local_addresses: Callable[[], frozenset[str]] | None = None,
        random: Random | None = None,
    ) -> AsyncGenerator[Mesh]:
        """Join the room at a signaling server (`http://` or `https://`) and begin to connect to everybody in it.

        `url` may be several, of servers that share their rooms: when one fails, the membership goes on at another.
        Without an `identity` a new one is made for this membership. Only peers that give the same `room_secret` can
        read each other's signals and relayed messages. The block's end closes the mesh as `aclose` does. `transports`,
        `dial`, `dial_relay`, `local_addresses` and `random` are the seams that tests use.

        Raises `JoinRefused` or `SignalingUnreachable`, and `ValueError` for an empty room secret.
        """
        if room_secret is not None and not room_secret:
            raise ValueError("a room secret must not be empty; None means that there is none")
        lasting_identity = identity is not None
        identity = identity or Identity.create()
        prekey = LocalPrekey.create(identity, room)
        config = config or MeshConfig()
        random = random or Random(os.urandom(32))
        relayed = config.path_policy is not PathPolicy.DIRECT_ONLY

        def seal_with(member: wire.Member, purpose: str) -> PairSeal:
            return PairSeal.derive(
                identity.peer_id,
                prekey,
                member.peer_id,
                member.prekey,
                room=room,
                secret=room_secret,
                purpose=purpose,
            )

        # Relays that the servers name by a path are those of one server; a fleet names them by URLs.
        own_server = url if isinstance(url, str) else next(iter(url), "")
        async with AsyncExitStack() as stack:
            relays = await stack.enter_async_context(
                Relays.open(
                    own_server, identity=identity, config=config.relay, dial=dial_relay, random=random
                )
            )
            if relayed:
                relays.settle(DEFAULT_RELAY)
            link = await stack.enter_async_context(
                SignalingLink.open(
                    url,
                    room=room,
                    identity=identity,
                    prekey=prekey.public,
                    presence=presence,
                    token=token,
                    config=config.signaling,
                    dial=dial,
                    random=random,
                    use_relays=relayed,
                )
            )
            tasks = await stack.enter_async_context(owned_tasks())
            mesh = cls(
                link,
                relays,
                tasks,
                peer_id=identity.peer_id,
                seal_with=seal_with,
                config=config,
                transports=transports or _default_transports(),
                random=random,
                lasting_identity=lasting_identity,
            )
            watch = NetworkWatch(mesh.network_changed, config.network_poll_interval, local_addresses)
            watching = tasks.create_task(watch.run(), name="network watch")
            try:
                yield mesh
            finally:
                watching.cancel()
                await mesh.aclose()

    # What is known

    @property
    def peers(self) -> Mapping[PeerId, Peer]:
        """The other members as they are now, by id; each `Peer` shows how things stand whenever it is asked."""
        return {peer_id: Peer(remote) for peer_id, remote in self._members.remotes.items()}

    def events(self) -> EventStream:
        """Return a new stream of events, which starts with who is there already and how they are reached."""
        present: list[MeshEvent] = []
        for remote in self._members.remotes.values():
            present.append(events.PeerJoined(remote.peer_id, remote.presence))
            if remote.path is not None:
                present.append(
                    events.PathChanged(
                        remote.peer_id, remote.path, PathChangeReason.OPENED, remote.rtt, remote.path_changes
                    )
                )
        stream = EventStream(self.config.max_queued_events, present)
        if self._closing:
            stream.close()
        self._streams.add(stream)
        return stream

    async def wait_for_peers(self, count: int, *, path: PathKind | None = None) -> None:
        """Return as soon as at least `count` peers can be reached at the same time: by this kind of path, or by any.

        Raises `Closed`.
        """
        kinds = PathKind if path is None else (path,)
        while sum(remote.path in kinds for remote in self._members.remotes.values()) < count:
            if self._closing:
                raise Closed
            self._peers_changed.clear()
            await self._peers_changed.wait()

    # What can be done

    @overload
    def channel(
        self,
        label: str,
        *,
        delivery: Delivery = ...,
        priority: Priority = ...,
        outbox: str | os.PathLike[str] | None = ...,
    ) -> Channel[Any]: ...

    @overload
    def channel(
        self,
        label: str,
        *,
        type: type[T],
        delivery: Delivery = ...,
        priority: Priority = ...,
        outbox: str | os.PathLike[str] | None = ...,
    ) -> Channel[T]: ...

    def channel(
        self,
        label: str,
        *,
        type: Any = Any,  # noqa: A002
        delivery: Delivery = Delivery.RELIABLE,
        priority: Priority = Priority.INTERACTIVE,
        outbox: str | os.PathLike[str] | None = None,
    ) -> Channel[Any]:
        """Return the channel of this label (1 to 255 bytes in UTF-8, not beginning with NUL).

        It need not be opened at the other end first.

        With `type`, messages are converted to it and checked by msgspec; what does not fit is dropped and told as a
        `MessageRejected` event. A message of several fragments gives way to smaller ones of other channels; with
        `Priority.BULK` every message of the channel does. The same label gives the same channel.

        With `outbox`, the path of an SQLite file that several channels may share, a RELIABLE channel keeps its messages
        until their receivers' applications have taken them, and remembers which messages the application here has
        taken, both beyond the end of this process. What waits in the file from before is sent from now on; what that
        guarantees and costs is in docs/outbox.md. The file is opened here, which may take some tenths of a second if
        much waits in it; `OutboxInUse`, `OutboxMismatch` or `OutboxFailed` say why it cannot be.

        Raises `ValueError` for a bad label, for one that is open as another kind, for the 64th channel, and for an
        outbox of another delivery than RELIABLE or in a mesh that was joined without an identity; `Closed` for an
        outbox in a mesh that is closed.
        """
        path = None if outbox is None else Path(outbox).resolve()
        kind = ChannelKind(expected=type, delivery=delivery, priority=priority, outbox=path)
        return self._channels.open(label, kind)

    def network_changed(self) -> None:
        """Ask all paths and connections at once whether they live, and dial anew without waiting.

        The mesh calls it by itself when the machine's addresses change or when it slept; call it when you know more.
        """
        self._link.check(NETWORK_CHECK_TIMEOUT)
        self._relays.check(NETWORK_CHECK_TIMEOUT)
        self._link.hurry()
        self._relays.hurry()
        for remote in list(self._members.remotes.values()):
            remote.suspect()
            remote.hurry()

    async def set_presence(self, presence: wire.Presence) -> None:
        """Tell everybody in the room something about this peer: a small JSON object that replaces the one before.

        Returns when the link has taken it; while the server is out of reach it is sent on the next connection. Raises
        `Closed`, and `SignalingError` for a presence that is too large or not JSON.
        """
        try:
            await self._link.set_presence(presence)
        except LinkClosed:
            raise Closed from None

    async def aclose(self) -> None:
        """Deliver what was sent, say goodbye, and release everything. Idempotent; a second caller waits for the first.

        Takes at most `MeshConfig.close_timeout`, and the link's own on top. What could not be delivered by then is
        logged, peer by peer. Cancelling it skips the rest of the delivery, not the release.
        """
        if self._closing:
            await self._closed.wait()
            return
        self._closing = True
        self._fan_out.close()
        try:
            async with asyncio.timeout(self.config.close_timeout):
                await self._outboxes.leave()
                await self._members.close()
        except TimeoutError:
            logger.info("closing took longer than %g s", self.config.close_timeout)
        finally:
            self._release()
            try:
                await self._link.aclose()
            finally:
                self._closed.set()

    def _release(self) -> None:
        self._members.abandon()
        self._outboxes.close()
        self._channels.close()
        for stream in self._streams:
            stream.close()
        self._peers_changed.set()

    # MembersOwner

    def happened(self, event: MeshEvent) -> None:
        """Tell everybody who reads events, but not what happens because we leave."""
        self._peers_changed.set()
        if not self._closing:
            for stream in self._streams:
                stream.put(event)

    def messages_received(self, conversation: Conversation, messages: MessagesReceived) -> None:
        """Put messages where the application takes them."""
        if messages.label == RECEIPTS_LABEL:
            try:
                self._outboxes.receipts_received(conversation, messages)
            except NotDecodable as error:
                self.message_rejected(conversation.peer_id, messages.label, error)
        else:
            self._channels.messages_received(conversation, messages)

    def message_rejected(self, sender: PeerId, label: str, error: NotDecodable) -> None:
        """Tell the application that a message was dropped."""
        self.happened(events.MessageRejected(sender, label, str(error)))

    def conversation_began(self, conversation: Conversation) -> None:
        """Send what outboxes keep for a peer."""
        self._outboxes.conversation_began(conversation)

    def conversation_ended(self, conversation: Conversation) -> int:
        """Bound what departed peers left unread: on each open channel, and on all that were never opened together."""
        self._outboxes.conversation_ended(conversation)
        return self._channels.conversation_ended(conversation)


def _default_transports() -> TransportFactory:
    # Late: ICE and DTLS are nothing that a program with transports of its own needs.
    from .webrtc import WebRtcTransport

    return WebRtcTransport
