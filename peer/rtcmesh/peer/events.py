"""What happens in a mesh, told in the past tense. `Mesh.events()` yields these."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from rtcmesh.signaling.identity import PeerId


class PathKind(Enum):
    """How a peer is reached."""

    DIRECT = "direct"
    """A WebRTC data channel between the two peers."""
    RELAYED = "relayed"
    """Sealed frames through the remote peer's home relay."""


class PathChangeReason(Enum):
    """Why the path to a peer changed."""

    OPENED = "opened"
    """There was no path, and now there is one."""
    UPGRADED = "upgraded"
    """A direct path opened and a probe went both ways on it: it takes over from the relay."""
    DOUBTED = "doubted"
    """Two pings in a row were not answered on the direct path: the relay carries, with copies on the direct one."""
    RECOVERED = "recovered"
    """The path that was in doubt answers again."""
    SILENT = "silent"
    """Nothing was heard on the path for `MeshConfig.path_timeout`."""
    TRANSPORT_CLOSED = "transport_closed"
    """The transport failed, or the remote peer closed it."""
    RELAY_LOST = "relay_lost"
    """The connection to the remote peer's home relay broke."""
    PEER_GONE = "peer_gone"
    """The relay says that the remote peer is not connected to it."""
    PROTOCOL_VIOLATION = "protocol_violation"
    """The remote peer sent what the protocol does not allow."""
    SUPERSEDED = "superseded"
    """A newer direct path, proven by a probe, takes over from the one before."""


class LeaveReason(Enum):
    """Why a peer is no longer in the mesh."""

    LEFT = "left"
    """It said so."""
    EXPIRED = "expired"
    """The signaling server gave it up, and no path led to it for `MeshConfig.session_timeout`; or it was missing from a
    restarted server for `MeshConfig.rejoin_grace`."""
    RESTARTED = "restarted"
    """A new process joined with its identity, or its session began anew; `PeerJoined` for that one follows."""


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """A peer is in the room; messages to it are accepted from now on."""

    peer_id: PeerId
    presence: Any


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A reliable message that was taken and never acknowledged. The remote peer may have received it all the same."""

    channel: str
    data: Any
    """What was sent; if it had been typed, in its msgpack form."""


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """A peer is gone. What it had sent before is still delivered, but for what `unread` counts."""

    peer_id: PeerId
    reason: LeaveReason
    undelivered: tuple[Undelivered, ...]
    """Our messages that it never acknowledged, in their order on each channel; not those that an outbox keeps."""
    unread: int = 0
    """How many of its messages were dropped, because too much of departed peers was left unread here: more than
    `MeshConfig.channel_window_bytes` on one channel, or on all channels together that were never opened. Those that
    its outbox keeps come again when it is back."""


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """A peer that is still in the room could not be reached for `MeshConfig.session_timeout`, and messages waited.

    They are given back here, but for those that an outbox keeps, and that alone let no session expire. What is sent
    from now on belongs to a new session, which begins when there is a path.
    """

    peer_id: PeerId
    undelivered: tuple[Undelivered, ...]


@dataclass(frozen=True, slots=True)
class OutboxExpired:
    """Messages waited in an outbox for longer than `MeshConfig.outbox_max_age`, and were dropped.

    The remote peer may have received them all the same, if it could not say so.
    """

    peer_id: PeerId
    channel: str
    count: int


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """A peer published a new presence."""

    peer_id: PeerId
    presence: Any


@dataclass(frozen=True, slots=True)
class PathChanged:
    """The path to a peer is another one now. `path` is None while it cannot be reached; messages wait."""

    peer_id: PeerId
    path: PathKind | None
    reason: PathChangeReason
    rtt: float | None = None
    """The smoothed round-trip time of the new path in seconds, if it was measured already."""
    changes: int = 0
    """How often the path to this peer has changed, this time included."""


@dataclass(frozen=True, slots=True)
class SignalingLost:
    """The signaling server is out of reach. Open paths go on; nobody new can be found meanwhile."""

    reason: str
    final: bool
    """True when the server refuses this peer for good: the link does not try again."""


@dataclass(frozen=True, slots=True)
class SignalingResumed:
    """The signaling server is reached again."""

    continued: bool
    """True: the room's events have no gap. False: the server sent a fresh snapshot of the room."""


@dataclass(frozen=True, slots=True)
class MessageRejected:
    """A message arrived that is not what its channel carries. It was dropped."""

    peer_id: PeerId
    channel: str
    error: str


@dataclass(frozen=True, slots=True)
class EventsMissed:
    """This reader was too slow: so many events, the oldest ones, were dropped for it."""

    count: int


MeshEvent = (
    PeerJoined
    | PeerLeft
    | PresenceChanged
    | PathChanged
    | SessionExpired
    | OutboxExpired
    | SignalingLost
    | SignalingResumed
    | MessageRejected
    | EventsMissed
)
