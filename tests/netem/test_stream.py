"""The two halves of a virtual stream and the machine that joins them, without a network."""

import heapq
import itertools
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem.segment import Segment, SegmentKind
from rtcmesh.netem.virtual.inflow import RECEIVE_WINDOW_BYTES, Inflow
from rtcmesh.netem.virtual.outflow import GIVE_UP_TIMEOUT
from rtcmesh.netem.virtual.stream import ACKNOWLEDGEMENT_DELAY, LINGER_TIME, Stream, StreamState

DELAY = 0.05


@dataclass
class Ends:
    """Two streams and a list of segments for a network."""

    random: Random = field(default_factory=lambda: Random(0))
    loss: float = 0.0
    now: float = 0.0
    is_partitioned: bool = False
    flight: list[tuple[float, int, int, Segment]] = field(
        default_factory=list[tuple[float, int, int, Segment]]
    )
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.streams = [Stream(active=True, now=0), Stream(active=False, now=0)]
        self.received = [bytearray(), bytearray()]
        self.is_reading = [True, True]

    @property
    def client(self) -> Stream:
        return self.streams[0]

    @property
    def server(self) -> Stream:
        return self.streams[1]

    def exchange(self) -> None:
        """Put what the streams want to send into flight, and read what they have."""
        for end, stream in enumerate(self.streams):
            if self.is_reading[end]:
                self.received[end] += stream.read()
            for segment in stream.segments_to_send():
                if not self.is_partitioned and self.random.random() >= self.loss:
                    due = self.now + DELAY * self.random.choice([1, 1, 1, 2])
                    heapq.heappush(self.flight, (due, next(self.numbers), 1 - end, segment))

    def run(self, until: float = 10_000) -> None:
        """Let time pass until nothing is left to happen."""
        self.exchange()
        while (due := self._next_due()) is not None and due <= until:
            self.now = due
            while self.flight and self.flight[0][0] <= self.now:
                _, _, end, segment = heapq.heappop(self.flight)
                self.streams[end].receive(segment, self.now)
            for stream in self.streams:
                deadline = stream.deadline()
                if deadline is not None and deadline <= self.now:
                    stream.handle_timeout(self.now)
            self.exchange()

    def _next_due(self) -> float | None:
        dues = [stream.deadline() for stream in self.streams] + [self.flight[0][0] if self.flight else None]
        return min((due for due in dues if due is not None), default=None)


def connected() -> Ends:
    ends = Ends()
    ends.run(until=1)
    assert ends.client.state is ends.server.state is StreamState.OPEN
    return ends


chunks = st.lists(st.binary(max_size=3000) | st.builds(bytes, st.integers(0, 100_000)), max_size=8)


@given(chunks, chunks, st.sampled_from([0.0, 0.05, 0.2]), st.integers(0, 1000))
def test_bytes_arrive_whole_and_in_order_over_any_network(
    upward: list[bytes], downward: list[bytes], loss: float, seed: int
) -> None:
    ends = Ends(Random(seed), loss)
    for up, down in itertools.zip_longest(upward, downward, fillvalue=b""):
        ends.client.write(up, ends.now)
        ends.server.write(down, ends.now)
        ends.run(until=ends.now + ends.random.choice([0, 0.1, 3]))
    for stream in ends.streams:
        stream.finish(ends.now)
    ends.run(until=ends.now + 5000)
    assert ends.received[0] == b"".join(downward)
    assert ends.received[1] == b"".join(upward)
    for stream in ends.streams:
        assert stream.error is None
        assert stream.inflow.ended
        assert stream.outflow.is_end_acknowledged
        stream.close(ends.now)
    ends.run()
    assert ends.client.state is ends.server.state is StreamState.DEAD
    assert ends.client.error is ends.server.error is None


@given(
    st.binary(min_size=1, max_size=400),
    st.lists(st.tuples(st.integers(0, 399), st.integers(1, 100))),
    st.randoms(),
)
def test_pieces_may_overlap_repeat_and_come_in_any_order(
    data: bytes, cuts: list[tuple[int, int]], random: Random
) -> None:
    pieces = [(start, data[start : start + length]) for start, length in cuts if start < len(data)]
    pieces += [(start, data[start : start + 50]) for start in range(0, len(data), 50)]
    random.shuffle(pieces)
    inflow = Inflow()
    for start, piece in pieces:
        inflow.receive(start, piece, fin=start + len(piece) == len(data))
    assert inflow.read() == data
    assert inflow.ended


def test_what_is_not_read_is_bounded_and_comes_once_there_is_room() -> None:
    ends = connected()
    ends.is_reading[1] = False
    data = bytes(range(256)) * 4096
    ends.client.write(data, ends.now)
    ends.run(until=ends.now + 300)
    assert ends.server.inflow.readable_bytes == RECEIVE_WINDOW_BYTES
    assert ends.client.outflow.unsent_bytes == len(data) - RECEIVE_WINDOW_BYTES
    assert ends.client.error is None
    ends.is_reading[1] = True
    healed_at = ends.now
    ends.exchange()
    ends.run(until=healed_at + 5)
    assert ends.received[1] == data


