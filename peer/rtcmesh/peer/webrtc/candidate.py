"""ICE candidates as session descriptions and trickled signals carry them (RFC 8839 section 5.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import BadDescription

MAX_CANDIDATE_CHARACTERS = 1024

# candidate-attribute of RFC 8839 section 5.1, without its extensions. What stands for an address is an IP address or a
# name; whoever connects to it checks it.
_CANDIDATE = re.compile(
    r"candidate:(?P<foundation>[A-Za-z0-9+/]{1,32}) (?P<component>\d{1,3}) (?P<protocol>[A-Za-z0-9-]{1,16})"
    r" (?P<priority>\d{1,10}) (?P<address>[A-Za-z0-9.:%_-]{1,253}) (?P<port>\d{1,5}) typ (?P<type>[a-z]{1,16})"
    r"(?: raddr (?P<related_address>[A-Za-z0-9.:%_-]{1,253}))?(?: rport (?P<related_port>\d{1,5}))?"
    r"(?: tcptype (?P<tcp_type>[a-z]{1,16}))?(?: .*)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A transport address at which a peer may be reached."""

    foundation: str
    component: int
    protocol: str
    priority: int
    address: str
    port: int
    type: str
    related_address: str | None = None
    related_port: int | None = None
    tcp_type: str | None = None

    @classmethod
    def parse(cls, text: str) -> Candidate:
        """Read an attribute's value, with or without `a=` and `candidate:`. Raises `BadDescription`."""
        text = text.strip().removeprefix("a=")
        if len(text) > MAX_CANDIDATE_CHARACTERS:
            raise BadDescription("a candidate", "it is too long")
        if not text.startswith("candidate:"):
            text = f"candidate:{text}"
        match = _CANDIDATE.fullmatch(text)
        if match is None:
            raise BadDescription("a candidate", repr(text[:80]))
        related_port = match["related_port"]
        return cls(
            foundation=match["foundation"],
            component=int(match["component"]),
            protocol=match["protocol"].lower(),
            priority=int(match["priority"]),
            address=match["address"],
            port=_port(match["port"]),
            type=match["type"],
            related_address=match["related_address"],
            related_port=None if related_port is None else _port(related_port),
            tcp_type=match["tcp_type"],
        )

    def __str__(self) -> str:
        text = (
            f"candidate:{self.foundation} {self.component} {self.protocol} {self.priority}"
            f" {self.address} {self.port} typ {self.type}"
        )
        for name, value in (
            ("raddr", self.related_address),
            ("rport", self.related_port),
            ("tcptype", self.tcp_type),
        ):
            if value is not None:
                text += f" {name} {value}"
        return text

    @property
    def is_mdns(self) -> bool:
        """Whether the address is a name that only multicast DNS resolves (draft-ietf-mmusic-mdns-ice-candidates)."""
        return self.address.lower().endswith(".local")


def _port(digits: str) -> int:
    port = int(digits)
    if port > 0xFFFF:
        raise BadDescription("a candidate", f"port {port}")
    return port
