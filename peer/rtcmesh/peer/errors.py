"""What can go wrong in a mesh, split by culprit: local misuse, the remote peer, the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

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


class OutboxError(MeshError):
    """An outbox cannot be opened or used."""

    problem = "cannot be used"

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(path)

    def __str__(self) -> str:
        return f"the outbox {self.path} {self.problem}"


class OutboxInUse(OutboxError):
    """Another process, or another mesh of this one, has the file open."""

    problem = "is open elsewhere"


class OutboxMismatch(OutboxError):
    """The file is something else: no outbox, one of another version of rtcmesh, or that of another identity."""

    def __init__(self, path: Path, problem: str) -> None:
        self.problem = problem
        super().__init__(path)


class OutboxFailed(OutboxError):
    """The file could not be read or written: the disk is full or fails, or the file is damaged. See `__cause__`.

    Raised by `send`, the message was not stored and is not sent. What was stored before is not touched.
    """

    problem = "cannot be read or written"


class OutboxFull(OutboxError):
    """The outbox has no room for the message, and nobody is in the mesh who could make some. Nothing was sent."""

    def __init__(self, path: Path, limit_bytes: int, waiting: Mapping[PeerId, int]) -> None:
        super().__init__(path)
        self.limit_bytes = limit_bytes
        """`MeshConfig.outbox_max_bytes`."""
        self.waiting = dict(waiting)
        """How many messages wait for whom."""

    def __str__(self) -> str:
        return f"the outbox {self.path} is full: {self.limit_bytes} bytes wait for {len(self.waiting)} peers"


class ProtocolViolation(MeshError):
    """The remote peer broke the protocol between sessions. Its path is closed with this code."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")


class TransportFailed(MeshError):
    """A transport could not be negotiated or died. The mesh dials again by itself."""


class RemoteRestarted(MeshError):
    """Another session answers for the remote peer: the one we knew is lost, and this one cannot go on.

    The packet that revealed it belongs to the session that takes this one's place.
    """

    def __init__(self, *, another_process: bool) -> None:
        self.another_process = another_process
        """Whether it is of another process than the session that we knew, and not a later one of the same."""
        super().__init__(another_process)
