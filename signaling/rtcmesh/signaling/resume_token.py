"""Resume tokens: which membership a peer had, signed by a server for whichever server it comes back to.

A token is a JSON Web Token (RFC 7519), HS256, under a key that all servers of a room share. Each join gives out
another one; what a peer has presented retires those before it, so a copy is worth nothing after the next resume.
"""

from secrets import token_bytes
from typing import Self

import jwt

from .identity import PeerId

MIN_SECRET_BYTES = 32
MAX_TOKEN_BYTES = 1024

_ALGORITHM = "HS256"
_AUDIENCE = "rtcmesh-resume"


class ResumeKey:
    """The secret that resume tokens are signed with; shown to nobody."""

    def __init__(self, secret: bytes) -> None:
        """Raise `ValueError` for a secret that is too short to be random."""
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"a resume key needs at least {MIN_SECRET_BYTES} bytes")
        self._secret = secret

    @classmethod
    def create(cls) -> Self:
        """Return a new random key."""
        return cls(token_bytes(MIN_SECRET_BYTES))

    def __repr__(self) -> str:
        return "<ResumeKey>"

    def issue(self, *, room: str, epoch: str, peer_id: PeerId, attachment: int) -> str:
        """Return the token of a membership that was attached by this number."""
        claims = {"aud": _AUDIENCE, "sub": peer_id, "room": room, "epoch": epoch, "attachment": attachment}
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def verify(self, token: str, *, room: str, epoch: str, peer_id: PeerId) -> int | None:
        """Return the number of the attachment, or None for a token that is not of this membership. Never raises."""
        if len(token) > MAX_TOKEN_BYTES:
            return None
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=[_ALGORITHM], audience=_AUDIENCE, subject=peer_id
            )
        except (jwt.PyJWTError, ValueError, TypeError, UnicodeError):
            return None
        attachment = claims.get("attachment")
        ours = (claims.get("room"), claims.get("epoch")) == (room, epoch)
        return attachment if ours and type(attachment) is int else None
