"""What can be wrong with what a remote peer sends."""

from __future__ import annotations

from rtcmesh.peer.errors import TransportFailed


class BadDescription(TransportFailed):
    """A session description or candidate that cannot be used."""

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(f"{what} cannot be used: {detail}")