def test_a_lost_window_update_is_found_by_probing() -> None:
    ends = connected()
    ends.is_reading[1] = False
    data = bytes(2 * RECEIVE_WINDOW_BYTES)
    ends.client.write(data, ends.now)
    ends.run(until=ends.now + 2)
    ends.is_partitioned = ends.is_reading[1] = True
    ends.exchange()
    ends.is_partitioned = False
    ends.run(until=ends.now + 30)
    assert ends.received[1] == data


def test_a_lost_segment_is_repeated_within_a_round_trip_when_others_follow() -> None:
    ends = connected()
    ends.is_partitioned = True
    ends.client.write(b"x" * 100, ends.now)
    ends.exchange()
    ends.is_partitioned = False
    started = ends.now
    for _ in range(5):
        ends.client.write(b"y" * 100, ends.now)
    ends.run(until=started + 6 * DELAY)
    assert len(ends.received[1]) == 600


def test_a_connection_survives_a_short_partition_and_not_a_long_one() -> None:
    ends = connected()
    ends.is_partitioned = True
    ends.client.write(b"hello", ends.now)
    ends.run(until=ends.now + GIVE_UP_TIMEOUT / 2)
    ends.is_partitioned = False
    ends.run(until=ends.now + 15)
    assert ends.received[1] == b"hello"

    ends.is_partitioned = True
    ends.client.write(b"lost", ends.now)
    ends.run()
    assert ends.client.state is StreamState.DEAD
    assert isinstance(ends.client.error, TimeoutError)


def test_connecting_to_nobody_times_out() -> None:
    ends = Ends(is_partitioned=True)
    ends.run()
    assert isinstance(ends.client.error, TimeoutError)
    assert GIVE_UP_TIMEOUT <= ends.now < 2 * GIVE_UP_TIMEOUT


def test_a_reset_means_refused_or_reset() -> None:
    reset = Segment(SegmentKind.RESET)
    refused = Stream(active=True, now=0)
    refused.receive(reset, 0.1)
    assert isinstance(refused.error, ConnectionRefusedError)
    ends = connected()
    ends.client.abort()
    ends.run()
    assert ends.client.error is None
    assert isinstance(ends.server.error, ConnectionResetError)


def test_bytes_for_a_program_that_closed_bring_a_reset() -> None:
    ends = connected()
    ends.client.close(ends.now)
    ends.run(until=ends.now + 1)
    ends.server.write(b"anybody there?", ends.now)
    ends.run()
    assert isinstance(ends.server.error, ConnectionResetError)


def test_a_dead_stream_ignores_everything() -> None:
    ends = connected()
    ends.client.abort()
    ends.client.segments_to_send()
    ends.client.write(b"x", ends.now)
    ends.client.close(ends.now)
    ends.client.abort()
    ends.client.receive(Segment(SegmentKind.DATA, data=b"x"), ends.now)
    assert ends.client.segments_to_send() == []
    assert ends.client.deadline() is None


def test_a_closed_end_still_acknowledges_what_is_repeated() -> None:
    ends = connected()
    for stream in ends.streams:
        stream.close(ends.now)
    ends.run(until=ends.now + 1)
    ends.client.receive(Segment(SegmentKind.DATA, sequence=0, fin=True), ends.now)
    assert [segment.acknowledgement for segment in ends.client.segments_to_send()] == [1]
    assert ends.client.deadline() == pytest.approx(ends.now + LINGER_TIME, abs=1)


def arrive(ends: Ends, *pieces: tuple[int, bytes]) -> list[Segment]:
    """Let the server have these pieces now, and return what it says at once."""
    for sequence, data in pieces:
        ends.server.receive(Segment(SegmentKind.DATA, sequence=sequence, data=data), ends.now)
    return ends.server.segments_to_send()


def test_an_acknowledgement_waits_for_data_to_travel_with() -> None:
    ends = connected()
    assert arrive(ends, (0, b"question")) == []
    ends.client.outflow.acknowledge(0, 1000, ends.now, is_bare=True)
    ends.server.outflow.acknowledge(0, 1000, ends.now, is_bare=True)
    ends.server.write(b"answer", ends.now)
    (segment,) = ends.server.segments_to_send()
    assert (segment.data, segment.acknowledgement) == (b"answer", 8)
    deadline = ends.server.deadline()
    assert deadline is not None
    assert deadline > ends.now + ACKNOWLEDGEMENT_DELAY


def test_an_acknowledgement_waits_no_longer_than_it_may() -> None:
    ends = connected()
    assert arrive(ends, (0, b"question")) == []
    assert ends.server.deadline() == ends.now + ACKNOWLEDGEMENT_DELAY
    ends.server.handle_timeout(ends.now + ACKNOWLEDGEMENT_DELAY)
    (segment,) = ends.server.segments_to_send()
    assert segment.acknowledgement == 8
    assert ends.server.deadline() is None


def test_every_second_segment_is_acknowledged_at_once() -> None:
    ends = connected()
    (segment,) = arrive(ends, (0, b"one"), (3, b"two"))
    assert segment.acknowledgement == 6


def test_what_is_out_of_order_or_fills_a_gap_or_comes_again_is_acknowledged_at_once() -> None:
    ends = connected()
    assert [s.acknowledgement for s in arrive(ends, (3, b"two"))] == [0]
    assert [s.acknowledgement for s in arrive(ends, (0, b"one"))] == [6]
    assert [s.acknowledgement for s in arrive(ends, (0, b"one"))] == [6]
