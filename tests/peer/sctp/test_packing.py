"""From messages to packets and back: the ways that are made for many at a time do what the one for each does."""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcmesh.peer.sctp import Role, SctpConfig
from rtcmesh.peer.sctp.chunks import ChunkType
from rtcmesh.peer.sctp.cubic import Cubic
from rtcmesh.peer.sctp.data_chunks import DATA_HEADER, I_DATA_HEADER, data_header_bytes
from rtcmesh.peer.sctp.errors import ProtocolError
from rtcmesh.peer.sctp.inbound import Inbound
from rtcmesh.peer.sctp.out_stream import Delivery, OutStream
from rtcmesh.peer.sctp.outbound import Outbound
from rtcmesh.peer.sctp.packet import HEADER_BYTES, Envelope
from rtcmesh.peer.sctp.reassembly import CHUNK_OVERHEAD_BYTES
from rtcmesh.peer.sctp.recovery import MAX_PACKET_TSNS
from rtcmesh.peer.sctp.sender import Sender
from rtcmesh.peer.sctp.sent import Limit, Sent
from rtcmesh.peer.sctp.serial import MASK_32

PPID = 53
ENVELOPE = Envelope(5000, 5000, 7, zero_checksum=True)

ORDERED, UNORDERED = Delivery(0, PPID, None), Delivery(4, PPID, None)

sizes = st.one_of(st.sampled_from([1, 3, 64, 64, 64, 100]), st.integers(1, 5000))
runs = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([ORDERED, ORDERED, UNORDERED]), sizes, st.integers(1, 40)),
    min_size=1,
    max_size=8,
)
"""Stream, delivery, size, and how many messages of that sort follow one another."""
near_the_end = st.one_of(st.integers(0, 1000), st.integers(MASK_32 - 300, MASK_32))
at_the_end = st.sampled_from([0, 0xFFFF, 0xFFFE, MASK_32, MASK_32 - 1, MASK_32 - 3])
rooms = st.sampled_from([100, 300, 1176, 14_988])


