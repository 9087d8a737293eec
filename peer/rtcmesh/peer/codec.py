"""What an application hands over, as bytes: one kind byte and the body.

 0               1
+---------------+-----------------------------
| kind (0..2)   | body ...
+---------------+-----------------------------

kind 0: bytes as they are;  1: str in UTF-8;  2: msgpack
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from .errors import NotDecodable, NotEncodable

_BYTES, _TEXT, _MSGPACK = b"\x00", b"\x01", b"\x02"


def encode(value: object) -> bytes:
    """Return the payload that carries `value`. Raises `NotEncodable` when msgpack has no form for it."""
    match value:
        case bytes() | bytearray():
            return _BYTES + value
        case memoryview():
            return _BYTES + value.tobytes()
        case str():
            return _encode_text(value)
        case _:
            try:
                return _MSGPACK + msgspec.msgpack.encode(value)
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                raise NotEncodable(f"cannot carry a {type(value).__name__}: {error}") from error


def _encode_text(value: str) -> bytes:
    try:
        return _TEXT + value.encode()
    except UnicodeEncodeError as error:
        raise NotEncodable(f"cannot carry this text: {error}") from error


def decoder(expected: object = Any) -> Callable[[bytes], object]:
    """Return a function from payload to value, checked against the type `expected`.

    Without a type, the value comes back as what was sent: bytes, str, or plain msgpack values. With one, the value is
    converted and validated by msgspec. The function raises `NotDecodable` and nothing else, whatever the bytes.
    """
    unpack: msgspec.msgpack.Decoder[object] = msgspec.msgpack.Decoder(cast("type[object]", expected))
    anything = expected is Any

    def decode(payload: bytes) -> object:
        kind, body = payload[:1], payload[1:]
        try:
            if kind == _BYTES:
                return body if anything or expected is bytes else _checked(body, expected)
            if kind == _MSGPACK:
                return unpack.decode(body)
            if kind == _TEXT:
                return _checked(body.decode(), expected)
        except Exception as error:
            # An application's type may run code of its own, such as __post_init__, on what a stranger sent.
            raise NotDecodable(f"{type(error).__name__}: {error}") from error
        raise NotDecodable(f"unknown kind of payload {kind!r}")

    return decode


def _checked(value: str | bytes, expected: object) -> object:
    return (
        value
        if expected is Any or expected is type(value)
        else msgspec.convert(value, cast("type[object]", expected))
    )


decode_any = decoder()
"""Return what any payload carries, untyped."""
