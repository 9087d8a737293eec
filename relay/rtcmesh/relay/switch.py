"""The switch: who is connected in which room, what waits for whom, and who is told what became of it."""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from .codes import GoneReason, NackReason
from .egress import FRAME_OVERHEAD, Egress, cost
from .errors import OlderConnection
from .frames import (
    HEADER_BYTES,
    MAX_FRAME_BYTES,
    MAX_PAYLOAD_BYTES,
    FrameType,
    PeerKey,
    Send,
    Urgency,
    encode_nack,
    encode_peer_gone,
    encode_recv,
)
from .stats import SwitchStats

GONE_INTERVAL = 1.0
"""A sender is told at most this often, in seconds, that one peer is not connected; the first time at once."""

MAX_NOTICES = 1024
"""What one connection may leave unread of nacks and the like, each about another peer or for another reason."""

MAX_ACQUAINTANCES = 1024
"""With how many peers a connection has exchanged frames as far as the switch remembers."""

ACQUAINTANCE_SECONDS = 300.0

RESERVED_BYTES = 65_536
"""What may wait for each receiver even in a full room or relay: who reads does not suffer for those who do not."""


@dataclass(frozen=True, kw_only=True)
class SwitchLimits:
    """What may wait; each frame counts with its header and 128 bytes more."""

    max_pair_bytes: int = 2_097_152
    """Reliable frames of one sender for one receiver."""
    max_datagram_bytes: int = 65_536
    """Datagrams of one sender and one urgency for one receiver; beyond it the oldest are dropped."""
    max_queue_bytes: int = 16_777_216
    """Everything for one receiver; its ticket may say less."""
    max_room_bytes: int = 67_108_864
    """Everything in one room."""
    max_total_bytes: int = 536_870_912
    """Everything."""

    def __post_init__(self) -> None:
        """Check that each bound holds a frame."""
        for name in (
            "max_pair_bytes",
            "max_datagram_bytes",
            "max_queue_bytes",
            "max_room_bytes",
            "max_total_bytes",
        ):
            if getattr(self, name) < MAX_FRAME_BYTES + FRAME_OVERHEAD:
                raise ValueError(f"{name} must hold a frame")


class _Notice(NamedTuple):
    """Something to tell a connection, apart from how often it happened."""

    type: FrameType
    peer: PeerKey
    reason: int


