"""Candidates that lead through a proxy."""

from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.netem.packet import Endpoint
from rtcmesh.netem.proxy.candidates import candidate_endpoints, rewrite_candidates

HOST, REFLEXIVE, PROXY = (
    Endpoint("192.168.1.2", 5000),
    Endpoint("203.0.113.9", 6000),
    Endpoint("127.0.0.1", 7000),
)

DESCRIPTION = """v=0\r
m=application 5000 UDP/DTLS/SCTP webrtc-datachannel\r
a=candidate:1 1 udp 2130706431 192.168.1.2 5000 typ host\r
a=candidate:2 1 UDP 1694498815 203.0.113.9 6000 typ srflx raddr 192.168.1.2 rport 5000 generation 0\r
a=candidate:3 1 tcp 1518280447 192.168.1.2 9 typ host tcptype active\r
a=candidate:4 1 udp 16777215 198.51.100.1 3478 typ relay raddr 203.0.113.9 rport 6000\r
a=end-of-candidates\r
"""


def test_the_endpoints_of_candidates_are_found_but_not_those_of_a_relay() -> None:
    assert candidate_endpoints(DESCRIPTION) == [HOST, REFLEXIVE]


def test_candidates_lead_through_the_proxy_and_nothing_gets_past_it() -> None:
    assert rewrite_candidates(DESCRIPTION, {REFLEXIVE: PROXY}) == (
        "v=0\r\n"
        "m=application 5000 UDP/DTLS/SCTP webrtc-datachannel\r\n"
        "a=candidate:2 1 UDP 1694498815 127.0.0.1 7000 typ srflx raddr 127.0.0.1 rport 7000 generation 0\r\n"
        "a=candidate:4 1 udp 16777215 198.51.100.1 3478 typ relay raddr 203.0.113.9 rport 6000\r\n"
        "a=end-of-candidates\r\n"
    )


def test_a_single_candidate_as_it_trickles_is_rewritten_too() -> None:
    line = "candidate:1 1 udp 2130706431 192.168.1.2 5000 typ host"
    assert rewrite_candidates(line, {HOST: PROXY}) == "candidate:1 1 udp 2130706431 127.0.0.1 7000 typ host"
    assert rewrite_candidates(line, {}) == ""
    v6 = "candidate:1 1 udp 2130706431 2001:db8::1 5000 typ host"
    assert candidate_endpoints(v6) == [Endpoint("2001:db8::1", 5000)]


@given(st.text())
def test_whatever_else_a_description_says_stays(text: str) -> None:
    if "candidate:" not in text:
        assert rewrite_candidates(text, {HOST: PROXY}) == text
    assert candidate_endpoints(rewrite_candidates(text, {})) == []
