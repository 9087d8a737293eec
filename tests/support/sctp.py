"""Two SCTP associations, or more, and the paths between them, on virtual time: a heap, and nothing else."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf
from random import Random
from typing import NamedTuple

from rtcmesh.peer.sctp import Association, AssociationAnswered, Event, MessagesReceived, Role, SctpConfig
from rtcmesh.peer.sctp.chunks import CHUNK_HEADER, encode_sack
from rtcmesh.peer.sctp.data_chunks import DATA_HEADER
from rtcmesh.peer.sctp.packet import Envelope

MAX_IDLE_WAKES = 100
"""A machine that is due again and again at the same time never gets anywhere."""


@dataclass(frozen=True, kw_only=True)
class Impairments:
    """What one direction of a path does to packets."""

    delay: float = 0.01
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    """The share of packets that are late by up to `jitter`."""
    jitter: float = 0.02
    corruption: float = 0.0
    max_packet_bytes: float = inf


class Clock:
    """Virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def call_at(self, at: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (max(at, self.now), next(self._numbers), what))

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> bool:
        """Run until `done`, or until the time is over. Returns whether it is done."""
        while not done():
            if not self._due or self._due[0][0] > until:
                self.now = max(self.now, until)
                return done()
            self.now, _, what = heapq.heappop(self._due)
            what()
        return True


class Bottleneck:
    """A link of limited rate with a queue, that several flows may share."""

    def __init__(self, clock: Clock, bits_per_second: float, queue_bytes: float) -> None:
        self._clock = clock
        self._bytes_per_second = bits_per_second / 8
        self._queue_bytes = queue_bytes
        self._free_at = 0.0
        self.dropped = 0

    @property
    def backlog(self) -> float:
        """Seconds until a packet that comes now has left."""
        return max(0.0, self._free_at - self._clock.now)

    def admit(self, size: int) -> float | None:
        """Return when a packet has passed, or None when the queue is full."""
        if self.backlog * self._bytes_per_second + size > self._queue_bytes:
            self.dropped += 1
            return None
        self._free_at = max(self._free_at, self._clock.now) + size / self._bytes_per_second
        return self._free_at


class Pipe:
    """One direction of a path."""

    def __init__(
        self, clock: Clock, random: Random, impairments: Impairments, bottleneck: Bottleneck | None = None
    ) -> None:
        self.impairments = impairments
        self.carried = 0
        self._clock = clock
        self._random = random
        self._bottleneck = bottleneck

    def send(self, packet: bytes, deliver: Callable[[bytes], None]) -> None:
        random, how = self._random, self.impairments
        if len(packet) > how.max_packet_bytes:
            return
        leaves_at: float | None = self._clock.now
        if self._bottleneck is not None:
            leaves_at = self._bottleneck.admit(len(packet) + 77)
            if leaves_at is None:
                return
        assert leaves_at is not None
        for _ in range(2 if random.random() < how.duplication else 1):
            if random.random() < how.loss:
                continue
            at = leaves_at + how.delay
            if random.random() < how.reordering:
                at += random.random() * how.jitter
            if random.random() < how.corruption:
                packet = corrupted(packet, random)
            self.carried += 1
            self._clock.call_at(at, _Delivery(deliver, packet))


class _Delivery:
    __slots__ = ("_deliver", "_packet")

    def __init__(self, deliver: Callable[[bytes], None], packet: bytes) -> None:
        self._deliver, self._packet = deliver, packet

    def __call__(self) -> None:
        self._deliver(self._packet)


def corrupted(packet: bytes, random: Random) -> bytes:
    damaged = bytearray(packet)
    for _ in range(random.randint(1, 4)):
        damaged[random.randrange(len(damaged))] ^= random.randint(1, 255)
    return bytes(damaged)


class NearTheEnd(Random):
    """Draws first TSNs that wrap around soon."""

    def getrandbits(self, k: int, /) -> int:
        return (1 << k) - 1 - super().getrandbits(6)


class Heard(NamedTuple):
    """A message that has arrived."""

    channel_id: int
    data: bytes
    text: bool


