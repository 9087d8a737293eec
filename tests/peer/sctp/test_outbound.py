"""What waits to be sent: no more messages are begun than the remote end can hold, and none waits for ever."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.peer.sctp import Role, SctpConfig
from rtcmesh.peer.sctp.extensions import Extensions
from rtcmesh.peer.sctp.out_stream import Delivery, OutStream
from rtcmesh.peer.sctp.outbound import Outbound
from rtcmesh.peer.sctp.sent import Limit

RELIABLE = Delivery(0, 53, None)
STREAMS = 5

messages = st.tuples(
    st.integers(0, STREAMS - 1),
    st.sampled_from([1, 64, 900, 1156, 1157, 3000, 20_000]),
    st.sampled_from([None, None, 0.0, 5.0, inf]),
)
"""Stream, size, and when it is too late for it, if ever."""
steps = st.lists(
    st.one_of(st.lists(messages, max_size=8), st.integers(1, 20), st.sampled_from(["drop", "later"])),
    max_size=30,
)
"""Messages to add, how many times to send, a stream to forget, or time to pass."""


def outbound_towards(window: int, *, interleaved: bool) -> Outbound:
    outbound = Outbound()
    extensions = Extensions.PARTIAL_RELIABILITY | (Extensions.INTERLEAVING if interleaved else Extensions(0))
    outbound.agreed(SctpConfig(role=Role.CLIENT), extensions, window)
    assert outbound.interleaved == interleaved
    return outbound


@settings(deadline=None, max_examples=300)
@given(steps, st.booleans(), st.sampled_from([100, 1176, 14_988]), st.sampled_from([1500, 8000, 60_000]))
def test_no_more_is_begun_than_the_remote_end_can_hold_and_nothing_waits_for_ever(
    steps: list[list[tuple[int, int, float | None]] | int | str], interleaved: bool, room: int, window: int
) -> None:
    outbound = outbound_towards(window, interleaved=interleaved)
    streams = [OutStream(number, priority=1 << number) for number in range(STREAMS)]
    tsn, now, added = 1, 0.0, 0

    def check() -> None:
        begun = [len(stream.queue[0][1]) for stream in streams if stream.offset]
        granted = [stream.granted for stream in streams if stream.granted]
        assert sum(begun) <= sum(granted) == outbound._beginnings.granted or not interleaved
        assert not interleaved or sum(granted) <= max(window // 2, *granted, 0) + window // 4
        assert outbound.buffered == sum(stream.buffered for stream in streams)
        assert bool(outbound.active) == any(stream.queue for stream in streams)
        for stream in streams:
            alike = [(delivery, len(data)) for delivery, data in stream.queue]
            assert stream.alike == next(
                (at for at, which in enumerate(alike) if which != alike[0]), len(alike)
            )

    def send(times: int) -> None:
        nonlocal tsn
        for _ in range(times):
            if outbound.active:
                for packet in outbound.next_packets(tsn, room, times, now):
                    assert packet.first == tsn
                    assert packet.size <= room
                    tsn = packet.following
                check()

    for step in steps:
        match step:
            case list():
                for number, size, expires_at in step:
                    limit = None if expires_at is None else Limit(inf, expires_at)
                    outbound.add(
                        streams[number], RELIABLE if limit is None else Delivery(0, 53, limit), bytes(size)
                    )
                    added += size
            case int():
                send(step)
            case "drop":
                outbound.drop(streams[0])
            case _:
                now += 3.0
        check()
    send(4 * added // (room - 20) + 500)
    assert not outbound.active
    assert not any(stream.queue for stream in streams)


@pytest.mark.parametrize("channels", [20, 2000])
def test_messages_that_may_not_begin_cost_the_others_nothing(channels: int) -> None:
    outbound = outbound_towards(4 << 20, interleaved=True)
    streams = [OutStream(number) for number in range(channels)]
    for stream in streams:
        outbound.add(stream, RELIABLE, bytes(256 * 1024))
    tsn = 1
    for _ in range(1000):
        (packet, *_) = outbound.next_packets(tsn, 1176, 1, 0.0)
        tsn = packet.following
    assert len(outbound.active) == 8  # half of the window has room for so many
    for size in (10, 3000):
        small = OutStream(channels)
        outbound.add(small, RELIABLE, bytes(size))
        turns = 0
        while small.queue:
            (packet, *_) = outbound.next_packets(tsn, 1176, 1, 0.0)
            tsn = packet.following
            turns += 1
        assert turns <= 5 * 8


def served(
    sizes: list[int], priorities: list[int], *, window: int, packet: int = 1176, total: int = 20_000_000
) -> list[int]:
    """Return how many bytes streams have had that always have such messages to send."""
    outbound = outbound_towards(window, interleaved=True)
    streams = [OutStream(number, priority) for number, priority in enumerate(priorities)]
    tsn = 1
    while sum(stream.taken_bytes for stream in streams) < total:
        for stream, size in zip(streams, sizes, strict=True):
            while len(stream.queue) < 2:
                outbound.add(stream, RELIABLE, bytes(size))
        packets = outbound.next_packets(tsn, packet, 64, 0.0)
        assert packets, "something could be sent, and was not"
        tsn = packets[-1].following
    return [stream.taken_bytes for stream in streams]


@pytest.mark.parametrize("packet", [1176, 14_988])
@pytest.mark.parametrize("window", [512 * 1024, 4 << 20])
def test_streams_share_by_their_priority_though_not_all_may_begin_at_a_time(window: int, packet: int) -> None:
    shares = served([256 * 1024] * 12, [1024, 512, 256] * 4, window=window, packet=packet, total=60_000_000)
    for weight, start in ((4 / 7, 0), (2 / 7, 1), (1 / 7, 2)):
        assert sum(shares[start::3]) / sum(shares) == pytest.approx(weight, rel=0.4)


@pytest.mark.parametrize("small", [2000, 15_000, 40_000])
def test_a_large_message_and_smaller_ones_do_not_starve_one_another(small: int) -> None:
    shares = served([small] * 4 + [256 * 1024], [256] * 5, window=512 * 1024)
    assert min(shares) > 0.5 * max(shares)


def test_a_stream_that_has_sent_many_small_messages_may_begin_a_large_one_as_soon_as_others() -> None:
    outbound = outbound_towards(512 * 1024, interleaved=True)
    streams = [OutStream(number) for number in range(3)]
    tsn = 1
    for _ in range(2000):  # nobody competes
        outbound.add(streams[0], RELIABLE, bytes(3000))
        while outbound.active:
            tsn = outbound.next_packets(tsn, 1176, 1, 0.0)[-1].following
    before = streams[0].taken_bytes
    for stream in streams:
        for _ in range(20):
            outbound.add(stream, RELIABLE, bytes(200_000))
    while sum(stream.taken_bytes for stream in streams) < before + 5_000_000:
        tsn = outbound.next_packets(tsn, 1176, 1, 0.0)[-1].following
    shares = [streams[0].taken_bytes - before, streams[1].taken_bytes, streams[2].taken_bytes]
    assert max(shares) - min(shares) <= 2 * 200_000


@pytest.mark.parametrize("priority", [1, 128])
def test_a_low_priority_and_large_packets_do_not_keep_packets_empty(priority: int) -> None:
    shares = served([256 * 1024] * 3, [priority] * 3, window=512 * 1024, packet=14_988)
    assert max(shares) - min(shares) <= 2 * 256 * 1024


def test_nobody_is_held_by_a_message_that_came_too_late_to_begin() -> None:
    outbound = outbound_towards(8000, interleaved=True)
    streams = [OutStream(number) for number in range(3)]
    outbound.add(streams[0], RELIABLE, bytes(4000))
    outbound.add(streams[1], Delivery(0, 53, Limit(inf, 1.0)), bytes(3000))
    outbound.add(streams[2], RELIABLE, bytes(3000))
    tsn = 1
    for now in (0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0, 2.0):
        if outbound.active:
            for packet in outbound.next_packets(tsn, 1176, 1, now):
                tsn = packet.following
    assert outbound.expired == 1
    assert not outbound.active
    assert not streams[2].queue
