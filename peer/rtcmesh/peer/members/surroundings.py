"""The seam between a remote peer and the mesh it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from rtcmesh.peer.config import MeshConfig
from rtcmesh.peer.paths.transport import TransportFactory
from rtcmesh.peer.session.session_events import MessagesReceived
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.messages import IceServer, Member
from rtcmesh.signaling.sealing import PairSeal

if TYPE_CHECKING:
    from rtcmesh.peer.conversation import Conversation
    from rtcmesh.peer.paths.path_chooser import Change
    from rtcmesh.peer.paths.relays import Relays

    from .remote_peer import RemotePeer


class Surroundings(Protocol):
    """What a remote peer needs of its mesh."""

    config: MeshConfig
    random: Random
    transports: TransportFactory
    dial_slot: asyncio.Semaphore
    relays: Relays

    @property
    def peer_id(self) -> PeerId:
        """The local peer."""
        ...

    @property
    def ice_servers(self) -> Sequence[IceServer]:
        """The servers to gather candidates with, as last announced."""
        ...

    def derive_seal(self, member: Member, purpose: str = "signal") -> PairSeal | None:
        """Return a new seal for a membership; None for a prekey that cannot be verified."""
        ...

    def next_session_number(self) -> int:
        """Return a number that is greater than those of the sessions before, and has their upper half."""
        ...

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that the mesh awaits before it is closed."""
        ...

    async def send_signal(self, to: PeerId, sealed: bytes) -> None:
        """Hand a sealed signal to the server. Returns when it was accepted or cannot be."""
        ...

    def path_changed(self, remote: RemotePeer, change: Change) -> None:
        """The path to this peer is another one, or gone."""
        ...

    def messages_received(self, conversation: Conversation, messages: MessagesReceived) -> None:
        """Messages wait to be taken."""
        ...

    def peer_ended(self, remote: RemotePeer) -> None:
        """The peer said goodbye."""
        ...

    def peer_restarted(self, remote: RemotePeer, ended: Conversation) -> None:
        """Another session answers for this peer; a new conversation has begun."""
        ...

    def timed_out(self, remote: RemotePeer) -> None:
        """No path led to the peer for the session timeout; it may be abandoned now."""
        ...

    def session_expired(self, remote: RemotePeer, ended: Conversation) -> None:
        """The peer was out of reach for too long; a new conversation has begun."""
        ...
