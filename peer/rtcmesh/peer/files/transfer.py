"""The files of one offer on their way from one peer to another, as either end sees it."""

from __future__ import annotations

from collections.abc import Sequence

from rtcmesh.peer.peer import Peer
from rtcmesh.signaling.identity import PeerId

from .messages import FileInfo


class Transfer:
    """Ends once: when the receiver has put every file into its place, or with an error."""

    def __init__(self, peer_id: PeerId, infos: Sequence[FileInfo], peer: Peer | None) -> None:
        self.peer_id = peer_id
        """The other end."""
        self.peer = peer
        """What is known of it, also after it has left; None if it had left before."""
        self.infos = infos
        """What is transferred."""
        self.resumed = 0
        """How many bytes the receiver had already."""
        self.placed: int = 0
        """How many files the receiver has verified and given their names; they come in order."""
        self.error: str | None = None
        """Why it ended without success."""

    @property
    def done(self) -> int:
        """How many bytes have gone over, or were there already."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """How many bytes all files have together."""
        return sum(info.size for info in self.infos)

    @property
    def succeeded(self) -> bool:
        """Whether the receiver has everything."""
        return self.error is None and self.placed == len(self.infos)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.error is not None or self.succeeded
