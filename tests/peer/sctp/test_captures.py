"""What other stacks have said, replayed: every byte of it is understood, and an association follows it.

The captures are made by `make captures`, from conversations over DTLS and real sockets; each names its origin.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from rtcmesh.peer.sctp import (
    Association,
    AssociationAnswered,
    AssociationClosed,
    AssociationConnected,
    ChannelOpened,
    CloseReason,
    Event,
    Role,
    SctpConfig,
)
from rtcmesh.peer.sctp import chunks as codec
from rtcmesh.peer.sctp.chunks import CHUNK_HEADER, ChunkType, decode_init, encode_chunk, encode_init
from rtcmesh.peer.sctp.data_chunks import DATA_HEADER, WHOLE
from rtcmesh.peer.sctp.dcep import ACK, PayloadProtocol, encode_open
from rtcmesh.peer.sctp.dcep import decode as decode_dcep
from rtcmesh.peer.sctp.extensions import Extensions, cookie_of, read
from rtcmesh.peer.sctp.packet import HEADER_BYTES, tag_of
from rtcmesh.peer.sctp.parameters import ParameterType, decode, encode
from support.captures import Capture, Packet
from support.captures import read as read_capture
from support.captures import write as write_capture
from support.sctp import heard, seal

CAPTURES = {
    path.stem: read_capture(path) for path in sorted(Path(__file__).with_name("fixtures").glob("*.pcapng"))
}
PORT = 5000

BASIC = Extensions.PARTIAL_RELIABILITY | Extensions.RECONFIGURATION
CAN_DO = {
    "aiortc": BASIC,
    "chromium": BASIC,
    "libdatachannel": BASIC | Extensions.ZERO_CHECKSUM,
    "werift": BASIC,
}
"""What each stack has said that it can do."""
SKIPPED = {"libdatachannel": {0x8002, 0x8003, 0x8004}}
"""Parameters that mean nothing here, whose top bits say to skip them: chunks with signatures (RFC 4895)."""

SAID = [(b"x", False), ("ö".encode(), True), (b"z" * 1300, False)]
"""What crosses on every channel: data, and whether it is text."""


class Chunk(NamedTuple):
    """A chunk of a capture: as it was on the wire, and its parts."""

    wire: bytes
    kind: ChunkType
    flags: int
    value: bytes


def chunks_of(packet: bytes) -> Iterator[Chunk]:
    """Return the chunks of a packet; each is of a known type, and they fill it."""
    offset = HEADER_BYTES
    while offset < len(packet):
        kind, flags, length = CHUNK_HEADER.unpack_from(packet, offset)
        end = (offset + length + 3) & ~3
        assert length >= CHUNK_HEADER.size
        assert end <= len(packet)
        wire = packet[offset:end]
        yield Chunk(wire, ChunkType(kind), flags, packet[offset + CHUNK_HEADER.size : offset + length])
        offset = end


def received_chunks(capture: Capture) -> Iterator[Chunk]:
    """Return every chunk that the other stack has sent."""
    for packet in capture.received:
        yield from chunks_of(packet)


def stack_of(name: str) -> str:
    """Return the stack that a capture is of."""
    return name.partition("-")[0]


every_capture = pytest.mark.parametrize("name", CAPTURES)


def test_every_stack_was_recorded_in_both_roles() -> None:
    assert set(CAPTURES) == {f"{stack}-{role}" for stack in CAN_DO for role in ("answers", "offers")}
    for name, capture in CAPTURES.items():
        assert set(capture.origin) == {"stack", "role", "recorded", "at"}
        assert capture.origin["role"] == name.split("-")[1]


def test_a_capture_is_read_as_it_was_written(tmp_path: Path) -> None:
    packets = [Packet(0.0, True, b"abc"), Packet(5000.000001, False, b""), Packet(5000.5, True, bytes(99))]
    capture = Capture({"stack": "none: ö", "role": "offers"}, packets)
    write_capture(tmp_path / "one", capture)
    assert read_capture(tmp_path / "one") == capture


# The codec


@every_capture
def test_ports_tags_and_checksums_are_right(name: str) -> None:
    tags = [
        tag_of(packet, PORT, PORT, zero_checksum=Extensions.ZERO_CHECKSUM in CAN_DO[stack_of(name)])
        for packet in CAPTURES[name].received
    ]
    (own_tag,) = {
        decode_init(chunk.value).initiate_tag
        for packet in CAPTURES[name].packets
        if not packet.received
        for chunk in chunks_of(packet.data)
        if chunk.kind in (ChunkType.INIT, ChunkType.INIT_ACK)
    }
    assert set(tags) <= {0, own_tag}
    assert tags.count(0) <= 1  # of the INIT


def encode_again(chunk: Chunk) -> bytes:
    """Decode a chunk with the codec of its type, and encode what that has understood."""
    kind, value = chunk.kind, chunk.value
    match kind:
        case ChunkType.INIT | ChunkType.INIT_ACK:
            return encode_init(kind, decode_init(value))
        case ChunkType.SACK:
            tsn, window, blocks, duplicates = codec.decode_sack(value)
            pairs = zip(blocks[::2], blocks[1::2], strict=True)
            return codec.encode_sack(
                tsn, window, [[tsn + first, tsn + last] for first, last in pairs], duplicates
            )
        case ChunkType.SHUTDOWN:
            return codec.encode_tsn(kind, codec.decode_tsn(value))
        case ChunkType.FORWARD_TSN:
            return codec.encode_forward_tsn(codec.decode_forward_tsn(value))
        case ChunkType.RE_CONFIG | ChunkType.ABORT | ChunkType.ERROR | ChunkType.HEARTBEAT:
            return encode_chunk(kind, encode(decode(value)), chunk.flags)
        case ChunkType.DATA:
            _, flags, length, *numbers, ppid = DATA_HEADER.unpack_from(chunk.wire)
            data = chunk.wire[DATA_HEADER.size : length]
            if ppid == PayloadProtocol.DCEP:
                assert flags & WHOLE == WHOLE
                opening = decode_dcep(data)
                data = ACK if opening is None else encode_open(opening)
            header = DATA_HEADER.pack(kind, flags, DATA_HEADER.size + len(data), *numbers, ppid)
            return header + data + bytes(-len(data) % 4)
        case ChunkType.COOKIE_ECHO | ChunkType.COOKIE_ACK:
            return encode_chunk(kind, value)
        case other:
            raise AssertionError(other)


@every_capture
def test_every_chunk_is_encoded_as_it_was_decoded(name: str) -> None:
    for chunk in received_chunks(CAPTURES[name]):
        assert encode_again(chunk) == chunk.wire, chunk.kind.name


@every_capture
def test_every_parameter_is_understood_or_skipped_as_its_top_bits_say(name: str) -> None:
    stack = stack_of(name)
    inits = [
        decode_init(chunk.value)
        for chunk in received_chunks(CAPTURES[name])
        if chunk.kind in (ChunkType.INIT, ChunkType.INIT_ACK)
    ]
    assert inits
    for init in inits:
        assert read(init.parameters) == (CAN_DO[stack], [])
        unknown = {parameter.kind for parameter in init.parameters} - set(ParameterType)
        assert unknown == SKIPPED.get(stack, set())
        assert all(kind & 0xC000 == 0x8000 for kind in unknown)


# The association


class Recorded(Random):
    """Draws what the association drew that was recorded: its tag and its first TSN."""

    def __init__(self, tag: int, tsn: int) -> None:
        super().__init__(1)
        self._tag, self._tsn = tag, tsn

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        del start, stop, step
        return self._tag

    def getrandbits(self, k: int, /) -> int:
        return self._tsn if k == 32 else super().getrandbits(k)


class Replay:
    """An association that lives through a capture: it does what the recorded one did, and hears what that heard.

    Of what was recorded only the cookie is exchanged for its own, as it is signed with a key that is gone. What
    acknowledges the data of the recorded association is left out, as this one has none.
    """

    def __init__(self, capture: Capture) -> None:
        (first, *_) = (packet for packet in capture.packets if not packet.received)
        own = decode_init(next(chunks_of(first.data)).value)
        self._own_tag = own.initiate_tag
        config = SctpConfig(role=Role.CLIENT, zero_checksum=True)
        self.association = Association(config, Recorded(own.initiate_tag, own.initial_tsn))
        self.association.connect(0.0)
        self.events: list[Event] = []
        self.sent: list[Chunk] = []
        self._cookie = b""
        self._drain(0.0)
        for packet in capture.packets:
            if packet.received:
                self._hear(packet)

    @property
    def messages(self) -> dict[int, list[tuple[bytes, bool]]]:
        """What has arrived, by channel."""
        messages: dict[int, list[tuple[bytes, bool]]] = {}
        for event in self.events:
            for message in heard(event):
                messages.setdefault(message.channel_id, []).append((message.data, message.text))
        return messages

    def _hear(self, packet: Packet) -> None:
        chunks = list(chunks_of(packet.data))
        kept = [chunk for chunk in chunks if chunk.kind not in (ChunkType.SACK, ChunkType.SHUTDOWN)]
        if chunks == kept and chunks[0].kind is not ChunkType.COOKIE_ECHO:
            self.association.receive_packets([packet.data], packet.at)
        elif kept:
            if kept[0].kind is ChunkType.COOKIE_ECHO:
                kept[0] = kept[0]._replace(wire=encode_chunk(ChunkType.COOKIE_ECHO, self._cookie))
            content = b"".join(chunk.wire for chunk in kept)
            self.association.receive_packets([seal(content, self._own_tag)], packet.at)
        self._drain(packet.at)

    def _drain(self, now: float) -> None:
        self.events += self.association.events()
        for packet in self.association.packets_to_send(now):
            for chunk in chunks_of(packet):
                self.sent.append(chunk)
                if chunk.kind is ChunkType.INIT_ACK:
                    self._cookie = cookie_of(decode_init(chunk.value).parameters)
        self.events += self.association.events()


@every_capture
def test_an_association_follows_the_conversation_to_its_end(name: str) -> None:
    replay = Replay(CAPTURES[name])
    events = [event for event in replay.events if event != AssociationAnswered()]
    assert events[0] == AssociationConnected()
    opened = {event.label: event for event in replay.events if isinstance(event, ChannelOpened)}
    assert all(event.remote for event in opened.values())
    unordered = opened["theirs, unordered"]
    assert unordered.max_retransmits == 1
    for label in ("theirs", "theirs, unordered"):
        assert replay.messages[opened[label].channel_id] == SAID, label
    assert isinstance(replay.events[-1], AssociationClosed)
    assert replay.events[-1].reason is CloseReason.REMOTE_ABORT
    stats = replay.association.stats()
    assert (stats.packets_discarded, stats.chunks_discarded) == (0, 0)


@every_capture
def test_nothing_of_it_is_reported_as_unknown(name: str) -> None:
    kinds = {chunk.kind for chunk in Replay(CAPTURES[name]).sent}
    assert kinds >= {ChunkType.INIT, ChunkType.SACK, ChunkType.RE_CONFIG}
    assert kinds.isdisjoint({ChunkType.ERROR, ChunkType.ABORT})
