"""The keys of one membership: made for it, vouched for by the identity, gone with it."""

from typing import NoReturn

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from .identity import Identity, IdentityError, InvalidPeerId, InvalidSignature, PeerId, short, verify

KEY_BYTES = 32
_PREKEY_CONTEXT = "rtcmesh v1 prekey"
_JOIN_CONTEXT = "rtcmesh v1 join"


class InvalidPrekey(IdentityError):
    """This prekey must not be used with this peer."""

    def __init__(self, peer_id: PeerId, reason: str) -> None:
        super().__init__(peer_id, reason)
        self.peer_id = peer_id
        self.reason = reason

    def __str__(self) -> str:
        return f"the prekey of {short(self.peer_id)} {self.reason}"


class Prekey(msgspec.Struct, frozen=True):
    """The public half of a membership's key, as it travels: believe it after `verify_prekey` only."""

    key: bytes
    """An X25519 public key (RFC 7748), 32 bytes."""

    signature: bytes
    """By the peer's identity, over the room and the key."""


class LocalPrekey:
    """The private half of a membership's key.

    It lives in memory only: it is not in the `repr`, and copying or pickling raises `TypeError`. Make a new
    one for each membership and drop it, and the seals derived from it, when the membership ends.
    """

    __slots__ = ("_private_key", "_public")

    def __init__(self, identity: Identity, room: str, private_key: X25519PrivateKey) -> None:
        key = private_key.public_key().public_bytes_raw()
        self._private_key = private_key
        self._public = Prekey(key, identity.sign(_PREKEY_CONTEXT, room.encode(), key))

    @classmethod
    def create(cls, identity: Identity, room: str) -> "LocalPrekey":
        """Return a new prekey for one membership of this room, from the operating system's randomness."""
        return cls(identity, room, X25519PrivateKey.generate())

    @property
    def public(self) -> Prekey:
        """The half to publish."""
        return self._public

    def agree(self, remote_peer_id: PeerId, remote_prekey: Prekey, room: str) -> bytes:
        """Return the secret that only the two holders of these prekeys can compute.

        Raises `InvalidPrekey` if the remote prekey was not signed by this peer for this room or has no secret
        to share.
        """
        verify_prekey(remote_peer_id, remote_prekey, room)
        try:
            return self._private_key.exchange(X25519PublicKey.from_public_bytes(remote_prekey.key))
        except ValueError:
            # RFC 7748, section 6.1: a point of small order gives zero, a "secret" that everybody knows.
            raise InvalidPrekey(remote_peer_id, "is a point of small order") from None

    def __repr__(self) -> str:
        return f"<LocalPrekey {self._public.key.hex()[:8]}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LocalPrekey holds a private key and is neither copied nor pickled")


def verify_prekey(peer_id: PeerId, prekey: Prekey, room: str) -> None:
    """Return if this peer signed this prekey for this room; raise `InvalidPrekey` if not, or if the id is none."""
    if len(prekey.key) != KEY_BYTES:
        raise InvalidPrekey(peer_id, f"is {len(prekey.key)} bytes long instead of {KEY_BYTES}")
    try:
        verify(peer_id, prekey.signature, _PREKEY_CONTEXT, room.encode(), prekey.key)
    except (InvalidSignature, InvalidPeerId):
        raise InvalidPrekey(peer_id, "is not signed by this peer for this room") from None


def sign_join(identity: Identity, *, nonce: bytes, room: str, prekey: Prekey) -> bytes:
    """Return the proof that the holder of this identity wants to join this room, with this prekey, now."""
    return identity.sign(_JOIN_CONTEXT, nonce, room.encode(), prekey.key)


def verify_join(peer_id: PeerId, proof: bytes, *, nonce: bytes, room: str, prekey: Prekey) -> None:
    """Return if the holder of this peer id answered this nonce and vouches for this prekey in this room.

    Raises `InvalidPrekey` or `InvalidSignature`, each an `IdentityError`. The nonce must be
    fresh and used once: nothing else keeps an old proof from being shown again.
    """
    verify_prekey(peer_id, prekey, room)
    verify(peer_id, proof, _JOIN_CONTEXT, nonce, room.encode(), prekey.key)
