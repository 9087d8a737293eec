"""Candidates as aioice has them, and as we do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import aioice

from .candidate import Candidate
from .ice import RemoteCandidates


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


async def add_remote_candidate(
    connection: aioice.Connection,
    admission: RemoteCandidates,
    candidate: Candidate | None,
    spawn: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    """Give a connection a remote candidate, or the end of them, if it is admitted; a name is looked up in a task."""
    if candidate is None:
        if admission.end():
            await connection.add_remote_candidate(None)
    elif admission.admit(candidate):
        adding = connection.add_remote_candidate(to_aioice(candidate))
        if candidate.is_mdns:
            spawn(adding)
        else:
            await adding
