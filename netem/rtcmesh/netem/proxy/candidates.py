"""ICE candidates that lead through a proxy: pure functions on session descriptions and candidate lines (RFC 8839)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rtcmesh.netem.packet import Endpoint

_CANDIDATE = re.compile(
    r"(?P<head>candidate:\S+ \d+ (?i:udp) \d+ )(?P<address>\S+) (?P<port>\d+)"
    r"(?P<type> typ (?P<kind>\w+))(?P<rest>[^\r\n]*)"
)
_RELATED = re.compile(r" raddr \S+ rport \d+")


def candidate_endpoints(description: str) -> list[Endpoint]:
    """Return where the UDP candidates of a session description, or of a candidate line, are; relayed ones excepted.

    What is relayed goes to a server first, and is no address of the peer's.
    """
    found = [
        Endpoint(match["address"], int(match["port"]))
        for match in _CANDIDATE.finditer(description)
        if match["kind"] != "relay"
    ]
    return list(dict.fromkeys(found))


def rewrite_candidates(description: str, ways: Mapping[Endpoint, Endpoint]) -> str:
    """Put other endpoints in the place of those of candidates, and hide what else tells them.

    A UDP candidate that has no way is left out, so that nothing gets past the proxy; so are TCP candidates. Relayed
    candidates stay as they are.
    """
    lines = description.splitlines(keepends=True)
    return "".join(rewritten for line in lines if (rewritten := _rewritten(line, ways)) is not None)


def _rewritten(line: str, ways: Mapping[Endpoint, Endpoint]) -> str | None:
    """Return a line as it is to be, or None when it is to go."""
    if "candidate:" not in line or line.lstrip().startswith("a=remote-candidates"):
        return line
    match = _CANDIDATE.search(line)
    if match is None:
        return None
    if match["kind"] == "relay":
        return line
    way = ways.get(Endpoint(match["address"], int(match["port"])))
    if way is None:
        return None
    rest = _RELATED.sub(f" raddr {way.address} rport {way.port}", match["rest"])
    candidate = f"{match['head']}{way.address} {way.port}{match['type']}{rest}"
    return line[: match.start()] + candidate + line[match.end() :]
