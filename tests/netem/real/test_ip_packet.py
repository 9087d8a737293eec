"""Raw IP packets: what is read from them, and how they are damaged."""

import socket
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem import Endpoint, Kind
from rtcmesh.netem.real.icmp import checksum, too_long
from rtcmesh.netem.real.ip_packet import IpPacket


def transport_sum(packet: bytes, kind: Kind) -> int:
    """What the receiver adds up: 0 when the checksum fits."""
    at, addresses = (20, packet[12:20]) if packet[0] >> 4 == 4 else (40, packet[8:40])
    body = packet[at:]
    protocol = 17 if kind is Kind.UDP else 6
    return checksum(addresses + protocol.to_bytes(4) + len(body).to_bytes(4) + body)


def build(kind: Kind, version: int, payload: bytes) -> IpPacket:
    if kind is Kind.UDP:
        header, checksum_at = (
            (4000).to_bytes(2) + (53).to_bytes(2) + (8 + len(payload)).to_bytes(2) + bytes(2),
            6,
        )
    else:
        options = b"\x01\x01\x01\x00"
        header = (4000).to_bytes(2) + (443).to_bytes(2) + bytes(8) + b"\x60\x18" + bytes(6) + options
        checksum_at = 16
    protocol = bytes([17 if kind is Kind.UDP else 6])
    length = len(header) + len(payload)
    if version == 4:
        ip = b"\x45\0" + (20 + length).to_bytes(2) + bytes(4) + b"\x40" + protocol + bytes(2)
        ip += socket.inet_aton("10.77.0.1") + socket.inet_aton("10.77.0.2")
    else:
        ip = b"\x60\0\0\0" + length.to_bytes(2) + protocol + b"\x40"
        ip += socket.inet_pton(socket.AF_INET6, "fd77::1") + socket.inet_pton(socket.AF_INET6, "fd77::2")
    bare = ip + header + payload
    at = len(ip) + checksum_at
    return IpPacket(bare[:at] + (transport_sum(bare, kind) or 0xFFFF).to_bytes(2) + bare[at + 2 :])


kinds = st.sampled_from(Kind)
versions = st.sampled_from([4, 6])


@given(kinds, versions, st.binary(max_size=100))
def test_headers_are_read(kind: Kind, version: int, payload: bytes) -> None:
    packet = build(kind, version, payload)
    left, right = ("10.77.0.1", "10.77.0.2") if version == 4 else ("fd77::1", "fd77::2")
    port = 53 if kind is Kind.UDP else 443
    assert packet.contents() == (kind, Endpoint(left, 4000), Endpoint(right, port), payload)
    assert packet.size == len(packet)


@given(kinds, versions, st.binary(min_size=1, max_size=100), st.integers(0, 1000))
def test_a_damaged_packet_differs_in_one_bit_and_every_checksum_fits(
    kind: Kind, version: int, payload: bytes, seed: int
) -> None:
    packet = build(kind, version, payload)
    damaged = packet.damaged(Random(seed))
    before, after = packet.contents(), damaged.contents()
    assert before is not None
    assert after is not None
    assert sum((a ^ b).bit_count() for a, b in zip(before.payload, after.payload, strict=True)) == 1
    assert transport_sum(damaged, kind) == 0
    assert before[:3] == after[:3]


def test_udp_without_a_checksum_stays_without() -> None:
    packet = build(Kind.UDP, 4, b"data")
    without = IpPacket(packet[:26] + b"\0\0" + packet[28:])
    assert without.damaged(Random(1))[26:28] == b"\0\0"


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45",
        build(Kind.UDP, 4, b"data")[:27],  # cut short
        b"\x45" + bytes(5) + b"\x00\x10" + bytes(1) + b"\x11" + bytes(30),  # a later fragment
        b"\x45" + bytes(8) + b"\x01" + bytes(30),  # ICMP
    ],
)
def test_what_has_no_ports_has_no_contents_and_stays_whole(packet: bytes) -> None:
    assert IpPacket(packet).contents() is None
    assert IpPacket(packet).damaged(Random(1)) == packet


@given(st.binary(max_size=80), versions)
def test_any_bytes_are_read(data: bytes, version: int) -> None:
    packet = IpPacket(bytes([version << 4 | 5]) + data)
    packet.contents()
    packet.damaged(Random(1))


@given(kinds, versions, st.integers(0, 1460), st.integers(68, 1280))
def test_who_sends_too_long_a_packet_is_told_so(kind: Kind, version: int, size: int, mtu: int) -> None:
    packet = build(kind, version, bytes(size))
    answer = too_long(packet, mtu)
    assert answer is not None
    if version == 4:
        assert (answer[12:16], answer[16:20]) == (packet[16:20], packet[12:16])
        assert checksum(answer[:20]) == checksum(answer[20:]) == 0
        assert answer[20:22] == b"\x03\x04"
        assert int.from_bytes(answer[26:28]) == mtu
        assert answer[28:] == packet[:28]
    else:
        assert (answer[8:24], answer[24:40]) == (packet[24:40], packet[8:24])
        pseudo_header = answer[8:40] + len(answer[40:]).to_bytes(4) + (58).to_bytes(4)
        assert checksum(pseudo_header + answer[40:]) == 0
        assert answer[40:42] == b"\x02\0"
        assert int.from_bytes(answer[44:48]) == mtu
        assert answer[48:] == packet[:1232]
        assert len(answer) <= 1280
    assert int.from_bytes(answer[2:4] if version == 4 else answer[4:6]) == len(answer) - (
        0 if version == 4 else 40
    )
    assert too_long(answer, mtu) is None, "an answer is not answered"


@given(st.binary(max_size=60), versions)
def test_any_bytes_are_answered_or_not(data: bytes, version: int) -> None:
    too_long(data, 1280)
    too_long(bytes([version << 4 | 5]) + data, 1280)


def test_what_is_for_many_is_not_answered() -> None:
    packet = build(Kind.UDP, 4, bytes(1400))
    assert too_long(packet[:16] + socket.inet_aton("239.1.2.3") + packet[20:], 1280) is None
    packet = build(Kind.UDP, 6, bytes(1400))
    assert too_long(packet[:24] + socket.inet_pton(socket.AF_INET6, "ff02::1") + packet[40:], 1280) is None
