"""What the two ends of a virtual stream send each other."""

import enum
from typing import NamedTuple

MAX_SEGMENT_BYTES = 1400
"""The most stream bytes one segment carries, so that it fits an Ethernet frame with room for tunnels."""


class SegmentKind(enum.Enum):
    """What a segment is for."""

    CONNECT = "connect"
    ACCEPT = "accept"
    DATA = "data"
    RESET = "reset"


class Segment(NamedTuple):
    """One piece of a byte stream with the receiver's feedback for the other direction (RFC 9293, simplified)."""

    kind: SegmentKind
    sequence: int = 0
    """The stream position of the first byte of `data`."""
    acknowledgement: int = 0
    """The sender has every byte before this position."""
    window: int = 0
    """How many bytes from `acknowledgement` on the sender has room for."""
    data: bytes = b""
    fin: bool = False
    """The stream ends after `data`; the end itself takes one position."""
