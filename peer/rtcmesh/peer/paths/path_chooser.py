"""Which path the conversation with one remote peer takes now: a machine without I/O.

    no path ──relay up──▶ relayed ──direct opens──▶ probing ──a ping is answered──▶ direct
       ▲                     ▲                                                        │
       │                     │                                      two pings missed  ▼
       └──all paths lost─────┴◀──silent for path_timeout, closed──── in doubt: relay carries, copies go direct
                                                                     └──a ping is answered──▶ direct

The relay carries from the first byte, before anything proves that the peer hears it. A direct path takes over only
after a probe has gone both ways (make-before-break), unless nothing else is there. What carries a packet never
matters to its meaning: the session above recovers whatever a path loses, and drops what two paths bring twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rtcmesh.peer.events import PathChangeReason, PathKind
from rtcmesh.peer.session.probes import Probe

from .liveness import Liveness

MISSES_UNTIL_DOUBT = 2
"""How many pings in a row must be missed before a path is in doubt."""


class Rest(NamedTuple):
    """When a path that carries nothing is asked less often."""

    after: float
    """Seconds."""
    factor: int
    """How many times as seldom."""


RESTS = {PathKind.DIRECT: Rest(2.0, 10), PathKind.RELAYED: Rest(10.0, 4)}
"""A direct path that dies in its sleep costs nothing: who has something to say notices at once, and there is the relay.
A dead connection to a relay can only be mended by the end that has it, which may have nothing to say."""


@dataclass(frozen=True, slots=True)
class SendProbes:
    """Send these on the path, in one packet."""

    path: int
    probes: tuple[Probe, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This direct path is of no more use: close it. The chooser has forgotten it."""

    path: int
    reason: PathChangeReason


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is on its way on this path may be lost: send it again on the one that carries now."""

    path: int


@dataclass(frozen=True, slots=True)
class AskRelays:
    """The peer does not answer through its relay: find out whether the connections to relays are alive."""


@dataclass(frozen=True, slots=True)
class Change:
    """How the peer is reached has changed."""

    kind: PathKind | None
    reason: PathChangeReason
    rtt: float | None


@dataclass(frozen=True, slots=True)
class Expire:
    """There was no path for `session_timeout`, or only one on which the peer was heard and never answered."""


Decision = SendProbes | GiveUp | Doubt | AskRelays | Change | Expire


class _Path:
    """A path and what is thought of it."""

    __slots__ = ("asked", "carried", "heard", "kind", "liveness", "number", "unreachable")

    def __init__(self, number: int, kind: PathKind, liveness: Liveness) -> None:
        self.number = number
        self.kind = kind
        self.liveness = liveness
        # An open transport has shown by its handshake that the peer is there; an open relay shows nothing of the kind.
        self.heard = kind is PathKind.DIRECT
        self.unreachable = False
        self.carried = False
        self.asked = False

    @property
    def doubtful(self) -> bool:
        return self.liveness.misses >= MISSES_UNTIL_DOUBT

    @property
    def alive(self) -> bool:
        """Whether the peer can be reached on it, as far as is known."""
        return self.heard and not self.unreachable and not self.liveness.silent

    @property
    def is_sure(self) -> bool:
        """Whether it carries without copies elsewhere."""
        proven = self.kind is PathKind.RELAYED or self.liveness.verified
        return proven and not (self.doubtful or self.unreachable or self.liveness.silent)

    @property
    def rank(self) -> tuple[int, int]:
        """The higher the better. A sure direct path beats a sure relay; in doubt the relay is the better guess."""
        direct = self.kind is PathKind.DIRECT
        if self.is_sure:
            return (4 if direct else 3), self.number
        if self.unreachable:
            return 0, self.number
        return (1 if self.liveness.silent else 2), 0 if direct else self.number


class PathChooser:
    """Watches the paths to one remote peer and decides which of them carry.

    Guarantees: as long as any path is open there is one that carries; a direct path carries alone only while its pings
    are answered; every change of how the peer is reached is told once, with its reason. One of the two ends *follows*
    the other with its pings (see `Liveness`).
    """

    def __init__(
        self,
        now: float,
        *,
        follows: bool,
        ping_interval: float,
        standby_ping_interval: float,
        path_timeout: float,
        session_timeout: float,
    ) -> None:
        self._follows = follows
        self._ping_interval = ping_interval
        self._standby_ping_interval = standby_ping_interval
        self._path_timeout = path_timeout
        self._session_timeout = session_timeout
        self._paths: dict[int, _Path] = {}
        self._carrier: _Path | None = None
        self._reported: tuple[PathKind, int] | None = None
        self._used_at = now
        self._expires_at: float | None = now + session_timeout
        self._decisions: list[Decision] = []

    # What is known

    @property
    def kind(self) -> PathKind | None:
        """How the peer is reached now; None while nothing shows that it is."""
        return self._reported[0] if self._reported else None

    @property
    def rtt(self) -> float | None:
        """The smoothed round-trip time in seconds of the path that carries."""
        return self._carrier.liveness.rtt if self._carrier else None

    @property
    def carriers(self) -> tuple[int, ...]:
        """The path that carries, and after it those that get copies because there is doubt."""
        carrier = self._carrier
        if carrier is None or carrier.unreachable:
            return ()
        copies = (
            path.number
            for path in self._paths.values()
            if path is not carrier and not path.unreachable and (path.doubtful or not carrier.is_sure)
        )
        return (carrier.number, *copies)

    def liveness(self, path: int) -> Liveness | None:
        """The pulse of a path."""
        known = self._paths.get(path)
        return known.liveness if known else None

    def deadline(self) -> float | None:
        """When `handle_timeout` is due."""
        due = [path.liveness.deadline() for path in self._paths.values()]
        if self._expires_at is not None:
            due.append(self._expires_at)
        return min(due, default=None)

    def decisions(self) -> list[Decision]:
        """Return what is to be done, in order, once."""
        decisions, self._decisions = self._decisions, []
        return decisions

    # Inputs

    def opened(self, path: int, kind: PathKind, now: float) -> None:
        """Note a new path, and ping it; its number is greater than those of the paths before."""
        liveness = Liveness(
            now, interval=self._ping_interval, timeout=self._path_timeout, follows=self._follows
        )
        self._paths[path] = _Path(path, kind, liveness)
        self._decide(PathChangeReason.OPENED, now)
        liveness.handle_timeout(
            now
        )  # at once, since some transports have room for it in the packet that opens them
        self._collect_probes()

    def closed(self, path: int, reason: PathChangeReason, now: float) -> None:
        """Note that a path is no more. Does nothing for a path that is not known."""
        if self._paths.pop(path, None) is not None:
            self._decide(reason, now)

    def unreachable(self, path: int, now: float) -> None:
        """Note that the relay does not reach the peer: what was sent there is lost. It is asked for again and again."""
        known = self._paths.get(path)
        if known is not None and not known.unreachable:
            known.unreachable = True
            self._decisions.append(Doubt(path))
            self._decide(PathChangeReason.PEER_GONE, now)

    def heard(self, path: int, now: float) -> None:
        """Note that something authentic came on a path."""
        known = self._paths.get(path)
        if known is None:
            return
        was_alive = known.alive
        known.liveness.heard()
        known.heard, known.unreachable = True, False
        if not was_alive:
            self._decide(PathChangeReason.OPENED, now)

    def receive(self, path: int, probes: Iterable[Probe], now: float) -> None:
        """Take the probes of one packet."""
        self.heard(path, now)
        known = self._paths.get(path)
        if known is not None:
            for probe in probes:
                known.liveness.receive(probe, now)
            self._collect_probes()
            self._decide(PathChangeReason.UPGRADED, now)

    def used(self, now: float) -> None:
        """Note that the conversation has something to say: a path that rested is asked at once whether it lives."""
        carrier = self._carrier
        rested = carrier is not None and self._rests(carrier, now)
        self._used_at = now
        if carrier is not None and rested:
            self._pace(now)
            carrier.liveness.ping(now)

    def suspect(self, now: float) -> None:
        """Ask all paths at once whether they live: the machine slept, or its addresses changed."""
        for path in self._paths.values():
            path.liveness.ping(now)

    def fell_silent(self, paths: Iterable[int], now: float) -> None:
        """Note that what was sent on these is not acknowledged in time: that is as good as a ping that was missed."""
        for path in paths:
            if (known := self._paths.get(path)) is not None:
                known.liveness.fell_silent(now)

    def handle_timeout(self, now: float) -> None:
        """Ping, doubt, give up, as it is due."""
        for path in list(self._paths.values()):
            path.liveness.handle_timeout(now)
            if path.kind is PathKind.RELAYED:
                self._ask_relays(path)
            elif path.liveness.silent:
                del self._paths[path.number]
                self._decisions.append(GiveUp(path.number, PathChangeReason.SILENT))
        self._decide(PathChangeReason.SILENT, now)
        self._collect_probes()
        if self._expires_at is not None and now >= self._expires_at:
            self._expires_at = now + self._session_timeout
            self._decisions.append(Expire())
        self._expire_unanswered()

    # Rules

    def _expire_unanswered(self) -> None:
        """Wait no longer for a peer that is heard and hears nothing, as when a relay forwards one way only."""
        if self._expires_at is None and self._carrier is not None:
            liveness = self._carrier.liveness
            if liveness.unanswered * self._ping_interval >= self._session_timeout:
                liveness.unanswered = 0
                self._decisions.append(Expire())

    def _decide(self, reason: PathChangeReason, now: float) -> None:
        """Choose the carrier, and tell what has changed."""
        before = self._carrier
        carrier = max(self._paths.values(), key=lambda path: path.rank, default=None)
        if before is not carrier:
            self._carrier = carrier
            if carrier is not None:
                carrier.liveness.ping(now)  # it may have been in reserve, and asked long ago
            if before is not None and before.number in self._paths:
                if before.doubtful:
                    reason = PathChangeReason.DOUBTED
                # A relay is left for a better path: whatever it does to the packets it has, none of them waits for it.
                if before.doubtful or before.kind is PathKind.RELAYED:
                    self._decisions.append(Doubt(before.number))
            if reason is PathChangeReason.UPGRADED:
                reason = _name_gain(before, carrier)
            self._drop_superseded()
        self._report(reason, now)
        if carrier is not None:
            carrier.carried = True
        self._pace(now)

    def _ask_relays(self, path: _Path) -> None:
        """Ask once each time that a peer falls silent: a connection that is half open would be noticed much later."""
        if path.doubtful and not path.asked:
            self._decisions.append(AskRelays())
        path.asked = path.doubtful

    def _drop_superseded(self) -> None:
        """Close the direct paths that a newer one has replaced."""
        carrier = self._carrier
        if carrier is None or carrier.kind is not PathKind.DIRECT or not carrier.liveness.verified:
            return
        for path in list(self._paths.values()):
            if path.kind is PathKind.DIRECT and path.number < carrier.number:
                del self._paths[path.number]
                self._decisions.append(GiveUp(path.number, PathChangeReason.SUPERSEDED))

    def _report(self, reason: PathChangeReason, now: float) -> None:
        """Tell how the peer is reached, if that is news."""
        carrier, known = self._carrier, self._reported
        reported = (carrier.kind, carrier.number) if carrier is not None and carrier.alive else None
        if reported == known:
            return
        self._reported = reported
        if reported is None:
            self._expires_at = now + self._session_timeout
        elif known is None:
            self._expires_at = None
            reason = PathChangeReason.OPENED
        elif reported[0] is known[0] is PathKind.RELAYED:
            return  # another connection to the same relay
        self._decisions.append(Change(self.kind, reason, self.rtt))

    def _pace(self, now: float) -> None:
        """Ask the path that carries as often as the conversation needs it, and one in reserve seldom."""
        needs_no_other = self._carrier is not None and self._carrier.is_sure
        for path in self._paths.values():
            interval = self._ping_interval
            if path.kind is PathKind.RELAYED and path is not self._carrier and needs_no_other:
                interval = self._standby_ping_interval
            elif self._rests(path, now) and not path.liveness.misses:
                interval *= RESTS[path.kind].factor
            path.liveness.pace(interval, now)

    def _rests(self, path: _Path, now: float) -> bool:
        return now - self._used_at > RESTS[path.kind].after

    def _collect_probes(self) -> None:
        for path in self._paths.values():
            if probes := path.liveness.probes_to_send():
                self._decisions.append(SendProbes(path.number, tuple(probes)))


def _name_gain(before: _Path | None, carrier: _Path | None) -> PathChangeReason:
    """Say what a probe that was answered has brought."""
    if carrier is not None and carrier.carried:
        return PathChangeReason.RECOVERED
    if before is not None and before.kind is PathKind.DIRECT:
        return PathChangeReason.SUPERSEDED
    return PathChangeReason.UPGRADED
