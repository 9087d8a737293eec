"""Server-sent events (WHATWG HTML section 9.2): the frames of a connection on their way down, and what bounds them.

: padding                                    a comment; some proxies hold back the first kilobytes of an answer
event: open
data: {"connection": "..."}                  what each POST of the peer has to name

data: {"type": "challenge", ...}             one frame
data: {"type": "welcome", ...}

event: close
data: {"code": 4010, "reason": "shutting_down"}
"""

from typing import NamedTuple

from .errors import ProtocolError

PADDING_BYTES = 2048
MESSAGE = "message"

_PADDING = b":" + b" " * PADDING_BYTES + b"\n\n"


class Event(NamedTuple):
    """One event: its name, `message` unless it has another, and its data."""

    name: str
    data: bytes


def encode_event(data: bytes, name: str = MESSAGE) -> bytes:
    """Return an event as it is sent; raise `ProtocolError` for data of more than one line."""
    if b"\n" in data or b"\r" in data:
        raise ProtocolError("a frame of more than one line")
    head = b"" if name == MESSAGE else b"event: " + name.encode() + b"\n"
    return head + b"data: " + data + b"\n\n"


def padding() -> bytes:
    """Return what begins a stream."""
    return _PADDING


class EventStream:
    """Reads events from pieces of any size; data of several lines, comments and unknown fields are understood.

    A line or an event of more than `max_bytes` raises `ProtocolError`.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._name = MESSAGE
        self._lines: list[bytes] = []
        self._event_bytes = 0

    def feed(self, piece: bytes) -> list[Event]:
        """Take the next bytes and return the events that are complete."""
        searched = len(self._rest)
        self._rest += piece
        events: list[Event] = []
        start = 0
        while (end := self._rest.find(b"\n", max(start, searched))) >= 0:
            line = bytes(self._rest[start:end]).removesuffix(b"\r")
            start = end + 1
            event = self._take(line)
            if event is not None:
                events.append(event)
        del self._rest[:start]
        if len(self._rest) + self._event_bytes > self._max_bytes:
            raise ProtocolError("an event is larger than the limit")
        return events

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._event_bytes += len(value) + 1
            if self._event_bytes > self._max_bytes:
                raise ProtocolError("an event is larger than the limit")
            self._lines.append(value)
        elif field == b"event":
            self._name = value.decode(errors="replace")
        return None

    def _dispatch(self) -> Event | None:
        name, lines = self._name, self._lines
        self._name, self._lines, self._event_bytes = MESSAGE, [], 0
        return Event(name, b"\n".join(lines)) if lines else None
