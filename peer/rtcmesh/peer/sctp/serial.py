"""Numbers that wrap on the wire and do not in here (RFC 9260 section 1.6, RFC 1982).

Inside, a number is an int without bounds, so that `<` means earlier; serial arithmetic happens once, at the edge.
"""

from __future__ import annotations

MASK_32 = 0xFFFF_FFFF
MASK_16 = 0xFFFF

_HALF = 1 << 31


def unwrap(wire: int, near: int) -> int:
    """Return the number that is `wire` modulo 2**32 and nearest to `near`."""
    return near + ((wire - near + _HALF) & MASK_32) - _HALF