class Room:
    """The connected peers of one room, and what waits for all of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seats: dict[PeerKey, Seat] = {}
        self.queued_bytes = 0


class Seat:
    """The place of one connection; only the switch looks inside."""

    def __init__(self, room: Room, key: PeerKey, number: int, egress: Egress) -> None:
        self.room = room
        self.key = key
        self.number = number
        self.egress = egress
        self.notices: dict[_Notice, int] = {}
        """What to tell, and how many frames each is about."""
        self.acquaintances: dict[PeerKey, float] = {}
        self.refused: dict[PeerKey, int] = {}
        """Receivers that are not connected, with the frames for them that were not reported yet."""
        self.is_swamped = False
        """Whether it leaves so much unread that it cannot be told everything; it must be cut off."""
        self.is_idle = True


class Switch:
    """Forwards frames between the peers of a room.

    Frames of one sender, one receiver, one urgency and one kind keep their order. A reliable frame is handed to its
    receiver's connection, or its sender is told that it was not; a datagram may be dropped. All memory is bounded, and
    what one connection sends or leaves unread costs the others nothing but their share of the room's bound.
    """

    def __init__(self, limits: SwitchLimits) -> None:
        self.stats = SwitchStats()
        self.queued_bytes = 0
        """The cost of all that is waiting."""
        self._limits = limits
        self._rooms: dict[str, Room] = {}
        self._awakened: list[Seat] = []
        self._reports: deque[tuple[float, Seat, PeerKey]] = deque()

    @property
    def rooms(self) -> int:
        """How many rooms have somebody connected."""
        return len(self._rooms)

    @property
    def peers(self) -> int:
        """How many peers are connected."""
        return sum(len(room.seats) for room in self._rooms.values())

    def join(
        self, room_name: str, key: PeerKey, number: int, *, max_queue_bytes: int | None = None
    ) -> tuple[Seat, Seat | None]:
        """Return a new place, and the one that it replaces if the peer had one.

        Raises `OlderConnection` if that one's number is not smaller.
        """
        room = self._rooms.get(room_name)
        old = None if room is None else room.seats.get(key)
        if old is not None and old.number >= number:
            raise OlderConnection
        if room is None:
            room = self._rooms[room_name] = Room(room_name)
        limits = self._limits
        egress = Egress(
            max_pair_bytes=limits.max_pair_bytes,
            max_queue_bytes=min(limits.max_queue_bytes, max_queue_bytes or limits.max_queue_bytes),
            max_datagram_bytes=limits.max_datagram_bytes,
        )
        seat = room.seats[key] = Seat(room, key, number, egress)
        if old is not None:
            seat.acquaintances = old.acquaintances
            for sender, count in self._clear(old).items():
                self._nack(room, sender, key, NackReason.RECEIVER_AWAY, count)
        return seat, old

    def leave(self, seat: Seat, reason: GoneReason, now: float) -> None:
        """End a place, and tell those whose frames waited there, and those who knew the peer. May be repeated."""
        room = seat.room
        if room.seats.get(seat.key) is not seat:
            return
        del room.seats[seat.key]
        counts = self._clear(seat)
        for key, met_at in seat.acquaintances.items():
            if now - met_at <= ACQUAINTANCE_SECONDS:
                counts.setdefault(key, 0)
        for key, count in counts.items():
            witness = room.seats.get(key)
            if witness is not None:
                self._tell_gone(witness, seat.key, reason, count, now)
        if not room.seats:
            del self._rooms[room.name]

    def send(self, seat: Seat, send: Send, now: float) -> None:
        """Forward what a connection sent."""
        size, urgency = len(send.payload), send.urgency
        self.stats.frames_in[urgency] += 1
        self.stats.bytes_in[urgency] += size
        receiver = seat.room.seats.get(send.destination)
        if receiver is None:
            self._refuse(seat, send, now)
            return
        _remember(seat, receiver.key, now)
        _remember(receiver, seat.key, now)
        if size > MAX_PAYLOAD_BYTES:
            self._reject(seat, send, NackReason.TOO_LARGE)
            return
        before = receiver.egress.queued_bytes
        self._enqueue(seat, receiver, send)
        self._account(receiver, receiver.egress.queued_bytes - before)
        if receiver.egress.queued_bytes:
            self._awaken(receiver)

    def take(self, seat: Seat) -> bytes | None:
        """Return the next frame for a connection, or None; then it is `awakened` when there is one."""
        if seat.notices:
            notice = next(iter(seat.notices))
            return _encode(notice, seat.notices.pop(notice))
        before = seat.egress.queued_bytes
        frame = seat.egress.take()
        if frame is None:
            seat.is_idle = True
            return None
        self._account(seat, seat.egress.queued_bytes - before)
        urgency = Urgency(frame[1] & 0x7F)
        self.stats.frames_out[urgency] += 1
        self.stats.bytes_out[urgency] += len(frame) - HEADER_BYTES
        return frame

    def awakened(self) -> list[Seat]:
        """Return, once, the places that have something to take after they had nothing."""
        awakened, self._awakened = self._awakened, []
        return awakened

    def deadline(self) -> float | None:
        """Return when `handle_timeout` is due, or None."""
        return self._reports[0][0] if self._reports else None

    def handle_timeout(self, now: float) -> None:
        """Report what was refused since the last report."""
        while self._reports and self._reports[0][0] <= now:
            _, seat, key = self._reports.popleft()
            count = seat.refused.pop(key)
            if count and key in seat.room.seats:
                self._nack(seat.room, seat.key, key, NackReason.RECEIVER_AWAY, count)
            elif count:
                self._tell_gone(seat, key, GoneReason.NOT_CONNECTED, count, now)

    def _enqueue(self, seat: Seat, receiver: Seat, send: Send) -> None:
        frame = encode_recv(seat.key, send.payload, send.urgency, datagram=send.datagram)
        if not self._has_room(receiver, cost(frame)):
            self._reject(seat, send, NackReason.RELAY_FULL)
        elif send.datagram:
            self.stats.datagrams_dropped += receiver.egress.put_datagram(seat.key, send.urgency, frame)
        elif (reason := receiver.egress.put(seat.key, send.urgency, frame)) is not None:
            self._reject(seat, send, reason)

    def _refuse(self, seat: Seat, send: Send, now: float) -> None:
        key, count = send.destination, 0 if send.datagram else 1
        self.stats.datagrams_dropped += 1 - count
        if key in seat.refused:
            seat.refused[key] += count
        else:
            self._tell_gone(seat, key, GoneReason.NOT_CONNECTED, count, now)

    def _tell_gone(self, seat: Seat, key: PeerKey, reason: GoneReason, count: int, now: float) -> None:
        self.stats.gone[reason.name.lower()] += count
        self._notify(seat, _Notice(FrameType.PEER_GONE, key, reason), count)
        # Without a note of it each frame is reported, which is more than promised.
        if key not in seat.refused and len(seat.refused) < MAX_ACQUAINTANCES:
            seat.refused[key] = 0
            self._reports.append((now + GONE_INTERVAL, seat, key))

    def _reject(self, seat: Seat, send: Send, reason: NackReason) -> None:
        if send.datagram:
            self.stats.datagrams_dropped += 1
        else:
            self._nack(seat.room, seat.key, send.destination, reason, 1)

    def _nack(self, room: Room, sender: PeerKey, key: PeerKey, reason: NackReason, count: int) -> None:
        self.stats.nacks[reason.name.lower()] += count
        seat = room.seats.get(sender)
        if seat is not None:
            self._notify(seat, _Notice(FrameType.NACK, key, reason), count)

    def _notify(self, seat: Seat, notice: _Notice, count: int) -> None:
        """Add to what a connection is told: of what it has not read yet, one notice stands for many."""
        if notice in seat.notices:
            seat.notices[notice] += count
        elif len(seat.notices) < MAX_NOTICES:
            seat.notices[notice] = count
        else:
            seat.is_swamped = True
        self._awaken(seat)

    def _clear(self, seat: Seat) -> dict[PeerKey, int]:
        self._account(seat, -seat.egress.queued_bytes)
        return seat.egress.clear()

    def _has_room(self, seat: Seat, size: int) -> bool:
        limits = self._limits
        return seat.egress.queued_bytes + size <= RESERVED_BYTES or (
            seat.room.queued_bytes + size <= limits.max_room_bytes
            and self.queued_bytes + size <= limits.max_total_bytes
        )

    def _account(self, seat: Seat, change: int) -> None:
        seat.room.queued_bytes += change
        self.queued_bytes += change

    def _awaken(self, seat: Seat) -> None:
        if seat.is_idle:
            seat.is_idle = False
            self._awakened.append(seat)


def _remember(seat: Seat, key: PeerKey, now: float) -> None:
    if key not in seat.acquaintances and len(seat.acquaintances) >= MAX_ACQUAINTANCES:
        del seat.acquaintances[next(iter(seat.acquaintances))]
    seat.acquaintances[key] = now


def _encode(notice: _Notice, count: int) -> bytes:
    if notice.type is FrameType.NACK:
        return encode_nack(notice.peer, NackReason(notice.reason), count)
    return encode_peer_gone(notice.peer, GoneReason(notice.reason), count)
