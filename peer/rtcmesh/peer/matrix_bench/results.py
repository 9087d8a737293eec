"""What came of a matrix, as tables for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from rich.table import Table

from .behind import KINDS
from .run import Meeting

TITLES = {False: "With a STUN server", True: "With a TURN server too, over UDP, and over TCP on port 443"}

NO_TIME = "-"


class Matrix(msgspec.Struct, frozen=True):
    """The meetings of one run."""

    turn: bool
    """Whether there was a TURN server."""
    settle: float
    """How many seconds pairs had for a direct path, and after a rebinding."""
    meetings: tuple[Meeting, ...]


def tables_of(matrices: Sequence[Matrix]) -> list[Table]:
    """Return a table of the paths, and one of the figures, for each run."""
    tables: list[Table] = []
    for matrix in matrices:
        for rows, title in ((_paths(matrix), TITLES[matrix.turn]), (_figures(matrix), "figures")):
            table = Table(title=title)
            for column in rows[0]:
                table.add_column(column, overflow="fold")
            for row in rows[1:]:
                table.add_row(*row)
            tables.append(table)
    return tables


def page_of(matrices: Sequence[Matrix], command: str) -> str:
    """Return the page for `docs/`."""
    parts = [_INTRODUCTION.format(command=command)]
    for matrix in matrices:
        parts += [f"## {TITLES[matrix.turn]}", _markdown(_paths(matrix)), _markdown(_figures(matrix))]
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """# The matrix: two peers, whatever each is behind

Two real peers in Linux network namespaces, each behind gateways of its own; our server with its relay, and coturn, on
the internet side; links without delay or loss. Every gateway was verified before ([netem](../netem/README.md)).
`carrier-grade` is a port-restricted gateway behind a symmetric one. Made by `{command}`.

The paths are those that both peers used in the end: the candidates of a direct path as the other end sees them (RFC
8445; `relay` is one of the TURN server), or our relay, which carries from the beginning in every pair. A message is
heard when both have heard the other, counted from when both were in the room. Then the (outermost) gateway of the first
peer forgets its mappings: the longest silence at either end, and the path afterwards. `wrong` counts messages that were
lost, repeated or reordered. The times are those of a machine with all these processes on it."""


def _paths(matrix: Matrix) -> list[list[str]]:
    by_pair: Mapping[tuple[str, str], str] = {
        (meeting.one, meeting.other): meeting.path for meeting in matrix.meetings
    }
    kinds = [kind for kind in KINDS if any(kind in pair for pair in by_pair)]
    rows = [["", *kinds]]
    rows += [[one, *(by_pair.get((one, other), "") for other in kinds)] for one in kinds]
    return rows


def _figures(matrix: Matrix) -> list[list[str]]:
    rows = [
        [
            "pair",
            "path",
            "first message",
            "direct after",
            "silence at a rebinding",
            "path after that",
            "wrong",
        ]
    ]
    for meeting in matrix.meetings:
        rebound = meeting.rebound
        rows.append(
            [
                f"{meeting.one}, {meeting.other}",
                meeting.path,
                _seconds(meeting.first_message),
                _seconds(meeting.direct_after),
                _seconds(rebound.silence if rebound else None),
                rebound.path if rebound else NO_TIME,
                str(rebound.wrong) if rebound else NO_TIME,
            ]
        )
    return rows


def _seconds(value: float | None) -> str:
    return NO_TIME if value is None else f"{value:.2f} s"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    header, *rest = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([header, "|" + "---|" * len(rows[0]), *rest])
