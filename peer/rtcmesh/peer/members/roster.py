"""Who is in the mesh, as far as signaling and the paths together tell: a machine without I/O.

The signaling server's word brings peers in. It takes them out only together with the path: a peer that can still be
reached has not left, whatever a restarted server has forgotten. Decisions are returned; the mesh carries them out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rtcmesh.peer.events import LeaveReason
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.messages import Member


@dataclass(frozen=True, slots=True)
class Admit:
    """This peer is new."""

    member: Member


@dataclass(frozen=True, slots=True)
class Rekey:
    """This peer has a new membership: new keys for signals; what runs on its path goes on."""

    member: Member


@dataclass(frozen=True, slots=True)
class Dismiss:
    """This peer is gone."""

    peer_id: PeerId
    reason: LeaveReason


Decision = Admit | Rekey | Dismiss


@dataclass(slots=True)
class _Entry:
    prekey: bytes
    listed: bool = True
    said_goodbye: bool = False
    given_up: bool = False
    """The server gave it up: its connection was lost for too long. Its process may live, and be back soon."""
    reachable: bool = False
    expires_at: float | None = None


class Roster:
    """Decides who is admitted and who is dismissed.

    Guarantees: a peer with an open path is not dismissed on the server's word. One without is dismissed when it has
    said goodbye; when the server has given it up and it was out of reach for the session timeout; or after `grace`
    seconds of being in nobody's list.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._entries: dict[PeerId, _Entry] = {}

    def deadline(self) -> float | None:
        """When `handle_timeout` is due."""
        return min((e.expires_at for e in self._entries.values() if e.expires_at is not None), default=None)

    def joined(self, member: Member) -> list[Decision]:
        """Take the news that a peer joined, or joined anew."""
        entry = self._entries.get(member.peer_id)
        if entry is None:
            self._entries[member.peer_id] = _Entry(member.prekey.key)
            return [Admit(member)]
        entry.listed, entry.said_goodbye, entry.given_up, entry.expires_at = True, False, False, None
        if entry.prekey == member.prekey.key:
            return []
        entry.prekey = member.prekey.key
        return [Rekey(member)]

    def left(self, peer_id: PeerId, *, orderly: bool) -> list[Decision]:
        """Take the news that a peer left: it said so (`orderly`), or the server gave it up."""
        entry = self._entries.get(peer_id)
        if entry is None:
            return []
        entry.listed, entry.said_goodbye, entry.given_up, entry.expires_at = False, orderly, not orderly, None
        return [self._dismiss(peer_id, LeaveReason.LEFT)] if orderly and not entry.reachable else []

    def timed_out(self, peer_id: PeerId) -> list[Decision]:
        """Take the news that no path led to a peer for the session timeout."""
        entry = self._entries.get(peer_id)
        if entry is None or entry.reachable or not entry.given_up:
            return []
        return [self._dismiss(peer_id, LeaveReason.EXPIRED)]

    def replaced(self, peer_id: PeerId, now: float) -> None:
        """Take the news that a membership ended because the next one of the same peer begins."""
        if entry := self._entries.get(peer_id):
            self._unlist(entry, now)

    def snapshot(self, members: Iterable[Member], now: float) -> list[Decision]:
        """Take the complete list of a server that does not continue the one before."""
        listed = {member.peer_id for member in members}
        for peer_id, entry in self._entries.items():
            if peer_id not in listed:
                self._unlist(entry, now)
        return [decision for member in members for decision in self.joined(member)]

    def path_changed(self, peer_id: PeerId, *, reachable: bool, now: float) -> list[Decision]:
        """Take the news that a path to a peer opened, or that there is none any more."""
        entry = self._entries.get(peer_id)
        if entry is None:
            return []
        entry.reachable = reachable
        if entry.said_goodbye and not reachable:
            return [self._dismiss(peer_id, LeaveReason.LEFT)]
        waits = reachable or entry.listed or entry.given_up
        entry.expires_at = None if waits else now + self._grace
        return []

    def gone(self, peer_id: PeerId) -> None:
        """Forget a peer that said goodbye on its path."""
        self._entries.pop(peer_id, None)

    def handle_timeout(self, now: float) -> list[Decision]:
        """Dismiss whom nobody has listed for too long."""
        due = [p for p, e in self._entries.items() if e.expires_at is not None and e.expires_at <= now]
        return [self._dismiss(peer_id, LeaveReason.EXPIRED) for peer_id in due]

    def _unlist(self, entry: _Entry, now: float) -> None:
        entry.listed = entry.given_up = False
        if not entry.reachable:
            entry.expires_at = now + self._grace

    def _dismiss(self, peer_id: PeerId, reason: LeaveReason) -> Dismiss:
        del self._entries[peer_id]
        return Dismiss(peer_id, reason)
