"""The chunks that carry user data (RFC 9260 section 3.3.1, RFC 8260 section 2.1).

DATA                                            I-DATA

    +---------------+---------------+           +---------------+---------------+
    | 0 | . . . . I U B E | length  |           | 64| . . . . I U B E | length  |
    |             TSN               |           |             TSN               |
    |  stream id    |     SSN       |           |  stream id    |   reserved    |
    |   payload protocol id         |           |             MID               |
    |   user data ...               |           |  B: payload protocol id       |
    +-------------------------------+           |  else: fragment number (FSN)  |
                                                |   user data ...               |
                                                +-------------------------------+

B and E mark the first and the last fragment of a message, U one without order, I asks for a SACK at once (RFC 7053).
The fragments of a DATA message have consecutive TSNs, so no other comes between; those of I-DATA messages mix.
"""

from __future__ import annotations

from struct import Struct

DATA_HEADER = Struct("!BBHLHHL")
I_DATA_HEADER = Struct("!BBHLHHLL")

E, B, U, IMMEDIATE = 1, 2, 4, 8
WHOLE = B | E


def data_header_bytes(*, interleaved: bool) -> int:
    """Return how long the header of a DATA chunk is, or that of an I-DATA chunk."""
    return I_DATA_HEADER.size if interleaved else DATA_HEADER.size
