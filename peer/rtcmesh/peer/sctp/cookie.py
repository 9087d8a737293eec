"""The state cookie (RFC 9260 section 5.1.3): what an INIT said, kept by the end that said it.

     0                                                              8
    +---------------------------------------------------------------+
    |                     created at (seconds)                      |
    +-------------------------------+-------------------------------+
    |           local tag           |           remote tag          |
    |        local tie-tag          |        remote tie-tag         |
    |       local initial TSN       |       remote initial TSN      |
    |         remote window         |  remote out   |  remote in    |
    |   extensions of the remote    |
    +-------------------------------+-------------------------------+
    |           HMAC-SHA256 over all of it, with a key of this association           |
    +---------------------------------------------------------------+

The tie-tags are those of the association that exists when the cookie is made, or zero: they tell a restart of the
remote end from an old cookie (RFC 9260 section 5.2.4).
"""

from __future__ import annotations

import hashlib
import hmac
from struct import Struct
from typing import NamedTuple

_LAYOUT = Struct("!dLLLLLLLHHL")
_DIGEST_BYTES = 32


class Cookie(NamedTuple):
    """Everything that is needed to become an association."""

    created_at: float
    local_tag: int
    remote_tag: int
    local_tie_tag: int
    remote_tie_tag: int
    local_initial_tsn: int
    remote_initial_tsn: int
    remote_window: int
    remote_outbound_streams: int
    remote_inbound_streams: int
    extensions: int

    def encode(self, key: bytes) -> bytes:
        """Return the cookie, signed."""
        content = _LAYOUT.pack(*self)
        return content + _sign(content, key)


def decode(value: bytes, key: bytes) -> Cookie | None:
    """Return a cookie that was made with this key, or None: then it is forged, damaged, or somebody else's."""
    content, digest = value[: _LAYOUT.size], value[_LAYOUT.size :]
    if len(content) != _LAYOUT.size or not hmac.compare_digest(digest, _sign(content, key)):
        return None
    return Cookie(*_LAYOUT.unpack(content))


def _sign(content: bytes, key: bytes) -> bytes:
    return hmac.digest(key, content, hashlib.sha256)
