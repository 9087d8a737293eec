"""What packets are told to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem import Endpoint, Kind, PacketClass
from rtcmesh.netem.models.dtls_flight import DtlsFlights
from rtcmesh.netem.models.packet_class import MAX_FLOWS, Classifier, class_of
from support.dtls_records import (
    ALERT,
    CERTIFICATE,
    CHANGE_CIPHER,
    CLIENT_HELLO,
    CLIENT_KEY_EXCHANGE,
    DATA,
    FINISHED,
    HELLO_VERIFY,
    NEW_TICKET,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    handshake,
    message,
    record,
)
from support.parcels import DESTINATION, SOURCE, parcel


def stun(kind: int) -> bytes:
    return kind.to_bytes(2) + bytes(18)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (stun(0x0001), PacketClass.STUN_REQUEST),
        (stun(0x0101), PacketClass.STUN_RESPONSE),
        (stun(0x0111), PacketClass.STUN_RESPONSE),
        (stun(0x0011), PacketClass.STUN_INDICATION),
        (stun(0x0003), PacketClass.TURN_CONTROL),  # Allocate
        (stun(0x0113), PacketClass.TURN_CONTROL),  # Allocate, refused
        (stun(0x0109), PacketClass.TURN_CONTROL),  # ChannelBind, granted
        (stun(0x0016), PacketClass.TURN_DATA),  # Send
        (stun(0x0017), PacketClass.TURN_DATA),  # Data
        (b"\x40\x00\x00\x04data", PacketClass.TURN_DATA),
        (b"\x4f", PacketClass.TURN_DATA),
        (CHANGE_CIPHER, PacketClass.DTLS_HANDSHAKE),
        (handshake((CLIENT_HELLO, 0)), PacketClass.DTLS_HANDSHAKE),
        (ALERT, PacketClass.DTLS_ALERT),
        (DATA, PacketClass.DTLS_DATA),
        (b"\x19\xfe\xfd", PacketClass.DTLS_DATA),
        (b"\x2f\x00\x01", PacketClass.DTLS_DATA),
        (b"\x80", PacketClass.RTP),
        (b"\xbf", PacketClass.RTP),
        (b"\x00\x01", PacketClass.OTHER),  # too short for STUN
        (b"", PacketClass.OTHER),
        (b"\x18", PacketClass.OTHER),
        (b"\x50", PacketClass.OTHER),
        (b"\xc0", PacketClass.OTHER),
    ],
)
def test_the_first_bytes_tell_what_a_payload_is(payload: bytes, expected: PacketClass) -> None:
    assert class_of(payload) is expected


def test_tcp_is_not_looked_into() -> None:
    classifier = Classifier()
    assert classifier.classify(parcel(stun(1), kind=Kind.TCP).contents()) == (PacketClass.TCP, 0)
    assert classifier.classify(None) == (PacketClass.OTHER, 0)


def test_a_check_asks_for_consent_once_its_sender_has_sent_dtls_the_same_way() -> None:
    classifier = Classifier()
    check, there = parcel(stun(1)).contents(), parcel(DATA).contents()
    elsewhere = parcel(stun(1), destination=Endpoint("10.0.0.3", 1)).contents()
    back = parcel(stun(1), source=DESTINATION, destination=SOURCE).contents()
    assert classifier.classify(check)[0] is PacketClass.STUN_REQUEST
    classifier.classify(there)
    assert classifier.classify(check)[0] is PacketClass.CONSENT_CHECK
    assert classifier.classify(elsewhere)[0] is PacketClass.STUN_REQUEST
    assert classifier.classify(back)[0] is PacketClass.STUN_REQUEST


def test_a_classifier_forgets_the_flow_that_rested_longest() -> None:
    classifier = Classifier()
    for port in range(1, MAX_FLOWS + 1):
        classifier.classify(parcel(DATA, source=Endpoint("10.0.0.1", port)).contents())
    for port in (1, MAX_FLOWS + 1):
        classifier.classify(parcel(DATA, source=Endpoint("10.0.0.1", port)).contents())

    def is_known(port: int) -> bool:
        check = parcel(stun(1), source=Endpoint("10.0.0.1", port)).contents()
        return classifier.classify(check)[0] is PacketClass.CONSENT_CHECK

    assert [is_known(port) for port in (1, 2, 3, MAX_FLOWS, MAX_FLOWS + 1)] == [True, False, True, True, True]


CERTIFIED = handshake((CERTIFICATE, 1), (CLIENT_KEY_EXCHANGE, 2)) + CHANGE_CIPHER + FINISHED


@pytest.mark.parametrize(
    ("datagrams", "expected"),
    [
        # A client, with everything repeated.
        ([handshake((CLIENT_HELLO, 0))] * 2 + [CERTIFIED] * 2 + [handshake((CLIENT_HELLO, 0))], [1, 1, 2, 2, 1]),
        # A client that is asked for a cookie, and whose last flight comes in pieces.
        (
            [
                handshake((CLIENT_HELLO, 0)),
                handshake((CLIENT_HELLO, 1)),
                handshake((CERTIFICATE, 2)),
                handshake((CLIENT_KEY_EXCHANGE, 3)),
                CHANGE_CIPHER,
                FINISHED,
            ],
            [1, 2, 3, 3, 3, 3],
        ),
        # A server, which repeats its first flight after it has sent the second.
        (
            [
                handshake((SERVER_HELLO, 0), (CERTIFICATE, 1), (SERVER_HELLO_DONE, 2)),
                CHANGE_CIPHER + FINISHED,
                handshake((SERVER_HELLO, 0), (CERTIFICATE, 1), (SERVER_HELLO_DONE, 2)),
                CHANGE_CIPHER + FINISHED,
                FINISHED,
            ],
            [1, 2, 1, 2, 2],
        ),
        # A server with a cookie and a ticket; its certificate comes in fragments.
        (
            [
                handshake((HELLO_VERIFY, 0)),
                handshake((SERVER_HELLO, 1)) + record(22, message(CERTIFICATE, 2, size=10, of=30)),
                record(22, message(CERTIFICATE, 2, size=20, offset=10, of=30) + message(SERVER_HELLO_DONE, 3)),
                handshake((NEW_TICKET, 4)) + CHANGE_CIPHER + FINISHED,
            ],
            [1, 2, 2, 3],
        ),
    ],
)  # fmt: skip
def test_flights_are_numbered_from_one_side(datagrams: list[bytes], expected: list[int]) -> None:
    flights = DtlsFlights()
    assert [flights.number_of(datagram) for datagram in datagrams] == expected


@given(st.lists(st.one_of(st.binary(max_size=80), st.just(CHANGE_CIPHER), st.just(CERTIFIED)), max_size=20))
def test_any_bytes_are_classified(payloads: list[bytes]) -> None:
    classifier = Classifier()
    for payload in payloads:
        packet_class, flight = classifier.classify(parcel(payload).contents())
        assert (flight > 0) == (packet_class is PacketClass.DTLS_HANDSHAKE)
