"""What two peers say to each other while they negotiate a transport, as it travels inside sealed envelopes.

Every attempt at a path has a number, counted by the offering peer from 1 within one pair of memberships. A message
that names another attempt than the current one is stale (or newer) and is recognised as such, whatever the signaling
server delayed, lost or reordered.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from rtcmesh.peer.errors import ProtocolViolation

_Attempt = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Description = Annotated[str, msgspec.Meta(max_length=32_768)]
_Candidate = Annotated[str, msgspec.Meta(max_length=1_024)]


class _Signal(msgspec.Struct, frozen=True, tag_field="t"):
    attempt: _Attempt


class Offer(_Signal, frozen=True, tag="offer"):
    """The session description that starts an attempt (RFC 8829)."""

    sdp: _Description


class Answer(_Signal, frozen=True, tag="answer"):
    """The session description that accepts the offer of the same attempt."""

    sdp: _Description


class Candidate(_Signal, frozen=True, tag="candidate"):
    """An ICE candidate found after the description was sent (RFC 8838)."""

    candidate: _Candidate


class Redial(_Signal, frozen=True, tag="redial"):
    """The answering peer asks for an attempt newer than `attempt`, the last one it knows (0: none)."""


class Abandon(_Signal, frozen=True, tag="abandon"):
    """The sender gave the attempt up; waiting for it is in vain."""


Signal = Offer | Answer | Candidate | Redial | Abandon

_decoder: msgspec.msgpack.Decoder[Signal] = msgspec.msgpack.Decoder(Signal)


def encode(signal: Signal) -> bytes:
    """Return the bytes to be sealed."""
    return msgspec.msgpack.encode(signal)


def decode(data: bytes) -> Signal:
    """Return the signal that `data` carries. Raises `ProtocolViolation` and nothing else, whatever the bytes."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolViolation("bad_signal", str(error)) from error
