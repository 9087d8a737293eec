"""What a peer sends up where WebSockets are blocked: one POST at a time, numbered, so that a repeated one is known.

    {"connection": "...", "sequence": 1}         the head, on a line of its own
    {"type": "join", ...}                        frames, one a line
    {"type": "signal", ...}

The body is `text/plain`, which a page of an allowed origin may send without asking first (Fetch section 4.8).
"""

import hmac
from enum import Enum, auto
from typing import Annotated, Self, TypeVar

import msgspec
from msgspec import Meta, Struct

from .errors import ProtocolError

SECRET_BYTES = 32

Kind = TypeVar("Kind", bound=Struct)

_CODE = Annotated[int, Meta(ge=1000, le=4999)]


class Close(Struct, frozen=True, kw_only=True):
    """The end of a connection, in either direction."""

    code: _CODE
    reason: Annotated[str, Meta(max_length=1024)] = ""


class Opened(Struct, frozen=True, kw_only=True):
    """The first event down: the name of the connection, which is its key as well."""

    connection: str


class PostHead(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The first line of a POST."""

    connection: Annotated[str, Meta(max_length=1024)]
    sequence: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    close: Close | None = None


class Post(Struct, frozen=True):
    """A whole POST."""

    head: PostHead
    frames: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Return the body."""
        return b"\n".join([msgspec.json.encode(self.head), *self.frames])

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Return what a body says; raise `ProtocolError` for anything else than a POST."""
        head, *frames = body.split(b"\n")
        return cls(decode_json(head, PostHead), tuple(frame for frame in frames if frame))


def decode_json(data: bytes, kind: type[Kind]) -> Kind:
    """Return a struct of this kind; raise `ProtocolError` for other bytes."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ProtocolError(f"not a {kind.__name__}: {error}") from error


class Turn(Enum):
    """What a sequence number is to whoever receives it."""

    NEXT = auto()
    REPEATED = auto()
    OUT_OF_TURN = auto()


class Turns:
    """Takes each POST of a connection once and in order, however often it arrives."""

    def __init__(self) -> None:
        self._last = 0

    def is_next(self, sequence: int) -> bool:
        """Whether `take` would take it."""
        return sequence == self._last + 1

    def take(self, sequence: int) -> Turn:
        """Say what this number is; the next one is taken with it."""
        if self.is_next(sequence):
            self._last = sequence
            return Turn.NEXT
        return Turn.REPEATED if sequence == self._last else Turn.OUT_OF_TURN


class ConnectionNames:
    """Names of connections that say, to every server with the same secret, which server has them.

    A name is a random key and the URL of its server, signed, so that nobody can make a server ask another address.
    """

    def __init__(self, secret: bytes, url: str) -> None:
        self._secret = secret
        self._url = url

    def name(self, key: bytes) -> str:
        """Return the name of a connection of this server."""
        return f"{key.hex()}.{self._sign(key.hex(), self._url)}.{self._url}"

    def server_of(self, connection: str) -> str | None:
        """Return the URL of the server that has a connection; None for a name that no server of ours has given."""
        key, _, rest = connection.partition(".")
        signature, _, url = rest.partition(".")
        genuine = hmac.compare_digest(signature.encode(), self._sign(key, url).encode())
        return url if genuine and url else None

    def _sign(self, key: str, url: str) -> str:
        return hmac.digest(self._secret, f"rtcmesh-post {key} {url}".encode(), "sha256").hex()
