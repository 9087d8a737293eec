"""The peer library: a mesh of WebRTC data channels.

async with Mesh.join("http://127.0.0.1:8080", room="lobby") as mesh:
    chat = mesh.channel("chat")
    await mesh.wait_for_peers(1)
    await chat.send({"text": "hello"})
    async for message in chat:
        print(message.sender, message.data)
"""

from rtcmesh.signaling.config import ClientConfig
from rtcmesh.signaling.errors import JoinRefused, SignalingError, SignalingUnreachable
from rtcmesh.signaling.identity import Identity, PeerId, short

from .channel import Channel, Message
from .config import MeshConfig, PathPolicy
from .delivery import Delivery, Priority
from .errors import (
    Closed,
    MeshError,
    MessageTooLarge,
    NotEncodable,
    OutboxError,
    OutboxFailed,
    OutboxFull,
    OutboxInUse,
    OutboxMismatch,
    PeerGone,
    PeerUnreachable,
    WouldBlock,
)
from .event_stream import EventStream
from .events import (
    EventsMissed,
    LeaveReason,
    MeshEvent,
    MessageRejected,
    OutboxExpired,
    PathChanged,
    PathChangeReason,
    PathKind,
    PeerJoined,
    PeerLeft,
    PresenceChanged,
    SessionExpired,
    SignalingLost,
    SignalingResumed,
    Undelivered,
)
from .mesh import Mesh
from .peer import Peer
from .stats import DataChannelStats, PathStats, PeerStats, TransportStats

__all__ = [
    "Channel",
    "ClientConfig",
    "Closed",
    "DataChannelStats",
    "Delivery",
    "EventStream",
    "EventsMissed",
    "Identity",
    "JoinRefused",
    "LeaveReason",
    "Mesh",
    "MeshConfig",
    "MeshError",
    "MeshEvent",
    "Message",
    "MessageRejected",
    "MessageTooLarge",
    "NotEncodable",
    "OutboxError",
    "OutboxExpired",
    "OutboxFailed",
    "OutboxFull",
    "OutboxInUse",
    "OutboxMismatch",
    "PathChangeReason",
    "PathChanged",
    "PathKind",
    "PathPolicy",
    "PathStats",
    "Peer",
    "PeerGone",
    "PeerId",
    "PeerJoined",
    "PeerLeft",
    "PeerStats",
    "PeerUnreachable",
    "PresenceChanged",
    "Priority",
    "SessionExpired",
    "SignalingError",
    "SignalingLost",
    "SignalingResumed",
    "SignalingUnreachable",
    "TransportStats",
    "Undelivered",
    "WouldBlock",
    "short",
]
