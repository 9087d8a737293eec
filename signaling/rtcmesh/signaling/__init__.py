"""Rooms, presence and the brokering of sealed signals: the server and the client link.

The HTTP server is `rtcmesh.signaling.server.serve`, which needs the extra `server`; the messages of the wire are in
`rtcmesh.signaling.messages`, the test kit is `rtcmesh.signaling.testing`.
"""

from .client import SignalingLink
from .codes import CloseCode, LeaveReason, NackCode, RefusalCode
from .config import ClientConfig, DoorLimits, RedisConfig, ServerConfig, ServiceConfig
from .errors import (
    Closed,
    InvalidPresence,
    JoinRefused,
    MissingExtra,
    PresenceTooLarge,
    ProtocolError,
    SignalingError,
    SignalingUnreachable,
    SignalRefused,
    StoreFailed,
    StoreUnreachable,
)
from .events import LinkEvent, LinkLost, LinkResumed
from .identity import Identity, PeerId, parse_peer_id, short
from .limits.bucket import Rate
from .limits.traffic import TrafficLimits
from .memory_registry import MemoryLimits, MemoryRegistry
from .messages import (
    IceServer,
    IceServersRenewed,
    Member,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerSuspended,
    Presence,
    PresenceChanged,
    Signal,
    Welcome,
)
from .prekey import LocalPrekey, Prekey
from .registry import Registry
from .room import RoomLimits
from .sealing import PairSeal
from .service import SignalingService
from .store_url import StoreUrl
from .text_socket import Dial, DialFailed, SocketClosed, TextSocket

__all__ = [
    "ClientConfig",
    "CloseCode",
    "Closed",
    "Dial",
    "DialFailed",
    "DoorLimits",
    "IceServer",
    "IceServersRenewed",
    "Identity",
    "InvalidPresence",
    "JoinRefused",
    "LeaveReason",
    "LinkEvent",
    "LinkLost",
    "LinkResumed",
    "LocalPrekey",
    "Member",
    "MemoryLimits",
    "MemoryRegistry",
    "MissingExtra",
    "NackCode",
    "PairSeal",
    "PeerId",
    "PeerJoined",
    "PeerLeft",
    "PeerResumed",
    "PeerSuspended",
    "Prekey",
    "Presence",
    "PresenceChanged",
    "PresenceTooLarge",
    "ProtocolError",
    "Rate",
    "RedisConfig",
    "RefusalCode",
    "Registry",
    "RoomLimits",
    "ServerConfig",
    "ServiceConfig",
    "Signal",
    "SignalRefused",
    "SignalingError",
    "SignalingLink",
    "SignalingService",
    "SignalingUnreachable",
    "SocketClosed",
    "StoreFailed",
    "StoreUnreachable",
    "StoreUrl",
    "TextSocket",
    "TrafficLimits",
    "Welcome",
    "parse_peer_id",
    "short",
]
