"""What waits for one connection, and which of it goes first.

Strictly by urgency. Within one, senders take turns by deficit round robin (Shreedhar and Varghese, 1995), so that each
gets the same share of bytes whatever the size of its frames, at a constant cost for each frame. A sender's own frames
of one urgency stay in order, except that datagrams have a queue of their own.
"""

from collections import deque
from dataclasses import dataclass, field

from .codes import NackReason
from .frames import MAX_FRAME_BYTES, PeerKey, Urgency

FRAME_OVERHEAD = 128
"""What a waiting frame costs beyond its length, so that empty ones are bounded too."""

_QUANTUM = MAX_FRAME_BYTES + FRAME_OVERHEAD


def cost(frame: bytes) -> int:
    """Return what a waiting frame takes of the bounds."""
    return len(frame) + FRAME_OVERHEAD


@dataclass(slots=True, eq=False)
class _Lane:
    """The frames of one sender, one urgency and one kind; it exists while there are some."""

    sender: PeerKey
    datagram: bool
    frames: deque[bytes] = field(default_factory=deque[bytes])
    queued_bytes: int = 0
    deficit: int = _QUANTUM


class Egress:
    """Holds at most `max_queue_bytes`; of those, `max_pair_bytes` of one sender, its datagrams apart."""

    def __init__(self, *, max_pair_bytes: int, max_queue_bytes: int, max_datagram_bytes: int) -> None:
        self._max_pair_bytes = max_pair_bytes
        self._max_queue_bytes = max_queue_bytes
        self._max_datagram_bytes = max_datagram_bytes
        self._lanes: dict[tuple[PeerKey, Urgency, bool], _Lane] = {}
        self._rings: tuple[deque[_Lane], ...] = tuple(deque() for _ in Urgency)
        self._reliable_bytes: dict[PeerKey, int] = {}
        self.queued_bytes = 0
        """The cost of all that is waiting."""

    def put(self, sender: PeerKey, urgency: Urgency, frame: bytes) -> NackReason | None:
        """Take a reliable frame, or return why not."""
        size = cost(frame)
        waiting = self._reliable_bytes.get(sender, 0)
        if waiting + size > self._max_pair_bytes:
            return NackReason.QUEUE_FULL
        if self.queued_bytes + size > self._max_queue_bytes:
            return NackReason.RECEIVER_FULL
        self._reliable_bytes[sender] = waiting + size
        self._append(sender, urgency, frame, datagram=False)
        return None

    def put_datagram(self, sender: PeerKey, urgency: Urgency, frame: bytes) -> int:
        """Take a datagram in place of the oldest ones of its kind, and return how many were dropped."""
        size, dropped = cost(frame), 0
        lane = self._lanes.get((sender, urgency, True))
        while lane is not None and lane.frames and lane.queued_bytes + size > self._max_datagram_bytes:
            self._pop(lane)
            dropped += 1
        if size > self._max_datagram_bytes or self.queued_bytes + size > self._max_queue_bytes:
            if lane is not None and not lane.frames:
                self._remove(lane, urgency)
            return dropped + 1
        self._append(sender, urgency, frame, datagram=True)
        return dropped

    def take(self) -> bytes | None:
        """Return the next frame, or None."""
        for urgency, ring in enumerate(self._rings):
            while ring:
                lane = ring[0]
                size = cost(lane.frames[0])
                if lane.deficit < size:
                    lane.deficit += _QUANTUM
                    ring.rotate(-1)
                    continue
                lane.deficit -= size
                frame = self._pop(lane)
                if not lane.frames:
                    self._remove(lane, Urgency(urgency))
                return frame
        return None

    def clear(self) -> dict[PeerKey, int]:
        """Drop everything and return how many reliable frames of each sender that were."""
        counts: dict[PeerKey, int] = {}
        for lane in self._lanes.values():
            if not lane.datagram:
                counts[lane.sender] = counts.get(lane.sender, 0) + len(lane.frames)
        self._lanes.clear()
        self._reliable_bytes.clear()
        for ring in self._rings:
            ring.clear()
        self.queued_bytes = 0
        return counts

    def _append(self, sender: PeerKey, urgency: Urgency, frame: bytes, *, datagram: bool) -> None:
        key = (sender, urgency, datagram)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(sender, datagram)
            self._rings[urgency].append(lane)
        lane.frames.append(frame)
        lane.queued_bytes += cost(frame)
        self.queued_bytes += cost(frame)

    def _pop(self, lane: _Lane) -> bytes:
        frame = lane.frames.popleft()
        size = cost(frame)
        lane.queued_bytes -= size
        self.queued_bytes -= size
        if not lane.datagram:
            left = self._reliable_bytes[lane.sender] - size
            if left:
                self._reliable_bytes[lane.sender] = left
            else:
                del self._reliable_bytes[lane.sender]
        return frame

    def _remove(self, lane: _Lane, urgency: Urgency) -> None:
        self._rings[urgency].remove(lane)
        del self._lanes[lane.sender, urgency, lane.datagram]
