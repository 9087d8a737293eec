"""Packets without a checksum between ends that have DTLS below them (RFC 9653)."""

from __future__ import annotations

from random import Random

import pytest

from rtcmesh.peer.sctp import Association, Role, SctpConfig
from rtcmesh.peer.sctp.packet import Envelope, tag_of
from support.sctp import heard

NONE = bytes(4)


def connected(*zero_checksum: bool) -> tuple[Association, Association, list[bytes]]:
    """Connect two ends, exchange a message each way, and return all packets that crossed."""
    ends = [
        Association(SctpConfig(role=role, zero_checksum=zero), Random(role.value))
        for role, zero in zip(Role, zero_checksum, strict=True)
    ]
    crossed: list[bytes] = []
    for end in ends:
        end.open_channel(0.0, negotiated_id=0)
    ends[0].connect(0.0)
    arrived = 0
    for turn in range(12):
        if turn == 4:
            for end in ends:
                end.send(0, b"hello", 0.0)
        for sender, receiver in (ends, ends[::-1]):
            packets = sender.packets_to_send(0.01 * turn)
            crossed += packets
            receiver.receive_packets(packets, 0.01 * turn)
            arrived += sum(len(heard(event)) for event in receiver.events())
    assert arrived == 2
    assert all(end.stats().packets_discarded == 0 for end in ends)
    return ends[0], ends[1], crossed


def test_both_ends_do_without() -> None:
    _, _, crossed = connected(True, True)
    init, init_ack, cookie_echo, *rest = crossed
    assert NONE not in (init[8:12], init_ack[8:12], cookie_echo[8:12])
    assert rest
    assert all(packet[8:12] == NONE for packet in rest)


@pytest.mark.parametrize("zero_checksum", [(True, False), (False, True), (False, False)])
def test_one_end_alone_does_not(zero_checksum: tuple[bool, bool]) -> None:
    _, _, crossed = connected(*zero_checksum)
    assert all(packet[8:12] != NONE for packet in crossed)


def test_a_checksum_that_is_there_must_be_right() -> None:
    envelope = Envelope(5000, 5000, 7, zero_checksum=True)
    checked = Envelope(5000, 5000, 7).seal(b"\x0e\0\0\4")
    assert envelope.fits(checked)
    assert envelope.fits(envelope.seal(b"\x0e\0\0\4"))
    assert not envelope.fits(checked[:8] + b"\1\2\3\4" + checked[12:])
    assert not Envelope(5000, 5000, 7).fits(envelope.seal(b"\x0e\0\0\4"))


def test_an_init_needs_its_checksum() -> None:
    unchecked = Envelope(5000, 5000, 0, zero_checksum=True).seal(b"\1\0\0\4")
    assert tag_of(unchecked, 5000, 5000, zero_checksum=True) is None
    assert tag_of(Envelope(5000, 5000, 0).seal(b"\1\0\0\4"), 5000, 5000, zero_checksum=True) == 0
