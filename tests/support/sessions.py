"""Two sessions and a network between them that does what it likes."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from random import Random
from typing import assert_never

from rtcmesh.peer.delivery import Delivery, Priority
from rtcmesh.peer.session.frames import (
    MAX_CHANNELS,
    MAX_MESSAGE_BYTES,
    MIN_CHANNEL_WINDOW_BYTES,
    message_cost,
)
from rtcmesh.peer.session.session import Session
from rtcmesh.peer.session.session_events import Acknowledged, CreditGrew, Ended, MessagesReceived, RemoteEnded

WINDOW = MIN_CHANNEL_WINDOW_BYTES
RELIABLE = (Delivery.RELIABLE, Delivery.UNORDERED)


class Faults:
    """What a path does to packets."""

    def __init__(
        self, *, drop: float = 0, repeat: float = 0, delay: float = 0.02, jitter: float = 0, late: float = 0
    ) -> None:
        self.drop = drop
        self.repeat = repeat
        self.delay = delay
        self.jitter = jitter
        self.late = late
        """How many packets are held for minutes."""


class End:
    """One session, what its application sent and received, and the path it uses."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.path = 0
        self.sent: dict[str, list[bytes]] = defaultdict(list)
        self.waiting: dict[str, deque[bytes]] = defaultdict(deque)
        """What did not fit; it is tried again when the session says so, and not before."""
        self.received: dict[str, list[bytes]] = defaultdict(list)
        self.acknowledged: dict[str, int] = {}
        self.untaken: list[MessagesReceived] = []
        self.reading = True
        self.delivery: dict[str, Delivery] = {}
        self.priority: dict[str, Priority] = {}
        self.remote_ended = False
        self.ended = False


