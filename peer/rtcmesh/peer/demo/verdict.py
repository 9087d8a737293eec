"""What came out of the demo: it is worth something only if it sees what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from rtcmesh.signaling.identity import PeerId, short

from .protocol import Progress

WAY_OF_A_CUT_PATH = ("direct", "relayed", "none", "relayed", "direct")
"""Cut, it gives way to the relay; the relay dies too and comes back; healed, there is a direct path again."""


class Step(msgspec.Struct, frozen=True):
    """What was done to the mesh, and how long it took until that showed at all who are concerned."""

    name: str
    seconds: float


class Way(msgspec.Struct, frozen=True):
    """How one peer reached another one, as it saw it."""

    peer: int
    to: int
    cut: bool
    path: str | None
    rtt: float | None
    changes: int
    history: tuple[str, ...]


class Result(msgspec.Struct, frozen=True):
    """What came out."""

    ok: bool
    problems: tuple[str, ...]
    peers: int
    direct_connections: int
    cut_pairs: tuple[tuple[int, int], ...]
    """Numbers of peers, in the order of their ids."""
    steps: tuple[Step, ...]
    ways: tuple[Way, ...]
    messages_sent: int
    messages_received: int
    file: str
    file_bytes: int
    file_sha256: str
    seconds: float


def pairs_to_cut(peers: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs whose direct paths are cut: first and last, between whom the file goes, and two more."""
    return ((1, peers), (2, 3)) if peers >= 4 else ((1, peers),)


def ways_in(reports: Sequence[Progress], cut: Sequence[tuple[int, int]]) -> tuple[Way, ...]:
    """Return how each peer reached each other one; peers are numbered from 1 in the order of the reports."""
    numbers = {report.peer_id: number for number, report in enumerate(reports, 1)}
    return tuple(
        Way(
            peer=numbers[report.peer_id],
            to=numbers[other],
            cut=_is_cut(numbers[report.peer_id], numbers[other], cut),
            path=link.path,
            rtt=link.rtt,
            changes=link.changes,
            history=link.history,
        )
        for report in reports
        for other, link in report.links.items()
        if other in numbers
    )


def problems_in(
    reports: Sequence[Progress], *, peers: int, messages: int, digest: str, cut: Sequence[tuple[int, int]]
) -> Iterator[str]:
    """Compare what each peer has got with what the others sent; yield a sentence for everything that is not right."""
    if len(reports) != peers:
        yield f"{len(reports)} peers reported instead of {peers}"
    peer_ids = {report.peer_id for report in reports}
    for report in reports:
        who = short(PeerId(report.peer_id))
        if set(report.links) != peer_ids - {report.peer_id}:
            yield f"{who} knows {len(report.links)} peers instead of the {peers - 1} others"
        if report.sent != messages * (peers - 1):
            yield f"{who} sent {report.sent} messages instead of {messages * (peers - 1)}"
        for other, link in report.links.items():
            sender = short(PeerId(other))
            if link.received != messages:
                yield f"{who} received {link.received} messages of {sender} instead of {messages}"
            if not link.in_order:
                yield f"{who} received messages of {sender} out of order"
    yield from _wrong_ways(reports, ways_in(reports, cut))
    digests = [report.file_sha256 for report in reports if report.file_sha256]
    if digests != [digest]:
        yield f"the file arrived as {' and '.join(digests) or 'nothing'} instead of {digest}"


def _wrong_ways(reports: Sequence[Progress], ways: Sequence[Way]) -> Iterator[str]:
    for way in ways:
        expected = WAY_OF_A_CUT_PATH if way.cut else ("direct",)
        if not _passes_through(way.history, expected):
            who, other = (short(PeerId(reports[number - 1].peer_id)) for number in (way.peer, way.to))
            yield f"{who} reached {other} by {_chain(way.history)} instead of {_chain(expected)}"


def _is_cut(one: int, other: int, cut: Sequence[tuple[int, int]]) -> bool:
    return (min(one, other), max(one, other)) in cut


def _passes_through(history: Sequence[str], way: Sequence[str]) -> bool:
    """Whether these paths come in the history, in this order."""
    rest = iter(history)
    return all(path in rest for path in way)


def _chain(paths: Sequence[str]) -> str:
    return ", ".join(paths) or "no path"
