"""Candidates as aioice has them, and as we do."""

from __future__ import annotations

import aioice

from .candidate import Candidate


def from_aioice(candidate: aioice.Candidate) -> Candidate:
    """Return a candidate of aioice in our form."""
    return Candidate(
        foundation=candidate.foundation,
        component=candidate.component,
        protocol=candidate.transport.lower(),
        priority=candidate.priority,
        address=candidate.host,
        port=candidate.port,
        type=candidate.type,
        related_address=candidate.related_address,
        related_port=candidate.related_port,
        tcp_type=candidate.tcptype,
    )


def to_aioice(candidate: Candidate) -> aioice.Candidate:
    """Return a candidate in aioice's form."""
    return aioice.Candidate(
        foundation=candidate.foundation,
        component=candidate.component,
        transport=candidate.protocol,
        priority=candidate.priority,
        host=candidate.address,
        port=candidate.port,
        # aioice takes no prflx: nobody signals one, but RFC 8839 allows it.
        type="srflx" if candidate.type == "prflx" else candidate.type,
        related_address=candidate.related_address,
        related_port=candidate.related_port,
        tcptype=candidate.tcp_type,
    )
