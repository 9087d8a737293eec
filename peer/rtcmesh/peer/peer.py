"""One other member of the room, as the application sees it."""

from __future__ import annotations

from typing import Any

from rtcmesh.signaling.identity import PeerId

from .events import PathKind
from .members.remote_peer import RemotePeer
from .stats import PeerStats


class Peer:
    """A live, read-only view. After the peer has left it shows what was last known, without a path."""

    __slots__ = ("_remote",)

    def __init__(self, remote: RemotePeer) -> None:
        self._remote = remote

    @property
    def peer_id(self) -> PeerId:
        """The peer's public key, which is its name."""
        return self._remote.peer_id

    @property
    def presence(self) -> dict[str, Any]:
        """What the peer tells about itself."""
        return self._remote.presence

    @property
    def suspended(self) -> bool:
        """Whether the peer has lost its connection to the signaling server. Its path is another matter."""
        return self._remote.suspended

    @property
    def path(self) -> PathKind | None:
        """How the peer is reached; None while it is not, and messages wait."""
        return self._remote.path

    @property
    def rtt(self) -> float | None:
        """The smoothed round-trip time of the path in seconds; None until it was measured."""
        return self._remote.rtt

    def stats(self) -> PeerStats:
        """Return figures about the peer and every path to it, as they are now."""
        return self._remote.stats()

    def __repr__(self) -> str:
        path = self.path.value if self.path else "no path"
        return f"<Peer {self.peer_id[:8]} {path}>"
