"""What can go wrong in a mesh, split by culprit: local misuse, the remote peer, the network."""

from __future__ import annotations

from collections.abc import Iterable

from rtcmesh.signaling.identity import PeerId, short


class MeshError(Exception):
    """Base of every error that the peer library raises on its own account."""


class Closed(MeshError):
    """The mesh was closed by this program; nothing more can be sent or received through it."""

    def __init__(self) -> None:
        super().__init__("the mesh is closed")


class PeerGone(MeshError):
    """Some of the addressed peers are not in the room, or left before they took the message.

    Every addressed peer that is not listed has the whole message in its send buffer.
    """

    def __init__(self, peer_ids: Iterable[PeerId]) -> None:
        self.peer_ids = tuple(peer_ids)
        super().__init__(f"not in the room: {', '.join(short(peer_id) for peer_id in self.peer_ids)}")


class PeerUnreachable(MeshError):
    """Some of the addressed peers could not be reached for `MeshConfig.session_timeout`.

    A message that waited for room was not sent to them; one that waited for its confirmation may have been received.
    """

    def __init__(self, peer_ids: Iterable[PeerId]) -> None:
        self.peer_ids = tuple(peer_ids)
        super().__init__(f"out of reach: {', '.join(short(peer_id) for peer_id in self.peer_ids)}")


class WouldBlock(MeshError):
    """Some of the addressed peers read too slowly to take the message now. Nothing was sent to anyone."""

    def __init__(self, peer_ids: Iterable[PeerId]) -> None:
        self.peer_ids = tuple(peer_ids)
        super().__init__(f"no room for: {', '.join(short(peer_id) for peer_id in self.peer_ids)}")


class MessageTooLarge(MeshError):
    """One message is larger than a mesh carries. Nothing was sent."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(f"a message of {size_bytes} bytes exceeds the limit of {limit_bytes} bytes")


class NotEncodable(MeshError):
    """The value cannot be carried: it is neither bytes nor str, and msgpack has no form for it."""


class NotDecodable(MeshError):
    """A received payload is not what its channel carries; its sender is at fault."""


class ProtocolViolation(MeshError):
    """The remote peer broke the protocol between sessions. Its path is closed with this code."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")


class TransportFailed(MeshError):
    """A transport could not be negotiated or died. The mesh dials again by itself."""
