import struct

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.real.datagrams import TCP, UDP, parse, syn_packet, udp_packet

endpoints = st.builds(Endpoint, st.ip_addresses(v=4).map(str), st.integers(1, 65_535))


def is_summed(data: bytes) -> bool:
    """Whether the sum of RFC 1071 over all, the checksum included, is what it must be."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return bool(total == 0xFFFF)


def pseudo_header(packet: bytes) -> bytes:
    return packet[12:20] + struct.pack("!HH", packet[9], len(packet) - 20)


@given(endpoints, endpoints, st.binary(max_size=200))
def test_a_datagram_is_read_as_it_was_made(source: Endpoint, destination: Endpoint, payload: bytes) -> None:
    packet = udp_packet(source, destination, payload)
    assert parse(packet) == (UDP, source, destination, payload)
    assert is_summed(packet[:20])
    assert is_summed(pseudo_header(packet) + packet[20:])


@given(endpoints, endpoints)
def test_a_request_for_a_connection_is_one_for_the_kernel_too(
    source: Endpoint, destination: Endpoint
) -> None:
    packet = syn_packet(source, destination)
    parsed = parse(packet)
    assert parsed is not None
    assert (parsed.protocol, parsed.source, parsed.destination) == (TCP, source, destination)
    assert is_summed(packet[:20])
    assert is_summed(pseudo_header(packet) + packet[20:])


@given(st.binary(max_size=100))
def test_any_bytes_are_a_packet_or_none(data: bytes) -> None:
    parsed = parse(data)
    assert parsed is None or parsed.protocol in {UDP, TCP}