def heard(event: Event) -> list[Heard]:
    """Return the messages of which an event tells, if it does."""
    if not isinstance(event, MessagesReceived):
        return []
    return [Heard(event.channel_id, data, event.text) for data in event.messages]


class End:
    """An association and its shell: one input, then every output, then the next input."""

    def __init__(self, clock: Clock, config: SctpConfig, seed: int, random: type[Random] = Random) -> None:
        self.association = Association(config, random(seed))
        self.events: list[Event] = []
        self.answered_at: list[float] = []
        """When the remote end answered the handshake, which is not among the events."""
        self.on_answer: Callable[[], None] = lambda: None
        self.on_event: Callable[[Event], None] = self._keep
        self.consumes = True
        self.pipe: Pipe | None = None
        self.remote: End | None = None
        self.sent: list[bytes] | None = None
        """Every packet, if somebody wants to see them."""
        self._clock = clock
        self._wake_at = inf
        self._woke_at = -inf
        self._idle_wakes = 0

    @property
    def messages(self) -> list[Heard]:
        return [message for event in self.events for message in heard(event)]

    def do(self, what: Callable[[Association, float], object]) -> None:
        """Give the association a command, and drain it."""
        what(self.association, self._clock.now)
        self.drain()

    def receive(self, packets: Sequence[bytes]) -> None:
        self.association.receive_packets(packets, self._clock.now)
        self.drain()

    def drain(self) -> None:
        now = self._clock.now
        for event in self.association.events():
            if self.consumes and isinstance(event, MessagesReceived):
                self.association.consumed(sum(map(len, event.messages)), len(event.messages))
            if isinstance(event, AssociationAnswered):
                self.answered_at.append(now)
                self.on_answer()
            else:
                self.on_event(event)
        for packet in self.association.packets_to_send(now):
            if self.sent is not None:
                self.sent.append(packet)
            if self.pipe is not None and self.remote is not None:
                self.pipe.send(packet, self.remote._receive_one)
        for event in self.association.events():
            self.on_event(event)
        self._schedule()

    def _keep(self, event: Event) -> None:
        self.events.append(event)

    def _receive_one(self, packet: bytes) -> None:
        self.receive([packet])

    def _schedule(self) -> None:
        due = self.association.deadline()
        if due is not None and due < self._wake_at:
            self._wake_at = max(due, self._clock.now)
            self._clock.call_at(self._wake_at, self._wake)

    def _wake(self) -> None:
        if self._clock.now < self._wake_at:
            return
        self._wake_at = inf
        due = self.association.deadline()
        if due is not None and due <= self._clock.now:
            self._idle_wakes = self._idle_wakes + 1 if self._woke_at == self._clock.now else 0
            self._woke_at = self._clock.now
            assert self._idle_wakes < MAX_IDLE_WAKES, f"due again and again at {due}"
            self.association.handle_timeout(self._clock.now)
            self.drain()
        else:
            self._schedule()


class Network:
    """Two ends and the path between them."""

    def __init__(
        self,
        seed: int = 0,
        there: Impairments | None = None,
        back: Impairments | None = None,
        *,
        clock: Clock | None = None,
        bottleneck: Bottleneck | None = None,
        client: SctpConfig | None = None,
        server: SctpConfig | None = None,
        random: type[Random] = Random,
    ) -> None:
        self.clock = clock or Clock()
        seeds = Random(seed)
        self.client = End(self.clock, client or SctpConfig(role=Role.CLIENT), seeds.getrandbits(32), random)
        self.server = End(self.clock, server or SctpConfig(role=Role.SERVER), seeds.getrandbits(32), random)
        there = there or Impairments()
        self.client.pipe = Pipe(self.clock, Random(seeds.getrandbits(32)), there, bottleneck)
        self.server.pipe = Pipe(self.clock, Random(seeds.getrandbits(32)), back or there)
        self.client.remote, self.server.remote = self.server, self.client
        for end in (self.client, self.server):
            end.association.remote_max_message_bytes = 256 * 1024

    def heal(self) -> None:
        """Let the path carry everything from now on."""
        for end in (self.client, self.server):
            assert end.pipe is not None
            end.pipe.impairments = Impairments(delay=end.pipe.impairments.delay)

    def connect(self, *channels: int) -> None:
        """Establish the association with these negotiated channels, and forget the events of that."""
        for end in (self.client, self.server):
            for channel in channels:
                end.association.open_channel(0, negotiated_id=channel)
        self.client.do(lambda association, now: association.connect(now))
        assert self.clock.run(self.clock.now + 60, lambda: bool(self.client.events and self.server.events))
        self.client.events.clear()
        self.server.events.clear()

    def run(self, seconds: float, done: Callable[[], bool] = lambda: False) -> bool:
        return self.clock.run(self.clock.now + seconds, done)


