"""What the ends of a matrix are told, and what they tell: a JSON object a line, over standard streams.

Times are of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import msgspec


class Join(msgspec.Struct, frozen=True, tag="join"):
    """Join a room, and talk to who else comes."""

    room: str


class Mark(msgspec.Struct, frozen=True, tag="mark"):
    """Forget how long silences were until now."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Say how a room is doing."""

    room: str


Order = Join | Mark | Ask


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The process has started."""


class Joined(msgspec.Struct, frozen=True, tag="joined"):
    """A room was joined."""

    room: str
    at: float


class Heard(msgspec.Struct, frozen=True, tag="heard"):
    """The first message came."""

    room: str
    at: float


class Reached(msgspec.Struct, frozen=True, tag="reached"):
    """The path is another one now."""

    room: str
    at: float
    path: str


class State(msgspec.Struct, frozen=True, tag="state"):
    """How a room is doing."""

    room: str
    path: str
    """`direct`, `relayed` or `none`."""
    remote_candidate: str
    """The type of the other end's candidate on a direct path; else empty."""
    received: int
    wrong: int
    """How many messages did not come in order, each once."""
    longest_gap: float
    """Between two messages, since the last mark."""


Told = Ready | Joined | Heard | Reached | State
