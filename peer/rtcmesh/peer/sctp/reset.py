"""Streams end and begin again (RFC 6525): that is how data channels close.

Outgoing SSN reset request (section 4.1)        Re-configuration response (section 4.4)

    +-------------------------------+           +-------------------------------+
    |   request sequence number     |           |   response sequence number    |
    |   response sequence number    |           |            result             |
    |   last TSN that was assigned  |           +-------------------------------+
    |   stream 1    |   stream 2    | ...
    +-------------------------------+

One request is on its way at a time; it is repeated until it is answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from math import inf
from struct import Struct

from . import parameters
from .chunks import ChunkType, encode_chunk
from .errors import ProtocolError
from .parameters import Cause, Parameter, ParameterType
from .serial import MASK_32, unwrap

MAX_STREAMS_PER_REQUEST = 256

_REQUEST = Struct("!LLL")
_INCOMING = Struct("!L")
_RESPONSE = Struct("!LL")


class Result(IntEnum):
    """How a request was answered."""

    NOTHING_TO_DO = 0
    PERFORMED = 1
    DENIED = 2
    BAD_SEQUENCE_NUMBER = 5
    IN_PROGRESS = 6


class StreamReset:
    """Asks for resets of our streams, and answers those who ask for resets of theirs."""

    def __init__(self, local_initial_tsn: int, remote_initial_tsn: int) -> None:
        self.confirmed: list[int] = []
        """Our streams that the remote end has reset, until they are taken."""
        self.wanted: list[int] = []
        """Our streams that the remote end wants to be reset, until they are taken."""
        self._pending: dict[int, None] = {}
        self._asked: tuple[int, ...] = ()
        self._request = b""
        self._number = local_initial_tsn
        self._remote_number = remote_initial_tsn - 1
        """The last request of the other end."""
        self._remote_result = Result.BAD_SEQUENCE_NUMBER
        """How it was answered."""
        self._responses: list[Parameter] = []
        self._due_at = inf
        self._retransmissions = 0
        self._send_request = False

    def request(self, stream_id: int) -> None:
        """Ask for the reset of one of our streams; nothing of it is on its way any more."""
        self._pending[stream_id] = None

    def chunk(self, last_tsn: int, timeout: float, now: float) -> bytes:
        """Return the RE-CONFIG chunk to send now, or nothing. `last_tsn` is the last one that was sent."""
        if self._pending and not self._asked:
            self._asked = tuple(self._pending)[:MAX_STREAMS_PER_REQUEST]
            for stream_id in self._asked:
                del self._pending[stream_id]
            self._request = _REQUEST.pack(
                self._number & MASK_32, self._remote_number & MASK_32, last_tsn & MASK_32
            ) + Struct(f"!{len(self._asked)}H").pack(*self._asked)
            self._retransmissions, self._send_request = 0, True
        content, self._responses = self._responses, []
        if self._send_request:
            self._send_request = False
            self._due_at = now + timeout * (1 << min(self._retransmissions, 6))
            content = [Parameter(ParameterType.OUTGOING_RESET_REQUEST, self._request), *content][:2]
        return encode_chunk(ChunkType.RE_CONFIG, parameters.encode(content)) if content else b""

    def receive(self, value: bytes, cumulative: int, known: Sequence[int]) -> list[int]:
        """Take a RE-CONFIG chunk. Returns the streams of the other end that are reset by it. Raises `ProtocolError`.

        `cumulative` is what has arrived here, `known` every stream that may be meant when none is named.
        """
        reset: list[int] = []
        for kind, content in parameters.decode(value)[:2]:
            if kind == ParameterType.OUTGOING_RESET_REQUEST:
                reset += self._receive_request(content, cumulative, known)
            elif kind == ParameterType.INCOMING_RESET_REQUEST:
                self._receive_wish(content)
            elif kind == ParameterType.RECONFIGURATION_RESPONSE:
                self._receive_response(content)
            elif kind in (
                ParameterType.ASSOCIATION_RESET_REQUEST,
                ParameterType.ADD_OUTGOING_STREAMS,
                ParameterType.ADD_INCOMING_STREAMS,
            ):
                number = self._number_of(content)
                if self._is_next(number):
                    # Every stream exists from the beginning; TSNs are never reset.
                    adding = kind == ParameterType.ADD_OUTGOING_STREAMS
                    self._answer(number, Result.PERFORMED if adding else Result.DENIED)
        return reset

    def deadline(self) -> float:
        """When `handle_timeout` is due."""
        return self._due_at

    def handle_timeout(self, now: float) -> None:
        """Ask again."""
        if now >= self._due_at:
            self._due_at = inf
            self._retransmissions += 1
            self._send_request = bool(self._asked)

    @property
    def timeouts(self) -> int:
        """How often a request went unanswered, in a row."""
        return self._retransmissions

    def _receive_request(self, content: bytes, cumulative: int, known: Sequence[int]) -> list[int]:
        number = self._number_of(content)
        if len(content) < _REQUEST.size or len(content) % 2:
            raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"a reset request of {len(content)} bytes")
        if not self._is_next(number):
            return []
        _, _, wire_last_tsn = _REQUEST.unpack_from(content)
        if unwrap(wire_last_tsn, cumulative) > cumulative:
            # Section 5.2.2, E2: what was sent before has not all arrived. The request comes again.
            self._responses.append(_response(number, Result.IN_PROGRESS))
            return []
        self._answer(number, Result.PERFORMED)
        streams = Struct(f"!{(len(content) - _REQUEST.size) // 2}H").unpack_from(content, _REQUEST.size)
        return list(streams or known)

    def _receive_wish(self, content: bytes) -> None:
        number = self._number_of(content)
        if self._is_next(number):
            self._answer(number, Result.PERFORMED)
            rest = content[_INCOMING.size :]
            self.wanted += Struct(f"!{len(rest) // 2}H").unpack_from(rest)

    def _receive_response(self, content: bytes) -> None:
        if len(content) < _RESPONSE.size:
            raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"a response of {len(content)} bytes")
        number, result = _RESPONSE.unpack_from(content)
        if not self._asked or number != self._number & MASK_32:
            return
        if result == Result.IN_PROGRESS:
            self._retransmissions = 0
            return
        # Refused or not, there is nothing left to do about it: the channel is over at this end.
        self.confirmed += self._asked
        self._asked, self._request, self._due_at = (), b"", inf
        self._retransmissions = 0
        self._number += 1

    def _is_next(self, number: int) -> bool:
        """Return whether a request is new; one that came before is answered as it was (section 5.2.1)."""
        if number == self._remote_number + 1:
            return True
        repeated = number == self._remote_number
        self._responses.append(
            _response(number, self._remote_result if repeated else Result.BAD_SEQUENCE_NUMBER)
        )
        return False

    def _answer(self, number: int, result: Result) -> None:
        self._remote_number, self._remote_result = number, result
        self._responses.append(_response(number, result))

    def _number_of(self, content: bytes) -> int:
        if len(content) < _INCOMING.size:
            raise ProtocolError(Cause.PROTOCOL_VIOLATION, f"a request of {len(content)} bytes")
        return unwrap(_INCOMING.unpack_from(content)[0], self._remote_number)


def _response(number: int, result: Result) -> Parameter:
    return Parameter(ParameterType.RECONFIGURATION_RESPONSE, _RESPONSE.pack(number & MASK_32, result))
