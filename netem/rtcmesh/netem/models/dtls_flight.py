"""Which flight of a DTLS handshake a datagram belongs to (RFC 6347, section 4.2.4), seen from one direction.

record      | type | version | epoch | sequence | length | fragment ...
              1      2         2       6          2
handshake   | type | length | message number | offset | length | ...
              1      3        2                3        3
"""

from bisect import bisect_right
from collections.abc import Iterator

MAX_FLIGHTS = 8
"""A handshake has three flights each way; what comes after so many counts as the last."""

_RECORD_HEADER_BYTES = 13
_MESSAGE_HEADER_BYTES = 12
_HANDSHAKE = 22

_ENDS_OF_FLIGHTS = {1, 3, 14}
"""ClientHello, HelloVerifyRequest and ServerHelloDone: whoever sent one waits for an answer."""


class DtlsFlights:
    """Numbers the flights that one end sends to the other, from 1 on; a repeated one keeps its number.

    A flight begins with the first message, or ChangeCipherSpec, that is sent after the end of the one before. That is
    DTLS 1.2 and before: of a DTLS 1.3 handshake the hellos alone can be seen.
    """

    def __init__(self) -> None:
        self._first_messages = [0]
        """The number of the first message of each flight."""
        self._highest = -1
        self._is_complete = False

    def number_of(self, datagram: bytes) -> int:
        """Return the number of the flight."""
        messages = list(_messages_of(datagram))
        if not messages:  # ChangeCipherSpec and what is encrypted has no number that could be read
            if self._is_complete:
                self._begin(self._highest + 1)
            return len(self._first_messages)
        number, _ = messages[0]
        if number > self._highest and self._is_complete:
            self._begin(number)
        for later, kind in messages:
            if later >= self._highest:
                self._highest = later
                self._is_complete = kind in _ENDS_OF_FLIGHTS
        return max(1, bisect_right(self._first_messages, number))

    def _begin(self, message: int) -> None:
        self._is_complete = False
        self._highest = message
        if len(self._first_messages) < MAX_FLIGHTS:
            self._first_messages.append(message)


def _messages_of(datagram: bytes) -> Iterator[tuple[int, int]]:
    """Return number and type of the messages, or fragments of them, that are not encrypted."""
    at = 0
    while at + _RECORD_HEADER_BYTES <= len(datagram):
        epoch = datagram[at + 3 : at + 5]
        length = int.from_bytes(datagram[at + 11 : at + 13])
        at += _RECORD_HEADER_BYTES
        if datagram[at - _RECORD_HEADER_BYTES] == _HANDSHAKE and epoch == b"\0\0":
            yield from _messages_in(datagram[at : at + length])
        at += length


def _messages_in(record: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at + _MESSAGE_HEADER_BYTES <= len(record):
        yield int.from_bytes(record[at + 4 : at + 6]), record[at]
        at += _MESSAGE_HEADER_BYTES + int.from_bytes(record[at + 9 : at + 12])
