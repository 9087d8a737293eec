"""What a peer sends over a WebSocket (RFC 6455), message by message, and the frames that it is sent.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-------+-+-------------+-------------------------------+
    |F|  0  |opcode |M| length 0-125|  or 126 and length in 16 bits,|
    |I|     |       |A| (7 bits)    |  or 127 and length in 64 bits |
    |N|     |       |S|             |                               |
    +-+-+-+-+-------+-+-------------+-------------------------------+
    | masking key (32 bits, from a peer always, to a peer never)    |
    +---------------------------------------------------------------+
    | payload ...                                                   |

No extension is spoken, so that the bits after FIN are 0.
"""

from enum import IntEnum
from typing import NamedTuple

from .codes import CloseCode
from .errors import ProtocolError

MAX_CONTROL_BYTES = 125

MAX_FRAGMENTS = 1024
"""Of one message; empty ones would cost whoever sends them next to nothing."""

_FINAL = 0x80
_MASKED = 0x80
_KEY_BYTES = 4


class Opcode(IntEnum):
    """What a frame carries."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_FINAL_TEXT = _FINAL | Opcode.TEXT
_OPCODES: dict[int, Opcode] = {opcode.value: opcode for opcode in Opcode}


class Received(NamedTuple):
    """A whole message, or a control frame."""

    opcode: Opcode
    payload: bytes


class FrameError(ProtocolError):
    """What came is no WebSocket, or too large; the connection ends with this code."""

    def __init__(self, code: CloseCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class FrameReader:
    """Hands over the messages in what was fed, in order, each once it is whole; holds what was not taken yet.

    Nothing is decoded before it is asked for, so that what it holds is what was fed. A message, of one frame or of
    several, has at most `max_message_bytes`. After an error nothing more can be had.
    """

    __slots__ = ("_at", "_buffer", "_max_message_bytes", "_opcode", "_parts", "_parts_bytes")

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._buffer: bytes | bytearray = b""
        self._at = 0
        self._opcode: Opcode | None = None
        """Of the message that is under way in several frames."""
        self._parts: list[bytes] | None = None
        self._parts_bytes = 0

    @property
    def held_bytes(self) -> int:
        """How much was fed and not handed over."""
        return len(self._buffer) - self._at + self._parts_bytes

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        if self._at == len(self._buffer):
            self._buffer, self._at = data, 0
            return
        if not isinstance(self._buffer, bytearray):
            self._buffer = bytearray(self._buffer)
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def next(self) -> Received | None:
        """Return the next message or control frame, or None until more is fed. Raises `FrameError`."""
        while (frame := self._next_frame()) is not None:
            final, opcode, payload = frame
            if final and opcode is not Opcode.CONTINUATION and self._parts is None:
                return Received(opcode, payload)
            received = self._assemble(final=final, opcode=opcode, payload=payload)
            if received is not None:
                return received
        return None

    def _next_frame(self) -> tuple[bool, Opcode, bytes] | None:
        """Return whether the next frame is final, its opcode and its payload; None while it is not whole."""
        buffer, at = self._buffer, self._at
        available = len(buffer) - at
        if available < 2:
            return None
        first, second = buffer[at], buffer[at + 1]
        opcode = self._check_head(first, second)
        size_bytes, at = second & 0x7F, at + 2
        if size_bytes > MAX_CONTROL_BYTES:
            width = 2 if size_bytes == MAX_CONTROL_BYTES + 1 else 8
            if available < 2 + width:
                return None
            size_bytes = int.from_bytes(buffer[at : at + width])
            if size_bytes < (MAX_CONTROL_BYTES + 1 if width == 2 else 2**16):
                raise FrameError(CloseCode.PROTOCOL_ERROR, "a length that is written longer than it must be")
            at += width
        if size_bytes > self._max_message_bytes - self._parts_bytes:
            raise FrameError(CloseCode.TOO_LARGE, "a message is larger than the limit")
        end = at + _KEY_BYTES + size_bytes
        if end > len(buffer):
            return None
        key, masked = bytes(buffer[at : at + _KEY_BYTES]), buffer[at + _KEY_BYTES : end]
        if end == len(buffer):
            self._buffer, self._at = b"", 0
        else:
            self._at = end
        return first >= _FINAL, opcode, unmasked(masked, key)

    @staticmethod
    def _check_head(first: int, second: int) -> Opcode:
        opcode = _OPCODES.get(first & 0x7F)
        if opcode is None:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "an unknown opcode or extension")
        if second < _MASKED:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a frame that is not masked")
        if opcode >= Opcode.CLOSE and (first < _FINAL or second & 0x7F > MAX_CONTROL_BYTES):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a control frame in fragments, or too long")
        return opcode

    def _assemble(self, *, final: bool, opcode: Opcode, payload: bytes) -> Received | None:
        """Take a fragment, or a control frame between fragments; return the message that it completes."""
        if opcode >= Opcode.CLOSE:
            return Received(opcode, payload)
        if (opcode is Opcode.CONTINUATION) is (self._parts is None):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a continuation of nothing, or one that is missing")
        if self._parts is None:
            self._opcode, self._parts = opcode, []
        if len(self._parts) >= MAX_FRAGMENTS:
            raise FrameError(CloseCode.TOO_LARGE, "a message of too many fragments")
        self._parts.append(payload)
        self._parts_bytes += len(payload)
        if not final:
            return None
        assert self._opcode is not None
        whole = Received(self._opcode, b"".join(self._parts))
        self._opcode, self._parts, self._parts_bytes = None, None, 0
        return whole


def unmasked(payload: bytes | bytearray, key: bytes) -> bytes:
    """Return the payload without its mask, or with it: the same operation (section 5.3)."""
    size_bytes = len(payload)
    repeated = (key * (size_bytes // _KEY_BYTES + 1))[:size_bytes]
    return (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(size_bytes)


def text_header(size_bytes: int) -> bytes:
    """Return what stands before the payload of a text message to a peer."""
    if size_bytes <= MAX_CONTROL_BYTES:
        return bytes((_FINAL_TEXT, size_bytes))
    if size_bytes < 2**16:
        return bytes((_FINAL_TEXT, MAX_CONTROL_BYTES + 1)) + size_bytes.to_bytes(2)
    return bytes((_FINAL_TEXT, MAX_CONTROL_BYTES + 2)) + size_bytes.to_bytes(8)


def control_frame(opcode: Opcode, payload: bytes) -> bytes:
    """Return a control frame to a peer; what is too long for one is cut."""
    cut = payload[:MAX_CONTROL_BYTES]
    return bytes((_FINAL | opcode, len(cut))) + cut


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame; a reason that is too long is cut between characters (sections 5.5 and 5.5.1)."""
    text = reason.encode()[: MAX_CONTROL_BYTES - 2].decode(errors="ignore")
    return control_frame(Opcode.CLOSE, code.to_bytes(2) + text.encode())


def read_close(payload: bytes) -> tuple[int, str]:
    """Return the code and the reason of a close frame. Raises `FrameError` for what may not be sent (7.4)."""
    if not payload:
        return CloseCode.NO_STATUS, ""
    code = int.from_bytes(payload[:2])
    if len(payload) < 2 or not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in (1004, 1005, 1006):
        raise FrameError(CloseCode.PROTOCOL_ERROR, "a close code that may not be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "a close reason that is no UTF-8") from None