def waiting(runs: list[tuple[int, Delivery, int, int]], *, interleaved: bool, number: int) -> Outbound:
    """Return what waits, each message unlike the others where its size allows it."""
    outbound = Outbound()
    outbound.interleaved = interleaved
    streams: dict[int, OutStream] = {}
    serial = 0
    for stream_id, delivery, size, count in runs:
        if stream_id not in streams:
            streams[stream_id] = OutStream(stream_id)
            streams[stream_id].mids = [number, number]
        for _ in range(count):
            serial += 1
            data = (serial.to_bytes(4, "big") * (size // 4 + 1))[:size]
            outbound.add(streams[stream_id], delivery, data)
    return outbound


def packets_of(outbound: Outbound, tsn: int, room: int, most: int) -> list[Sent]:
    """Return everything that waits, in packets."""
    packets: list[Sent] = []
    while outbound.active:
        made = outbound.next_packets(tsn, room, most, 0.0)
        assert 1 <= len(made) <= most
        for packet in made:
            assert packet.first == tsn
            assert packet.size == len(packet.body) <= room
            tsn = packet.following
        packets += made
    assert outbound.buffered == 0
    return packets


def inbound_for(tsn: int, number: int, *, interleaved: bool) -> Inbound:
    """Return the receiving half that expects these numbers next."""
    inbound = Inbound(
        tsn, SctpConfig(role=Role.CLIENT, receive_window_bytes=1 << 24), interleaved=interleaved
    )
    for stream_id in range(3):
        inbound.reassembly.stream(stream_id).expected = number
    return inbound


def take(inbound: Inbound, packets: list[bytes], *, runs: bool) -> list[tuple[int, int, bytes]]:
    """Receive packets, by runs where they are foreseen, or each by itself and each of its chunks."""
    index = 0
    while index < len(packets):
        count = inbound.receive_run(packets, index, ENVELOPE.unchecked) if runs else 0
        if not count:
            assert inbound.receive_data(packets[index], HEADER_BYTES, len(packets[index])) == len(
                packets[index]
            )
            count = 1
        index += count
    arrived, inbound.arrived = inbound.arrived, []
    return [(stream_id, ppid, data) for stream_id, ppid, messages in arrived for data in messages]


def take_until_it_breaks(
    inbound: Inbound, packets: list[bytes], *, runs: bool
) -> tuple[list[tuple[int, int, bytes]], str]:
    """Receive packets until one is against the protocol; return what has arrived, and what was wrong."""
    try:
        return take(inbound, packets, runs=runs), ""
    except ProtocolError as error:
        return take(inbound, [], runs=runs), str(error)


def one_by_one(packet: bytes) -> list[bytes]:
    """Return packets of one chunk each."""
    packets: list[bytes] = []
    offset = HEADER_BYTES
    while offset < len(packet):
        length = int.from_bytes(packet[offset + 2 : offset + 4], "big")
        following = (offset + length + 3) & ~3
        packets.append(ENVELOPE.seal(packet[offset:following]))
        offset = following
    return packets


@settings(deadline=None)
@given(runs, st.booleans(), st.tuples(near_the_end, near_the_end), rooms, st.integers(1, 50))
def test_what_is_sent_many_at_a_time_arrives_as_if_it_were_not(
    runs: list[tuple[int, Delivery, int, int]],
    interleaved: bool,
    numbers: tuple[int, int],
    room: int,
    most: int,
) -> None:
    tsn, number = numbers
    sealed = [
        ENVELOPE.seal(packet.body)
        for packet in packets_of(waiting(runs, interleaved=interleaved, number=number), tsn, room, most)
    ]
    together = inbound_for(tsn, number, interleaved=interleaved)
    alone = inbound_for(tsn, number, interleaved=interleaved)
    messages = take(together, sealed, runs=True)
    assert messages == take(alone, [chunk for packet in sealed for chunk in one_by_one(packet)], runs=False)
    assert together.receipts.cumulative == alone.receipts.cumulative
    assert not together.receipts.ranges
    assert together.reassembly.held_bytes == alone.reassembly.held_bytes == 0

    said: dict[int, list[bytes]] = defaultdict(list)
    for stream_id, data in (
        (stream.id, data)
        for stream in waiting(runs, interleaved=interleaved, number=number).active
        for _, data in stream.queue
    ):
        said[stream_id].append(data)
    heard: dict[int, list[bytes]] = defaultdict(list)
    for stream_id, ppid, data in messages:
        assert ppid == PPID
        heard[stream_id].append(data)
    assert heard == said  # nothing overtakes anything on a path that keeps the order


@settings(deadline=None)
@given(runs, st.booleans(), near_the_end, st.sampled_from([100, 1176]), st.randoms(use_true_random=False))
def test_what_arrives_anyhow_is_the_same_by_runs_and_one_by_one(
    runs: list[tuple[int, Delivery, int, int]],
    interleaved: bool,
    tsn: int,
    room: int,
    random: Random,
) -> None:
    packets = [
        ENVELOPE.seal(packet.body)
        for packet in packets_of(waiting(runs, interleaved=interleaved, number=0), tsn, room, 50)
    ]
    # Most stay in order: runs are what is tested.
    for _ in range(random.randrange(4)):
        place = random.randrange(len(packets))
        match random.randrange(3):
            case 0:
                packets.append(packets.pop(place))
            case 1:
                packets.insert(place, packets[place])
            case _:
                del packets[place : place + random.randrange(3)]
        if not packets:
            return
    by_runs = inbound_for(tsn, 0, interleaved=interleaved)
    each = inbound_for(tsn, 0, interleaved=interleaved)
    while packets:
        batch, packets = packets[:20], packets[20:]
        assert take(by_runs, batch, runs=True) == take(each, batch, runs=False)
        assert by_runs.receipts.cumulative == each.receipts.cumulative
        assert by_runs.receipts.ranges == each.receipts.ranges
        assert by_runs.receipts.repeated == each.receipts.repeated
        assert by_runs.reassembly.held_bytes == each.reassembly.held_bytes


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 1, 1, 256]), st.sampled_from([8, 9, 64]), st.integers(1, 5)),
        min_size=1,
        max_size=30,
    ),
    st.booleans(),
    st.tuples(at_the_end, at_the_end, at_the_end),
)
def test_chunks_that_follow_one_another_are_the_same_together_and_alone(
    sorts: list[tuple[int, int, int]],
    interleaved: bool,
    numbers: tuple[int, int, int],
) -> None:
    tsn = numbers[0]
    following = {0: numbers[1], 1: numbers[2], 256: numbers[1] + 1}
    header, mask = (I_DATA_HEADER, MASK_32) if interleaved else (DATA_HEADER, 0xFFFF)
    chunks: list[bytes] = []
    for stream_id, size, count in sorts:
        for _ in range(count):
            order = (0, following[stream_id] & mask) if interleaved else (following[stream_id] & mask,)
            kind = ChunkType.I_DATA if interleaved else ChunkType.DATA
            head = header.pack(kind, 3, header.size + size, tsn & MASK_32, stream_id, *order, PPID)
            chunks.append(head + bytes([len(chunks) & 0xFF]) * size + bytes(-size % 4))
            following[stream_id] += 1
            tsn += 1
    ways: list[tuple[list[tuple[int, int, bytes]], int]] = []
    for packets in ([ENVELOPE.seal(b"".join(chunks))], [ENVELOPE.seal(chunk) for chunk in chunks]):
        inbound = Inbound(
            numbers[0], SctpConfig(role=Role.CLIENT, receive_window_bytes=1 << 24), interleaved=interleaved
        )
        for stream_id, number in ((0, numbers[1]), (1, numbers[2]), (256, numbers[1] + 1)):
            inbound.reassembly.stream(stream_id).expected = number
        ways.append((take(inbound, packets, runs=False), inbound.receipts.cumulative))
    assert ways[0] == ways[1]
    assert len(ways[0][0]) == len(chunks)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([1, 8, 64, 65]),
    st.booleans(),
    st.tuples(at_the_end, at_the_end),
    st.lists(
        st.tuples(
            st.integers(0, 10_000), st.sampled_from([1, 4, 7, 8, 9, 11, 15, 16, 19]), st.integers(1, 255)
        )
    ),
)
def test_a_chunk_that_is_not_as_foreseen_is_the_same_in_a_run_and_alone(
    size: int, interleaved: bool, numbers: tuple[int, int], changes: list[tuple[int, int, int]]
) -> None:
    tsn, number = numbers
    runs = [(0, ORDERED, size, 120)]
    sealed = [
        ENVELOPE.seal(packet.body)
        for packet in packets_of(waiting(runs, interleaved=interleaved, number=number), tsn, 300, 50)
    ]
    stride = (size + data_header_bytes(interleaved=interleaved) + 3) & ~3
    for chunk, byte, change in changes:
        index = chunk % len(sealed)
        offset = HEADER_BYTES + chunk % ((len(sealed[index]) - HEADER_BYTES) // stride) * stride + byte
        if offset < len(sealed[index]):
            spoilt = bytearray(sealed[index])
            spoilt[offset] ^= change
            sealed[index] = bytes(spoilt)
    by_runs = inbound_for(tsn, number, interleaved=interleaved)
    alone = inbound_for(tsn, number, interleaved=interleaved)
    assert take_until_it_breaks(by_runs, sealed, runs=True) == take_until_it_breaks(
        alone, [chunk for packet in sealed for chunk in one_by_one(packet)], runs=False
    )
    assert by_runs.receipts.cumulative == alone.receipts.cumulative
    assert by_runs.receipts.ranges == alone.receipts.ranges
    assert by_runs.reassembly.held_bytes == alone.reassembly.held_bytes


@pytest.mark.parametrize("interleaved", [True, False])
def test_what_the_window_has_no_room_for_is_dropped_whatever_it_is_like(interleaved: bool) -> None:
    window = 32_768
    config = SctpConfig(role=Role.CLIENT, receive_window_bytes=window, max_message_bytes=window // 2)
    inbound = Inbound(1, config, interleaved=interleaved)
    (packet,) = packets_of(waiting([(0, ORDERED, 64, 5)], interleaved=interleaved, number=0), 1, 1176, 1)
    inbound.delivered(2 * window + 1000, 0)
    assert take(inbound, [ENVELOPE.seal(packet.body * 3)], runs=True) == []
    assert inbound.dropped == 15
    assert inbound.receipts.cumulative == 0


@pytest.mark.parametrize("size", [376, 400, 420])
def test_alike_messages_leave_no_quarter_of_a_packet_empty(size: int) -> None:
    packets = packets_of(waiting([(0, ORDERED, size, 300)], interleaved=True, number=0), 1, 1176, 50)
    assert len(packets) <= 300 * (size + 20) / 1176 * 1.2 + 1


def test_bulk_data_fills_packets_many_at_a_time() -> None:
    outbound = waiting([(0, ORDERED, 16_384, 1)], interleaved=True, number=0)
    assert len(outbound.next_packets(1, 1176, 50, 0.0)) == 1  # the first fragment says that it is the first
    assert [packet.size for packet in outbound.next_packets(2, 1176, 50, 0.0)] == [1176] * 13
    assert len(outbound.next_packets(15, 1176, 50, 0.0)) == 1
    assert not outbound.active


def test_alike_messages_fill_packets_many_at_a_time() -> None:
    outbound = waiting([(0, ORDERED, 64, 100)], interleaved=True, number=0)
    first = outbound.next_packets(1, 1176, 50, 0.0)
    assert [packet.following - packet.first for packet in first] == [14] * 7
    (last,) = outbound.next_packets(99, 1176, 50, 0.0)
    assert last.following - last.first == 2


def test_streams_take_turns_though_packets_are_made_many_at_a_time() -> None:
    outbound = waiting([(0, ORDERED, 64, 400), (1, ORDERED, 20_000, 1)], interleaved=True, number=0)
    tsn, streams = 1, list[int]()
    while len(outbound.active) == 2:
        for packet in outbound.next_packets(tsn, 1176, 50, 0.0):
            tsn = packet.following
            streams.append(int.from_bytes(packet.body[8:10], "big"))
    turns = [len(list(packets)) for _, packets in groupby(streams)]
    assert len(turns) > 10
    assert max(turns) <= 4  # 2,048 bytes, of 14 times 64 or of 1,156 in a packet


@pytest.mark.parametrize("interleaved", [True, False])
def test_a_stream_that_has_had_more_than_its_turn_waits_though_its_messages_are_alike(
    interleaved: bool,
) -> None:
    outbound = waiting([(0, ORDERED, 14_000, 1), (0, ORDERED, 100, 300)], interleaved=interleaved, number=0)
    other, limited = OutStream(1), Delivery(4, PPID, Limit(0, inf))
    outbound.add(other, limited, bytes(1000))
    tsn, turns = 1, list[int]()
    while outbound.active:
        (packet,) = outbound.next_packets(tsn, 14_988, 1, 0.0)
        tsn = packet.following
        turns.append(int.from_bytes(packet.body[8:10], "big"))
        if len(turns) == 2:  # the first stream is at the head now, with less than nothing left of its turn
            outbound.add(other, limited, bytes(1000))
    assert turns == [0, 1, 1, 0, 0, 0]


def test_a_run_ends_where_a_packet_is_not_as_foreseen() -> None:
    packets = [
        ENVELOPE.seal(packet.body)
        for packet in packets_of(waiting([(0, ORDERED, 16_384, 1)], interleaved=True, number=0), 1, 1176, 50)
    ]
    checked = Envelope(5000, 5000, 7)
    for index, spoilt in (
        (5, checked.seal(packets[5][HEADER_BYTES:])),
        (6, packets[6] + packets[7][HEADER_BYTES:]),
        (7, packets[7][:-4]),
        (8, packets[9]),
    ):
        inbound = inbound_for(1, 0, interleaved=True)
        inbound.receive_data(packets[0], HEADER_BYTES, len(packets[0]))
        changed = [*packets[:index], spoilt, *packets[index + 1 :]]
        assert inbound.receive_run(changed, 1, ENVELOPE.unchecked) == index - 1
        assert inbound.receipts.cumulative == index


def test_a_run_of_alike_messages_ends_where_a_packet_is_not_as_foreseen() -> None:
    packets = [
        ENVELOPE.seal(packet.body)
        for packet in packets_of(waiting([(0, ORDERED, 64, 140)], interleaved=True, number=0), 1, 1176, 50)
    ]
    assert inbound_for(1, 0, interleaved=True).receive_run(packets, 0, ENVELOPE.unchecked) == 10
    length = HEADER_BYTES + 2
    for index, spoilt in (
        (2, Envelope(5000, 5000, 7).seal(packets[2][HEADER_BYTES:])),
        (3, packets[3][:-4]),
        (4, packets[5]),
        (5, packets[5][:-80] + b"\1" + packets[5][-79:]),  # a part of the last header
        (6, packets[6][:-1] + b"\1"),  # a part of the last message is no part of a header
        (7, packets[7][:length] + b"\0\0" + packets[7][length + 2 :]),
        (8, packets[8][:length] + b"\xff\xff" + packets[8][length + 2 :]),
    ):
        inbound = inbound_for(1, 0, interleaved=True)
        changed = [*packets[:index], spoilt, *packets[index + 1 :]]
        assert inbound.receive_run(changed, 0, ENVELOPE.unchecked) == (10 if index == 6 else index)
        assert inbound.receive_run(changed[index:], 0, ENVELOPE.unchecked) == 0
        assert inbound.receipts.cumulative == (140 if index == 6 else 14 * index)


def test_a_run_takes_no_more_than_the_window_and_the_largest_message_allow() -> None:
    packets = [
        ENVELOPE.seal(packet.body)
        for packet in packets_of(waiting([(0, ORDERED, 120_000, 1)], interleaved=True, number=0), 1, 1176, 99)
    ]
    window = 2 * 120_000
    for config, unread, most in (
        (
            SctpConfig(role=Role.CLIENT, receive_window_bytes=window, max_message_bytes=120_000),
            window + 180_000,
            60_000,
        ),
        (SctpConfig(role=Role.CLIENT, max_message_bytes=20_000), 0, 20_000),
    ):
        inbound = Inbound(1, config, interleaved=True)
        inbound.delivered(unread, 0)
        inbound.receive_data(packets[0], HEADER_BYTES, len(packets[0]))
        index = 1
        while count := inbound.receive_run(packets, index, ENVELOPE.unchecked):
            index += count
        assert most - 2 * 1176 - index * CHUNK_OVERHEAD_BYTES <= index * 1156 <= most
        assert inbound.receipts.cumulative == index


def test_chunks_have_the_headers_of_the_standards() -> None:
    for interleaved, header, kind in (
        (True, I_DATA_HEADER, ChunkType.I_DATA),
        (False, DATA_HEADER, ChunkType.DATA),
    ):
        (packet,) = packets_of(waiting([(2, UNORDERED, 5, 2)], interleaved=interleaved, number=9), 3, 1176, 9)
        stride = (header.size + 5 + 3) & ~3
        chunks = [header.unpack_from(packet.body, offset) for offset in (0, stride)]
        rest = [(0, 9, PPID), (0, 10, PPID)] if interleaved else [(9, PPID), (10, PPID)]
        assert chunks == [
            (kind, 7, header.size + 5, 3 + index, 2, *numbers) for index, numbers in enumerate(rest)
        ]


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 4), st.sampled_from([1188, 9000, 15_000]), near_the_end)
def test_no_more_is_on_its_way_than_a_gap_block_can_tell_of(size: int, packet_bytes: int, tsn: int) -> None:
    outbound = waiting([(0, ORDERED, size, 70_000)], interleaved=True, number=0)
    congestion = Cubic(packet_bytes)
    congestion.window = 1 << 30
    sender = Sender(outbound, tsn, 1 << 30, congestion)
    sender.packet_bytes = packet_bytes
    while sender.packets(ENVELOPE, b"", 0.0):
        pass
    outstanding = sender.recovery.next_tsn - tsn
    assert 0xFFFF - MAX_PACKET_TSNS <= outstanding <= 0xFFFF
