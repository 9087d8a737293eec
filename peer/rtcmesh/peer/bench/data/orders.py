"""What the bench and a worker tell each other: a JSON object a line, over standard streams."""

from __future__ import annotations

import msgspec


class Offer(msgspec.Struct, frozen=True, tag="offer"):
    """Make a connection of this number, and an offer. Answered by `Description`; `Opened` follows once it is open."""

    connection: int = 0


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """Make a connection of this number, and answer this offer. Answered as `Offer` is."""

    sdp: str
    connection: int = 0


class Accept(msgspec.Struct, frozen=True, tag="accept"):
    """Take this answer to the offer of that connection."""

    sdp: str
    connection: int = 0


class Flood(msgspec.Struct, frozen=True, tag="flood"):
    """Send messages of this size as fast as they are taken, until the connection is closed."""

    size: int
    connection: int
    turn: int
    """After so many the loop has its turn, so that what leaves once a turn can."""
    into: int = 0
    """How many bytes of such messages, each behind two bytes with its length, share one of the stack; 0: none do."""


class Count(msgspec.Struct, frozen=True, tag="count"):
    """Wait until a message comes, let `settle` seconds pass, and count what comes for `seconds`: `Counted`."""

    settle: float
    seconds: float
    connection: int
    coalesced: bool = False
    """Whether messages share those of the stack, as `Flood.into` has it."""


class Echo(msgspec.Struct, frozen=True, tag="echo"):
    """Send every message back, until the connection is closed."""

    connection: int


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Send a message of 64 bytes when the one before is back, for so many seconds: `Pinged`."""

    seconds: float
    connection: int


class Close(msgspec.Struct, frozen=True, tag="close"):
    """Let go of a connection and what is done with it: `Closed`."""

    connection: int


class Settle(msgspec.Struct, frozen=True, tag="settle"):
    """Say what it cost since this was asked before: `Usage`."""


class Description(msgspec.Struct, frozen=True, tag="description"):
    """A complete session description of a connection."""

    sdp: str
    connection: int = 0


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The channel of a connection is open."""

    connection: int = 0


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """A connection is no more, at this end."""

    connection: int = 0


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    """What came."""

    messages: int
    bytes: int
    seconds: float
    longest_gap: float
    """The longest time without a message, in seconds."""
    total_bytes: int
    """What came altogether, before and after `settle`."""


class Pinged(msgspec.Struct, frozen=True, tag="pinged"):
    """How long each message took there and back, in seconds."""

    round_trips: list[float]


class Usage(msgspec.Struct, frozen=True, tag="usage"):
    """What the process has used."""

    cpu_seconds: float
    """Since it was asked before."""
    resident_bytes: int
    """Now."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The worker cannot go on."""

    why: str


Order = Offer | Answer | Accept | Flood | Count | Echo | Ping | Close | Settle
Report = Description | Opened | Closed | Counted | Pinged | Usage | Failed