def seal(chunks: bytes, tag: int) -> bytes:
    """Return the packet that carries these chunks to an end with this tag."""
    return Envelope(5000, 5000, tag).seal(chunks)


class Puppet:
    """A remote end that says what the test wants, to an established end that takes it for the other one."""

    def __init__(self, network: Network, end: End) -> None:
        self.network = network
        self.end = end
        established = end.association._established
        assert established is not None
        self.tag = established.incoming.tag
        self.next_tsn = established.inbound.receipts.cumulative + 1
        self.first_tsn = established.sender.recovery.next_tsn
        """The TSN that the end sends next."""
        self.heard: list[bytes] = []
        other = network.server if end is network.client else network.client
        other.receive = self._listen  # type: ignore[method-assign]
        other.pipe = None

    def say(self, *chunks: bytes) -> None:
        self.end.receive([seal(b"".join(chunks), self.tag)])

    def data(
        self, payload: bytes, *, flags: int = 3, stream: int = 0, number: int = 0, ppid: int = 53
    ) -> bytes:
        """Return the next DATA chunk."""
        header = DATA_HEADER.pack(
            0, flags, 16 + len(payload), self.next_tsn & 0xFFFFFFFF, stream, number, ppid
        )
        self.next_tsn += 1
        return header + payload + bytes(-len(payload) % 4)

    def sack(self, count: int, *blocks: int, window: int = 1 << 20) -> None:
        """Acknowledge the first `count` TSNs, and blocks relative to them."""
        ranges = [
            [self.first_tsn + count - 1 + first, self.first_tsn + count - 1 + last]
            for first, last in zip(blocks[::2], blocks[1::2], strict=True)
        ]
        self.say(encode_sack(self.first_tsn + count - 1, window, ranges, []))

    def chunks(self) -> list[tuple[int, bytes]]:
        """Return type and value of the chunks that were heard since the last time."""
        chunks: list[tuple[int, bytes]] = []
        packets, self.heard = self.heard, []
        for packet in packets:
            offset = 12
            while offset < len(packet):
                kind, _, length = CHUNK_HEADER.unpack_from(packet, offset)
                chunks.append((kind, packet[offset + 4 : offset + length]))
                offset += (length + 3) & ~3
        return chunks

    def tsns(self) -> list[int]:
        """Return the TSNs of the data that was heard since the last time, counted from the first."""
        return [
            (int.from_bytes(value[:4], "big") - self.first_tsn) & 0xFFFFFFFF
            for kind, value in self.chunks()
            if kind == 0
        ]

    def _listen(self, packets: Sequence[bytes]) -> None:
        self.heard += packets


class Bulk:
    """Messages from client to server, as many as it takes."""

    def __init__(self, network: Network, message_bytes: int = 16 * 1024) -> None:
        self.network = network
        self.received = 0
        """Bytes."""
        self._message = bytes(message_bytes)
        network.connect(0)
        network.server.on_event = self._count
        network.client.association.set_water_marks(0, low_bytes=100_000, high_bytes=200_000)
        network.client.on_event = lambda _event: self._fill()
        self._fill()
        network.client.drain()

    def _count(self, event: Event) -> None:
        self.received += sum(len(message.data) for message in heard(event))

    def _fill(self) -> None:
        while self.network.client.association.send(0, self._message, self.network.clock.now):
            pass
