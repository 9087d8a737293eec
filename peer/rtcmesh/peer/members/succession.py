"""Which process of a remote peer is the present one: a machine without I/O."""

from __future__ import annotations

from rtcmesh.peer.errors import ProtocolViolation

MIN_SESSION_TIME = 1.0
"""How long a session of the remote peer lasts at least, in seconds: a restart before that is heard later."""


class Succession:
    """Counts the peer's memberships, and says who may take the place of whom.

    A process has a membership of its own: one that speaks under no newer one than its successor has had its time.
    """

    def __init__(self) -> None:
        self.membership = 0
        """The newest one, counted from 0."""
        self._heard = 0
        self._restarted_at = float("-inf")

    def renewed(self) -> None:
        """Note that the peer has another membership."""
        self.membership += 1

    def heard(self, membership: int) -> None:
        """Note that the present process spoke under this membership."""
        self._heard = max(self._heard, membership)

    def restart(self, membership: int, now: float, *, another_process: bool) -> bool:
        """Take another session for the present one; False if it is too early for that.

        Raises `ProtocolViolation` for a process that was succeeded.
        """
        if another_process and membership <= self._heard:
            raise ProtocolViolation("former_process", "another process is the member now")
        if now < self._restarted_at + MIN_SESSION_TIME:
            return False
        self._restarted_at = now
        return True
