"""URLs of STUN and TURN servers (RFC 7064, RFC 7065)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rtcmesh.signaling.messages import IceServer

logger = logging.getLogger(__name__)

_URL = re.compile(
    r"(?P<scheme>stun|turn|turns):(?P<host>\[[0-9A-Fa-f:.]+\]|[^?:@/\[\]\s]+)(?::(?P<port>\d{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?",
    re.ASCII,
)
_DEFAULT_PORTS = {"stun": 3478, "turn": 3478, "turns": 5349}


@dataclass(frozen=True, slots=True, kw_only=True)
class StunServer:
    """A server that tells which address our packets have after the NATs on their way."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnServer:
    """A server that relays packets."""

    host: str
    port: int
    transport: str
    """How we talk to it: `udp` or `tcp`."""
    tls: bool
    username: str | None
    password: str | None = field(repr=False)


def parse_servers(servers: Sequence[IceServer]) -> list[StunServer | TurnServer]:
    """Return the servers that can be used, each once, in the order given. What cannot be used is logged."""
    return list(dict.fromkeys(_parse_all(servers)))


def _parse_all(servers: Sequence[IceServer]) -> Iterable[StunServer | TurnServer]:
    for server in servers:
        for url in server.urls:
            parsed = _parse(url, server)
            if parsed is None:
                logger.warning("an ICE server that cannot be used was announced: %r", url[:100])
            else:
                yield parsed


def _parse(url: str, server: IceServer) -> StunServer | TurnServer | None:
    match = _URL.fullmatch(url)
    if match is None:
        return None
    scheme = match["scheme"]
    host = match["host"].strip("[]")
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    transport = match["transport"] or ("tcp" if scheme == "turns" else "udp")
    if not 0 < port < 65_536:
        return None
    if scheme == "stun":
        return StunServer(host=host, port=port) if match["transport"] is None else None
    if scheme == "turns" and transport == "udp":
        return None  # TURN over DTLS: nobody here speaks it
    return TurnServer(
        host=host,
        port=port,
        transport=transport,
        tls=scheme == "turns",
        username=server.username,
        password=server.credential,
    )
