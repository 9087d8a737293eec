"""What a capture file says, read back by a reader that shares nothing with the writer."""

import ipaddress
import struct
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem.packet import Endpoint, Kind, Packet
from rtcmesh.netem.pcapng import captured, interface, internet_checksum, ip_packet, section
from rtcmesh.netem.segment import Segment, SegmentKind

ANN, BOB = Endpoint("10.0.0.1", 5000), Endpoint("203.0.113.9", 443)
ANN6, BOB6 = Endpoint("2001:db8::1", 5000), Endpoint("2001:db8::2", 443)


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0
        assert struct.unpack_from("<I", data, length - 4) == (length,)
        yield kind, data[8 : length - 4]
        data = data[length:]


def options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while (head := struct.unpack_from("<HH", data)) != (0, 0):
        code, length = head
        found[code] = data[4 : 4 + length]
        data = data[4 + length + -length % 4 :]
    return found


def test_a_file_names_its_links_and_keeps_packets_their_times_and_why_they_were_dropped() -> None:
    file = (
        section("rtcmesh") + interface("ann up") + captured(0, 12.000000345, b"Ebcde", comment="queue full")
    )
    (kind, head), (_, link), (_, packet) = blocks(file)
    assert kind == 0x0A0D0D0A
    assert struct.unpack_from("<IHH", head) == (0x1A2B3C4D, 1, 0)
    assert options(head[16:]) == {4: b"rtcmesh"}
    assert struct.unpack_from("<H", link) == (0,)
    assert options(link[8:]) == {2: b"ann up", 9: b"\x09"}
    number, high, low, kept, length = struct.unpack_from("<IIIII", packet)
    assert (number, (high << 32) + low, kept, length) == (0, 12_000_000_345, 9, 9)
    assert packet[20:32] == b"\2\0\0\0Ebcde\0\0\0"
    assert options(packet[32:]) == {1: b"queue full"}


@given(at=st.floats(0, 2e9), data=st.binary(max_size=70), comment=st.text(max_size=20))
def test_whatever_is_captured_comes_back(at: float, data: bytes, comment: str) -> None:
    ((_, packet),) = blocks(captured(7, at, data, comment=comment))
    number, high, low, kept, _ = struct.unpack_from("<IIIII", packet)
    assert (number, packet[24 : 20 + kept]) == (7, data)
    assert packet[20:24] in (b"\2\0\0\0", b"\x1e\0\0\0")
    assert abs((high << 32) + low - at * 1e9) <= max(1, at * 1e9 * 1e-15)
    rest = packet[20 + kept + -kept % 4 :]
    assert options(rest) == {1: comment.encode()} if comment else not rest


@given(payload=st.binary(max_size=1500), sequence=st.integers(0, 2**40), v6=st.booleans())
def test_a_datagram_has_the_headers_and_checksums_of_a_wire(
    payload: bytes, sequence: int, *, v6: bool
) -> None:
    source, destination = (ANN6, BOB6) if v6 else (ANN, BOB)
    packet = Packet(sequence, Kind.UDP, source, destination, payload)
    data = ip_packet(packet)
    assert len(data) == packet.size
    transport = body_of(data, source, destination, 17)
    assert struct.unpack_from("!HHH", transport) == (5000, 443, len(payload) + 8)
    assert transport[6:8] != b"\0\0"
    assert transport[8:] == payload


@given(
    kind=st.sampled_from(SegmentKind),
    data=st.binary(max_size=1400),
    sequence=st.integers(0, 2**34),
    window=st.integers(0, 2**20),
    fin=st.booleans(),
)
def test_a_segment_is_tcp(kind: SegmentKind, data: bytes, sequence: int, window: int, *, fin: bool) -> None:
    segment = Segment(kind, sequence=sequence, acknowledgement=9, window=window, data=data, fin=fin)
    transport = body_of(ip_packet(Packet(1, Kind.TCP, ANN, BOB, segment)), ANN, BOB, 6)
    source, destination, number, acknowledged, offset, flags, _ = struct.unpack_from("!HHIIBBH", transport)
    assert (source, destination) == (5000, 443)
    opens = kind in (SegmentKind.CONNECT, SegmentKind.ACCEPT)
    assert bool(flags & 0x02) == opens
    assert bool(flags & 0x01) == fin
    assert number == (0 if opens else (sequence + 1) % 2**32)
    assert acknowledged == (0 if kind is SegmentKind.CONNECT else 10)
    assert transport[(offset >> 4) * 4 :] == data


def body_of(data: bytes, source: Endpoint, destination: Endpoint, protocol: int) -> bytes:
    """Check the IP header and the checksum behind it, and return what the header carries."""
    ends = [ipaddress.ip_address(end.address).packed for end in (source, destination)]
    if data[0] >> 4 == 4:
        assert struct.unpack_from("!H", data, 2) == (len(data),)
        assert data[9] == protocol
        assert [data[12:16], data[16:20]] == ends
        assert internet_checksum(data[:20]) == 0
        body = data[20:]
    else:
        assert struct.unpack_from("!HB", data, 4) == (len(data) - 40, protocol)
        assert [data[8:24], data[24:40]] == ends
        body = data[40:]
    assert internet_checksum(b"".join(ends) + struct.pack("!II", len(body), protocol) + body) == 0
    return body


def test_the_checksum_is_that_of_the_example_in_the_rfc() -> None:
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF
