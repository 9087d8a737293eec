"""Tickets for relays: what a signaling server says of a member, for a relay that knows nobody.

A ticket is a JSON Web Token (RFC 7519), HS256, under a key that the signaling servers and the relays share.
"""

from dataclasses import dataclass
from secrets import token_bytes
from typing import Self

import jwt

from .errors import SignalingError
from .identity import PeerId

MIN_SECRET_BYTES = 32
MAX_TICKET_BYTES = 4096

_ALGORITHM = "HS256"
_AUDIENCE = "rtcmesh-relay"


class InvalidTicket(SignalingError):
    """A ticket is forged, expired, or not a ticket at all."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TicketKey:
    """The secret that tickets are signed with; shown to nobody."""

    def __init__(self, secret: bytes) -> None:
        """Use `create` or `from_secret`."""
        self.secret = secret

    @classmethod
    def create(cls) -> Self:
        """Return a new random key."""
        return cls(token_bytes(MIN_SECRET_BYTES))

    @classmethod
    def from_secret(cls, secret: bytes) -> Self:
        """Return the key of a shared secret. Raises `ValueError` for one that is too short to be random."""
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"a ticket key needs at least {MIN_SECRET_BYTES} bytes")
        return cls(secret)

    def __repr__(self) -> str:
        return "<TicketKey>"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """Who may use a relay, in which room, until when and how much."""

    room: str
    peer_id: PeerId
    expires_at: float
    """Unix time in seconds."""
    bytes_per_second: int | None = None
    max_queue_bytes: int | None = None


def issue(key: TicketKey, ticket: Ticket) -> str:
    """Return the ticket as text."""
    claims: dict[str, object] = {
        "aud": _AUDIENCE,
        "sub": ticket.peer_id,
        "room": ticket.room,
        "exp": ticket.expires_at,
    }
    if ticket.bytes_per_second is not None:
        claims["rate"] = ticket.bytes_per_second
    if ticket.max_queue_bytes is not None:
        claims["queue"] = ticket.max_queue_bytes
    return jwt.encode(claims, key.secret, algorithm=_ALGORITHM)


def verify(key: TicketKey, token: str, *, now: float) -> Ticket:
    """Return what a ticket says. Raises `InvalidTicket` and nothing else, whatever the text."""
    if len(token) > MAX_TICKET_BYTES:
        raise InvalidTicket("too long")
    try:
        claims = jwt.decode(
            token,
            key.secret,
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            options={"verify_exp": False, "require": ["exp", "sub", "room"]},
        )
        ticket = Ticket(
            room=str(claims["room"]),
            peer_id=PeerId(str(claims["sub"])),
            expires_at=float(claims["exp"]),
            bytes_per_second=claims.get("rate"),
            max_queue_bytes=claims.get("queue"),
        )
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnicodeError) as error:
        raise InvalidTicket(str(error)) from error
    if now >= ticket.expires_at:
        raise InvalidTicket("expired")
    return ticket
