"""Session descriptions: what is written is read, what others write is read, and anything else is a typed error."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcmesh.peer.webrtc.candidate import Candidate
from rtcmesh.peer.webrtc.description import (
    DEFAULT_MESSAGE_BYTES,
    MAX_CANDIDATES,
    Description,
    Fingerprint,
    Setup,
)
from rtcmesh.peer.webrtc.errors import BadDescription

ICE_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

candidates = st.builds(
    Candidate,
    foundation=st.text(ICE_CHARS, min_size=1, max_size=32),
    component=st.integers(1, 256),
    protocol=st.sampled_from(["udp", "tcp"]),
    priority=st.integers(1, 2**31 - 1),
    address=st.one_of(
        st.ip_addresses().map(str),
        st.just("0c8a3f8e-21e5-4f0c-8f0c-9d1dd2f5a4b1.local"),
        st.just("host.example"),
    ),
    port=st.integers(0, 65_535),
    type=st.sampled_from(["host", "srflx", "prflx", "relay"]),
    related_address=st.none() | st.ip_addresses().map(str),
    related_port=st.none() | st.integers(0, 65_535),
    tcp_type=st.none() | st.sampled_from(["active", "passive", "so"]),
)

descriptions = st.builds(
    Description,
    ufrag=st.text(ICE_CHARS, min_size=4, max_size=256),
    password=st.text(ICE_CHARS, min_size=22, max_size=256),
    fingerprints=st.lists(
        st.builds(
            Fingerprint,
            st.sampled_from(["sha-256", "sha-384", "sha-512", "sha-1"]),
            st.binary(min_size=20, max_size=64),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    setup=st.sampled_from(Setup),
    mid=st.text("abc0123-_", min_size=1, max_size=16),
    sctp_port=st.integers(0, 65_535),
    max_message_bytes=st.integers(0, 2**31),
    candidates=st.lists(candidates, max_size=5).map(tuple),
    is_complete=st.booleans(),
    is_lite=st.booleans(),
)


@given(descriptions, st.integers(0, 2**62))
def test_what_is_written_is_read(description: Description, session_id: int) -> None:
    sdp = description.write(session_id)
    assert Description.parse(sdp) == description
    assert Description.parse(sdp.replace("\r\n", "\n")) == description, (
        "RFC 8866 section 5 allows bare newlines"
    )


@given(candidates)
def test_a_candidate_that_is_written_is_read(candidate: Candidate) -> None:
    assert Candidate.parse(str(candidate)) == candidate
    assert Candidate.parse(f"a={candidate} generation 0 ufrag abcd network-id 3") == candidate


@given(st.text(max_size=300))
def test_any_text_is_read_or_a_typed_error(text: str) -> None:
    for parse in (Description.parse, Candidate.parse):
        with contextlib.suppress(BadDescription):
            parse(text)


@given(descriptions, st.data())
def test_a_damaged_description_is_read_or_a_typed_error(
    description: Description, data: st.DataObject
) -> None:
    sdp = list(description.write(1))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(sdp) - 1))
        sdp[at : at + data.draw(st.integers(0, 4))] = data.draw(st.text(max_size=4))
    with contextlib.suppress(BadDescription):
        Description.parse("".join(sdp))


CHROMIUM = """v=0
o=- 4962303333179871722 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=candidate:3081407439 1 udp 2113937151 0c8a3f8e-21e5-4f0c-8f0c-9d1dd2f5a4b1.local 49203 typ host generation 0
a=ice-ufrag:7sFv
a=ice-pwd:2ioXDvJnSHWHPtFzl1u8LNYr
a=ice-options:trickle
a=fingerprint:sha-256 1C:0D:43:86:55:EA:F0:84:2B:1E:72:B8:E9:1B:6F:B2:6A:36:E1:FD:A1:D6:0A:B9:40:0D:E4:3E:1C:89:0E:90
a=setup:actpass
a=mid:0
a=sctp-port:5000
a=max-message-size:262144
"""

SESSION_LEVEL = """v=0
o=mozilla...THIS_IS_SDPARTA 8747 0 IN IP4 0.0.0.0
s=-
t=0 0
a=fingerprint:sha-256 1C:0D:43:86:55:EA:F0:84:2B:1E:72:B8:E9:1B:6F:B2:6A:36:E1:FD:A1:D6:0A:B9:40:0D:E4:3E:1C:89:0E:90
a=group:BUNDLE data
a=ice-lite
a=ice-ufrag:5d4b81b5
a=ice-pwd:d5a6a0a2ff5b50eb1e46fa7d5ab9b9a0
m=application 50712 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 192.0.2.7
a=candidate:0 1 UDP 2122252543 192.0.2.7 50712 typ host
a=candidate:1 1 TCP 2105524479 192.0.2.7 9 typ host tcptype active
a=candidate:nonsense
a=sendrecv
a=end-of-candidates
a=mid:data
a=setup:passive
"""


def test_what_chromium_writes_is_read() -> None:
    description = Description.parse(CHROMIUM)
    assert (description.ufrag, description.setup, description.mid) == ("7sFv", Setup.ACTPASS, "0")
    assert description.max_message_bytes == 262_144
    assert not description.is_complete
    (candidate,) = description.candidates
    assert candidate.is_mdns


def test_attributes_of_the_session_hold_for_the_section() -> None:
    description = Description.parse(SESSION_LEVEL)
    assert (description.ufrag, description.mid, description.is_lite) == ("5d4b81b5", "data", True)
    assert description.is_complete
    assert description.max_message_bytes == DEFAULT_MESSAGE_BYTES
    assert [candidate.tcp_type for candidate in description.candidates] == [None, "active"]
    assert [candidate.protocol for candidate in description.candidates] == ["udp", "tcp"]


@pytest.mark.parametrize(
    ("altered", "replacement", "complaint"),
    [
        ("v=0\n", "", "v=0"),
        ("m=application", "m=audio 9 UDP/TLS/RTP/SAVPF 0\nm=application", "not for data channels"),
        (
            "m=application",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\nm=application",
            "other media sections",
        ),
        ("m=application 9", "m=application 0", "rejected"),
        ("a=ice-ufrag:7sFv\n", "", "ice-ufrag"),
        ("a=ice-ufrag:7sFv", "a=ice-ufrag:a b", "ice-ufrag"),
        ("a=ice-pwd:", "a=ice-pwd:äöü", "ice-pwd"),
        ("a=setup:actpass", "a=setup:holdconn", "setup"),
        ("a=fingerprint:sha-256 1C", "a=fingerprint:sha-256 XY", "fingerprint"),
        ("a=sctp-port:5000", "a=sctp-port:70000", "sctp-port"),
        ("a=max-message-size:262144", "a=max-message-size:-1", "max-message-size"),
        (
            "a=mid:0",
            "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\n" * MAX_CANDIDATES + "a=mid:0",
            "candidates",
        ),
        ("a=mid:0", "a=mid:0\n" + " " * 70_000, "too long"),
    ],
)
def test_what_is_missing_or_wrong_is_said(altered: str, replacement: str, complaint: str) -> None:
    assert altered in CHROMIUM
    with pytest.raises(BadDescription, match=complaint):
        Description.parse(CHROMIUM.replace(altered, replacement, 1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:",
        "candidate:1 1 udp 1 192.0.2.1 70000 typ host",
        "candidate:" + "1" * 2000,
        "1 1 udp x y z",
    ],
)
def test_a_bad_candidate_is_a_typed_error(text: str) -> None:
    with pytest.raises(BadDescription):
        Candidate.parse(text)