class Lab:
    """Both ends, and the packets on their way."""

    def __init__(self, seed: int = 0, *, window: int = WINDOW) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.ends = (End(Session(1 << 32 | 1, window=window)), End(Session(2 << 32 | 1, window=window)))
        self.faults: dict[int, Faults] = {}
        self._last_path = 0
        self._on_the_way: list[tuple[float, int, int, int, bytes]] = []
        self._count = 0
        self.packets = 0

    @property
    def ann(self) -> End:
        return self.ends[0]

    @property
    def bob(self) -> End:
        return self.ends[1]

    def open(self, faults: Faults | None = None, *, use: bool = True) -> int:
        self._last_path += 1
        self.faults[self._last_path] = faults or Faults()
        for end in self.ends:
            end.session.path_opened(self._last_path, self.now)
            if use:
                end.path = self._last_path
        return self._last_path

    def close(self, path: int) -> None:
        """End a path with everything on its way."""
        del self.faults[path]
        for end in self.ends:
            end.session.path_closed(path, self.now)
            if end.path == path:
                end.path = max(self.faults, default=0)

    def send(self, end: End, label: str, payload: bytes, delivery: Delivery, priority: Priority) -> bool:
        channel = end.session.channel(label, delivery, priority)
        fits = channel.fits(payload)
        assert bool(channel.accept(payload)) is fits
        if fits:
            end.delivery[label] = delivery
            end.sent[label].append(payload)
        return fits

    def offer(self, end: End, label: str, payload: bytes, delivery: Delivery, priority: Priority) -> None:
        """Send a message, or let it wait for the word that there is room."""
        if end.waiting[label] or not self.send(end, label, payload, delivery, priority):
            end.waiting[label].append(payload)
            end.priority[label] = priority

    def read(self, end: End) -> None:
        for messages in end.untaken:
            end.session.taken(messages, self.now)
        end.untaken.clear()

    def drain(self, end: End, budget: int = 1 << 20) -> None:
        """Let an end have its events and send what it wants."""
        for event in end.session.events():
            match event:
                case MessagesReceived():
                    end.received[event.label] += event.payloads
                    end.untaken.append(event)
                case RemoteEnded():
                    assert not end.remote_ended
                    end.remote_ended = True
                case Ended():
                    end.ended = True
                case Acknowledged():
                    assert event.number > end.acknowledged.get(event.label, 0)
                    end.acknowledged[event.label] = event.number
                case CreditGrew(label):
                    waiting = end.waiting[label]
                    while waiting and self.send(
                        end, label, waiting[0], end.delivery[label], end.priority[label]
                    ):
                        waiting.popleft()
                case _:
                    assert_never(event)
        if end.reading:
            self.read(end)
        if end.path:
            for packet in end.session.packets_to_send(end.path, budget, self.now):
                self.packets += 1
                self.put(self.ends.index(end) ^ 1, end.path, packet.data)

    def put(self, to: int, path: int, packet: bytes) -> None:
        """Send a packet as the path's faults have it."""
        faults = self.faults[path]
        copies = 0 if self.random.random() < faults.drop else 1 + (self.random.random() < faults.repeat)
        for _ in range(copies):
            delay = faults.delay + self.random.uniform(0, faults.jitter)
            if self.random.random() < faults.late:
                delay += self.random.uniform(10, 300)
            self._count += 1
            heapq.heappush(self._on_the_way, (self.now + delay, self._count, to, path, packet))

    def run(self, seconds: float) -> None:
        """Let time pass; each end is drained after every input."""
        end_at = self.now + seconds
        for end in self.ends:
            self.drain(end)
        while True:
            due = [at for end in self.ends if (at := end.session.deadline()) is not None]
            if self._on_the_way:
                due.append(self._on_the_way[0][0])
            if not due or min(due) > end_at:
                break
            self.now = max(self.now, min(due))
            if self._on_the_way and self._on_the_way[0][0] <= self.now:
                _, _, to, path, packet = heapq.heappop(self._on_the_way)
                end = self.ends[to]
                end.session.receive(packet, path, self.now)
                self.drain(end)
            for end in self.ends:
                deadline = end.session.deadline()
                if deadline is not None and deadline <= self.now:
                    end.session.handle_timeout(self.now)
                    self.drain(end)
        self.now = end_at

    def lose_everything(self) -> None:
        """Drop what is on its way."""
        self._on_the_way.clear()

    def check(self) -> None:
        """Assert what holds at every moment."""
        for end, remote in (self.ends, self.ends[::-1]):
            for label, received in remote.received.items():
                sent = end.sent[label]
                match end.delivery[label]:
                    case Delivery.RELIABLE:
                        assert received == sent[: len(received)], "not a prefix"
                    case Delivery.UNORDERED | Delivery.BEST_EFFORT:
                        assert len(set(received)) == len(received), "repeated"
                        assert set(received) <= set(sent), "invented"
                    case Delivery.LATEST:
                        numbers = [sent.index(payload) for payload in received]
                        assert numbers == sorted(set(numbers)), "not ever newer"
            for messages in remote.untaken:
                assert messages.cost == sum(message_cost(len(payload)) for payload in messages.payloads)
            untaken = sum(messages.cost for messages in remote.untaken if messages.delivery in RELIABLE)
            assert untaken <= MAX_CHANNELS * WINDOW + message_cost(MAX_MESSAGE_BYTES)

    def check_complete(self) -> None:
        """Assert what holds once everything has settled."""
        self.check()
        for end, remote in (self.ends, self.ends[::-1]):
            assert not any(end.waiting.values()), "a sender waits for ever"
            assert end.session.unacknowledged == 0
            assert end.session.undelivered() == []
            assert end.session.in_flight_bytes == 0
            for label, sent in end.sent.items():
                if end.delivery[label] is not Delivery.BEST_EFFORT:
                    assert end.acknowledged[label] == len(sent)
                received = remote.received[label]
                match end.delivery[label]:
                    case Delivery.RELIABLE:
                        assert received == sent
                    case Delivery.UNORDERED:
                        assert sorted(received) == sorted(sent)
                    case Delivery.LATEST:
                        assert received[-1] == sent[-1]
                    case Delivery.BEST_EFFORT:
                        pass
