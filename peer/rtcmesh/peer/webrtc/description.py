"""Session descriptions for data channels alone (SDP, RFC 8866; ICE, RFC 8839; SCTP over DTLS, RFC 8841).

One media section, `m=application … UDP/DTLS/SCTP webrtc-datachannel`, as every WebRTC stack writes it for a connection
without media. What is not about data channels is ignored, as RFC 8866 section 5 asks; what is missing is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from .candidate import Candidate
from .errors import BadDescription

MAX_DESCRIPTION_CHARACTERS = 64 * 1024
MAX_CANDIDATES = 64
MAX_FINGERPRINTS = 16
DEFAULT_MESSAGE_BYTES = 64 * 1024
"""What a peer takes in one message when it does not say (RFC 8841 section 6.1)."""

_PROTOCOLS = ("UDP/DTLS/SCTP", "TCP/DTLS/SCTP")
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_MID = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,64}")
_FINGERPRINT = re.compile(r"([A-Za-z0-9-]{1,16}) +((?:[0-9A-Fa-f]{2}:){1,127}[0-9A-Fa-f]{2})")
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)


class Setup(Enum):
    """Who is the client of the DTLS handshake (RFC 8842 section 5, RFC 4145 section 4)."""

    ACTPASS = "actpass"
    ACTIVE = "active"
    PASSIVE = "passive"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The hash of a certificate (RFC 8122 section 5)."""

    algorithm: str
    """In lower case, as `sha-256`."""
    digest: bytes

    def __str__(self) -> str:
        return f"{self.algorithm} {self.digest.hex(':').upper()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """An offer or an answer, as far as data channels go."""

    ufrag: str
    password: str
    fingerprints: tuple[Fingerprint, ...]
    setup: Setup
    mid: str = "0"
    sctp_port: int = 5000
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES
    """The largest message the describing end takes; 0 means any size."""
    candidates: tuple[Candidate, ...] = ()
    is_complete: bool = False
    """Whether no more candidates follow (RFC 8838 section 8.2)."""
    is_lite: bool = False
    """Whether the describing end is an ICE-lite agent (RFC 8445 section 2.5)."""

    def write(self, session_id: int) -> str:
        """Return the description as SDP; `session_id` is a random number below 2**63 (RFC 8829 section 5.2.1)."""
        return "".join(f"{line}\r\n" for line in self._lines(session_id))

    def _lines(self, session_id: int) -> Iterator[str]:
        yield "v=0"
        yield f"o=- {session_id} 2 IN IP4 127.0.0.1"
        yield "s=-"
        yield "t=0 0"
        if self.is_lite:
            yield "a=ice-lite"
        yield f"a=group:BUNDLE {self.mid}"
        yield "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
        yield "c=IN IP4 0.0.0.0"
        yield f"a=mid:{self.mid}"
        yield f"a=ice-ufrag:{self.ufrag}"
        yield f"a=ice-pwd:{self.password}"
        yield "a=ice-options:trickle"
        for fingerprint in self.fingerprints:
            yield f"a=fingerprint:{fingerprint}"
        yield f"a=setup:{self.setup.value}"
        yield f"a=sctp-port:{self.sctp_port}"
        yield f"a=max-message-size:{self.max_message_bytes}"
        for candidate in self.candidates:
            yield f"a={candidate}"
        if self.is_complete:
            yield "a=end-of-candidates"

    @classmethod
    def parse(cls, sdp: str) -> Description:
        """Read an offer or answer. Raises `BadDescription` and nothing else, whatever the text."""
        section, session_is_lite = _application_section(sdp)
        candidates = tuple(_candidates(section.get("candidate", [])))
        return cls(
            ufrag=_matching(section, "ice-ufrag", _UFRAG),
            password=_matching(section, "ice-pwd", _PASSWORD),
            fingerprints=_fingerprints(section.get("fingerprint", [])),
            setup=_setup(_only(section, "setup")),
            mid=_matching(section, "mid", _MID) if "mid" in section else "0",
            sctp_port=_number(section, "sctp-port", 5000, limit=0xFFFF),
            max_message_bytes=_number(section, "max-message-size", DEFAULT_MESSAGE_BYTES, limit=2**63),
            candidates=candidates,
            is_complete="end-of-candidates" in section,
            is_lite=session_is_lite,
        )


_Attributes = dict[str, list[str]]

# Attributes that may stand before the first media section and then hold for every one.
_SESSION_WIDE = ("ice-ufrag", "ice-pwd", "fingerprint", "setup", "end-of-candidates")


def _application_section(sdp: str) -> tuple[_Attributes, bool]:
    """Return the attributes of the only media section, and whether the session is one of an ICE-lite agent."""
    if len(sdp) > MAX_DESCRIPTION_CHARACTERS:
        raise BadDescription("a description", "it is too long")
    session: _Attributes = {}
    section: _Attributes | None = None
    lines = sdp.split("\n")
    if lines[0].rstrip("\r") != "v=0":
        raise BadDescription("a description", "it does not begin with v=0")
    for line in lines:
        kind, _, value = line.rstrip("\r").partition("=")
        if kind == "m":
            if section is not None:
                raise BadDescription(
                    "a description", "it has other media sections than one for data channels"
                )
            _check_media(value)
            section = {}
        elif kind == "a":
            name, _, value = value.partition(":")
            (session if section is None else section).setdefault(name, []).append(value)
    if section is None:
        raise BadDescription("a description", "it has no media section")
    for name in _SESSION_WIDE:
        if name in session:
            section.setdefault(name, session[name])
    return section, "ice-lite" in session


def _check_media(value: str) -> None:
    match value.split(" "):
        case ["application", port, protocol, "webrtc-datachannel"] if protocol in _PROTOCOLS:
            if port == "0":
                raise BadDescription("a description", "its data channels are rejected")
        case _:
            raise BadDescription(
                "a description", f"a media section that is not for data channels: {value[:80]!r}"
            )


def _only(section: _Attributes, name: str) -> str:
    values = section.get(name, [])
    if len(values) != 1:
        raise BadDescription("a description", f"{len(values)} attributes {name} instead of one")
    return values[0].strip()


def _matching(section: _Attributes, name: str, pattern: re.Pattern[str]) -> str:
    value = _only(section, name)
    if pattern.fullmatch(value) is None:
        raise BadDescription("a description", f"{name} {value[:80]!r}")
    return value


def _number(section: _Attributes, name: str, default: int, *, limit: int) -> int:
    if name not in section:
        return default
    number = int(_matching(section, name, _NUMBER))
    if number > limit:
        raise BadDescription("a description", f"{name} {number}")
    return number


def _setup(value: str) -> Setup:
    try:
        return Setup(value)
    except ValueError:
        raise BadDescription("a description", f"setup {value[:80]!r}") from None


def _fingerprints(values: list[str]) -> tuple[Fingerprint, ...]:
    if not 1 <= len(values) <= MAX_FINGERPRINTS:
        raise BadDescription("a description", f"{len(values)} fingerprints")
    fingerprints: list[Fingerprint] = []
    for value in values:
        match = _FINGERPRINT.fullmatch(value.strip())
        if match is None:
            raise BadDescription("a description", f"fingerprint {value[:80]!r}")
        fingerprints.append(Fingerprint(match[1].lower(), bytes.fromhex(match[2].replace(":", ""))))
    return tuple(fingerprints)


def _candidates(values: list[str]) -> Iterator[Candidate]:
    """Read what can be read: a candidate that is not understood is ignored (RFC 8839 section 5.1)."""
    if len(values) > MAX_CANDIDATES:
        raise BadDescription("a description", f"more than {MAX_CANDIDATES} candidates")
    for value in values:
        try:
            yield Candidate.parse(value)
        except BadDescription:
            continue
