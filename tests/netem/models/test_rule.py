"""Rules that drop packets by what they are."""

import math
from collections.abc import Callable
from random import Random

import pytest

from rtcmesh.netem import Endpoint, Fate, Kind, Link, LinkConfig, Packet, PacketClass, Rule
from support.dtls_records import CHANGE_CIPHER, CLIENT_HELLO, CLIENT_KEY_EXCHANGE, DATA, handshake
from support.parcels import parcel

CHECK = b"\x00\x01" + bytes(18)
HTTPS = Endpoint("10.0.0.2", 443)


def link_with(*rules: Rule) -> Link[Packet]:
    return Link(LinkConfig(rules=rules), Random(1))


def passes(link: Link[Packet], packet: Packet, now: float = 0.0) -> bool:
    fate = link.send(packet, now)
    assert fate in {Fate.CARRIED, Fate.FILTERED}
    return fate is Fate.CARRIED


def test_only_consent_checks() -> None:
    link = link_with(Rule(classes=(PacketClass.CONSENT_CHECK,)))
    assert passes(link, parcel(CHECK))
    assert passes(link, parcel(DATA))
    assert not passes(link, parcel(CHECK))
    assert link.counters.filtered == 1


def test_udp_but_not_tcp_443() -> None:
    link = link_with(Rule(action="pass", transport="tcp", port=443), Rule())
    assert not passes(link, parcel(destination=HTTPS))
    assert not passes(link, parcel(kind=Kind.TCP))
    assert passes(link, parcel(kind=Kind.TCP, destination=HTTPS))
    assert passes(link, parcel(kind=Kind.TCP, source=HTTPS))


def test_the_second_dtls_flight_however_often_it_is_repeated() -> None:
    link = link_with(Rule(flight=2))
    second = handshake((CLIENT_KEY_EXCHANGE, 1)) + CHANGE_CIPHER
    sent = [handshake((CLIENT_HELLO, 0)), second, second, handshake((CLIENT_HELLO, 0)), DATA]
    assert [passes(link, parcel(payload)) for payload in sent] == [True, False, False, True, True]


def test_the_second_dtls_flight_the_first_time_only() -> None:
    link = link_with(Rule(flight=2, limit=1))
    second = handshake((CLIENT_KEY_EXCHANGE, 1)) + CHANGE_CIPHER
    assert [passes(link, parcel(payload)) for payload in (handshake((CLIENT_HELLO, 0)), second, second)] == [
        True,
        False,
        True,
    ]


def test_the_nth_packet_and_the_next() -> None:
    link = link_with(Rule(classes=(PacketClass.DTLS_DATA,), skip=2, limit=2))
    assert [passes(link, parcel(payload)) for payload in (DATA, CHECK, DATA, DATA, CHECK, DATA, DATA)] == [
        True,
        True,
        True,
        False,
        True,
        False,
        True,
    ]


def test_until_a_time() -> None:
    link = link_with(Rule(until=5.0))
    assert [passes(link, parcel(), now) for now in (100.0, 104.9, 105.0)] == [False, False, True]


def test_by_chance() -> None:
    link = link_with(Rule(probability=0.2))
    count = 20_000
    for _ in range(count):
        link.send(parcel(), 0.0)
    assert abs(link.counters.filtered - 0.2 * count) < 3 * math.sqrt(count * 0.2 * 0.8)


def test_what_has_no_ports_meets_rules_about_everything_alone() -> None:
    class Echo(Packet):
        """Neither UDP nor TCP."""

        __slots__ = ()

        def contents(self) -> None:  # type: ignore[override]
            return None

    echo = Echo(0, Kind.UDP, HTTPS, HTTPS, b"")
    assert passes(link_with(Rule(transport="udp"), Rule(port=443), Rule(flight=1)), echo)
    assert not passes(link_with(Rule()), echo)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (lambda: Rule(probability=1.5), "probability"),
        (lambda: Rule(skip=-1), "skip"),
        (lambda: Rule(limit=-1), "limit"),
        (lambda: Rule(until=math.nan), "until"),
        (lambda: Rule(port=0), "port"),
        (lambda: Rule(port=65536), "port"),
        (lambda: Rule(flight=0), "flight"),
    ],
)
def test_impossible_rules_are_refused(wrong: Callable[[], object], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        wrong()
