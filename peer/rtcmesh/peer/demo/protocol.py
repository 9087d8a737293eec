"""What the demo and its processes say to each other, in JSON lines.

Each process is given its task as its only argument, gets orders on standard input, and reports on standard output. The
end of standard input is the order to leave, so that no process outlives the demo, however that ends.
"""

from __future__ import annotations

import msgspec


class ServerTask(msgspec.Struct, frozen=True, tag="server"):
    """Run a signaling server with a relay on this port of the loopback interface; 0: on a free one."""

    port: int = 0


class PeerTask(msgspec.Struct, frozen=True, tag="peer"):
    """Join the room and exchange `messages` numbered messages with each of `others` peers."""

    url: str
    room: str
    others: int
    messages: int
    file: str


class Release(msgspec.Struct, frozen=True, tag="release"):
    """Send on until this share of everything, from 0 to 1, is sent."""

    share: float


class Cut(msgspec.Struct, frozen=True, tag="cut"):
    """Lose every datagram of the direct paths to this peer."""

    peer_id: str


class Heal(msgspec.Struct, frozen=True, tag="heal"):
    """Lose no more datagrams."""


class Listening(msgspec.Struct, frozen=True, tag="listening"):
    """The server can be reached."""

    url: str


class Link(msgspec.Struct, frozen=True):
    """What a peer sees of another one."""

    path: str | None
    rtt: float | None
    changes: int
    history: tuple[str, ...]
    """How the peer was reached, one after the other: `relayed`, `direct`, `none`."""
    received: int
    in_order: bool


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far a peer has got."""

    peer_id: str
    sent: int
    links: dict[str, Link]
    file_sha256: str | None
    file_sent_to: str | None
    done: bool


Task = ServerTask | PeerTask
Order = Release | Cut | Heal
Report = Listening | Progress
