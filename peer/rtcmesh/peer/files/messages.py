"""What the sender and the receiver of files say to each other, on two reliable channels.

    sender   -> Offer{files}                      who they are, how long, and their SHA-256
    receiver -> Accept{offsets} | Failed          from where on each of them is wanted
    sender   -> bytes, on the data channel        the files one after the other, each from its offset
    receiver -> Placed{index} | Failed            one after the other; verified, and under its name

`Failed` ends a transfer in either direction. The data has a channel of its own, which alone waits for the receiver's
disk.
"""

from __future__ import annotations

from typing import Annotated, cast

import msgspec

from rtcmesh.peer.channel import Channel
from rtcmesh.peer.delivery import Priority
from rtcmesh.peer.mesh import Mesh

CONTROL_LABEL = "rtcmesh.files"
DATA_LABEL = "rtcmesh.files.data"
PART_BYTES = 64 * 1024
"""How much of a file one message carries."""

MAX_FILES = 1000
MAX_REASON_LENGTH = 1000
MAX_NAME_BYTES = 200
"""What every file system takes, with room for the name of the partial file."""

PRESENCE = {"receives": "files"}
"""The presence by which a receiver is known."""

_Count = Annotated[int, msgspec.Meta(ge=0)]


class FileInfo(msgspec.Struct, frozen=True):
    """A file as it is announced."""

    name: str
    size: _Count
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Offer(msgspec.Struct, frozen=True, tag="offer"):
    """These files are there to be had."""

    files: Annotated[tuple[FileInfo, ...], msgspec.Meta(min_length=1, max_length=MAX_FILES)]


class Accept(msgspec.Struct, frozen=True, tag="accept"):
    """Send them, each from this offset on; one that is here already has its size as offset."""

    offsets: tuple[_Count, ...]


class Placed(msgspec.Struct, frozen=True, tag="placed"):
    """The file at this index is verified, and has its name."""

    index: _Count


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The transfer is over without success."""

    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON_LENGTH)]


Control = Offer | Accept | Placed | Failed


def control_channel(mesh: Mesh) -> Channel[Control]:
    """Return the channel for everything but the data."""
    return mesh.channel(CONTROL_LABEL, type=cast("type[Control]", Control))


def data_channel(mesh: Mesh) -> Channel[bytes]:
    """Return the channel for the data."""
    return mesh.channel(DATA_LABEL, type=bytes, priority=Priority.BULK)


def objection_to(name: str) -> str | None:
    """Say why a file of this name is neither sent nor received; None for a name that is harmless everywhere."""
    if name in {"", ".", ".."} or "/" in name or "\\" in name:
        return "is not the name of a file"
    if name.startswith("."):
        return "is the name of a hidden file"
    if not name.isprintable():
        return "has characters that cannot be shown"
    if len(name.encode(errors="replace")) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    return None
