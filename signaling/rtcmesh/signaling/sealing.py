"""Sealed envelopes between two members of a room: private, authentic, each opened at most once.

The construction, its byte layout and its threat model are in docs/sealing.md.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------------------------------------------------------+
    |                                                               |
    +                     counter (64, big-endian)                  +
    |                                                               |
    +---------------------------------------------------------------+
    |            ciphertext (as long as the plaintext) ...          |
    +---------------------------------------------------------------+
    |                        Poly1305 tag (128)                     |
    +---------------------------------------------------------------+
"""

from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import SignalingError
from .identity import PeerId, framed
from .prekey import KEY_BYTES, InvalidPrekey, LocalPrekey, Prekey

COUNTER_BYTES = 8
TAG_BYTES = 16
OVERHEAD_BYTES = COUNTER_BYTES + TAG_BYTES
"""How much longer a sealed envelope is than its plaintext."""

WINDOW_WIDTH = 1024
"""An envelope is accepted if fewer than this many counters lie between it and the newest one opened."""

_LAST_COUNTER = 2 ** (8 * COUNTER_BYTES) - 1
_NONCE_PREFIX = bytes(4)
_SALT = b"rtcmesh v1 seal"


class SealError(SignalingError):
    """An envelope cannot be sealed or opened."""


class SealExhausted(SealError):
    """Every counter was used: this seal never seals again."""

    def __str__(self) -> str:
        return "every counter of this seal was used"


class ForgedEnvelope(SealError):
    """The remote peer did not seal this for us, with this associated data; or it was altered on its way."""

    def __str__(self) -> str:
        return "the envelope was not sealed by the remote peer"


class ReplayedEnvelope(SealError):
    """The remote peer did seal this, but it was opened before or is too old to tell."""

    def __init__(self, counter: int) -> None:
        super().__init__(counter)
        self.counter = counter

    def __str__(self) -> str:
        return f"envelope {self.counter} was opened before, or is too old to tell"


class ReplayWindow:
    """Tells new counters from used ones, in constant memory (RFC 4303, section 3.4.3; RFC 6479).

    No counter is new after it was marked, nor when it lies `width` or more below the highest one marked.
    """

    __slots__ = ("_bitmap", "_highest", "_width")

    def __init__(self, width: int = WINDOW_WIDTH) -> None:
        self._width = width
        self._highest = -1
        # Bit n stands for the counter n below the highest.
        self._bitmap = 0

    def is_new(self, counter: int) -> bool:
        """Return whether this counter was not marked and is recent enough to be sure of it."""
        age = self._highest - counter
        return age < 0 or (age < self._width and not self._bitmap >> age & 1)

    def mark(self, counter: int) -> None:
        """Make this counter, which is new, a used one."""
        ahead = counter - self._highest
        if ahead > 0:
            # A leap of 2**63 must not become a shift of 2**63.
            kept = (self._bitmap << ahead) & (1 << self._width) - 1 if ahead < self._width else 0
            self._bitmap = kept | 1
            self._highest = counter
        else:
            self._bitmap |= 1 << -ahead


class PairSeal:
    """Seals envelopes for one remote member and opens the ones it sealed for us.

    What `open` returns was sealed by the holder of the remote prekey, for us, for this room and purpose,
    with the same room secret and associated data, and is returned once. Envelopes may be lost, and arrive in
    any order within a window of 1,024. Copying or pickling raises `TypeError`; only one thread may use it.
    """

    __slots__ = ("_next_counter", "_opening", "_sealing", "_window")

    def __init__(self, *, sealing_key: bytes, opening_key: bytes) -> None:
        self._sealing = ChaCha20Poly1305(sealing_key)
        self._opening = ChaCha20Poly1305(opening_key)
        self._next_counter = 0
        self._window = ReplayWindow()

    @classmethod
    def derive(
        cls,
        local_peer_id: PeerId,
        local_prekey: LocalPrekey,
        remote_peer_id: PeerId,
        remote_prekey: Prekey,
        *,
        room: str,
        secret: bytes | None = None,
        purpose: str = "signal",
    ) -> "PairSeal":
        """Return the seal that fits the one which the remote member derives from the other halves.

        The two fit only if both sides agree on both peer ids, both prekeys, the room, the purpose and the
        room secret (or on having none). A secret must be as hard to guess as a key: see docs/sealing.md.

        Raises `InvalidPrekey` if the remote prekey is not one of this peer for this room, or the remote peer
        is the local one; `PrekeyReused` if the local prekey derived this seal before, since two seals with
        the same keys would repeat each other's nonces; `ValueError` for an empty secret.
        """
        if secret is not None and not secret:
            raise ValueError("a room secret must not be empty; None means that there is none")
        if remote_peer_id == local_peer_id:
            # The two would have the same place in the order below, and with it the same sealing key.
            raise InvalidPrekey(remote_peer_id, "belongs to the local peer itself")
        shared = local_prekey.agree(remote_peer_id, remote_prekey, room=room, purpose=purpose)
        local = (local_peer_id.encode(), local_prekey.public.key)
        remote = (remote_peer_id.encode(), remote_prekey.key)
        lower, higher = sorted((local, remote))
        info = framed(purpose.encode(), room.encode(), *lower, *higher)
        by_lower, by_higher = _direction_keys(shared, secret, info)
        if local == lower:
            return cls(sealing_key=by_lower, opening_key=by_higher)
        return cls(sealing_key=by_higher, opening_key=by_lower)

    def seal(self, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        """Return the plaintext sealed for the remote member, `OVERHEAD_BYTES` longer.

        The associated data is not in the envelope, but `open` needs the same. No counter is used twice: after
        2**64 envelopes it raises `SealExhausted`.
        """
        if self._next_counter > _LAST_COUNTER:
            raise SealExhausted
        counter = self._next_counter.to_bytes(COUNTER_BYTES, "big")
        self._next_counter += 1
        return counter + self._sealing.encrypt(_NONCE_PREFIX + counter, plaintext, associated_data)

    def open(self, sealed: bytes, associated_data: bytes = b"") -> bytes:
        """Return the plaintext that the remote member sealed, the first time it is seen.

        Raises `ForgedEnvelope` for any other bytes, and `ReplayedEnvelope` for an authentic envelope that was
        opened before or is older than the window. A refused envelope changes nothing.
        """
        counter, ciphertext = sealed[:COUNTER_BYTES], sealed[COUNTER_BYTES:]
        if len(ciphertext) < TAG_BYTES:
            raise ForgedEnvelope
        try:
            plaintext = self._opening.decrypt(_NONCE_PREFIX + counter, ciphertext, associated_data)
        except InvalidTag:
            raise ForgedEnvelope from None
        number = int.from_bytes(counter, "big")
        if not self._window.is_new(number):
            raise ReplayedEnvelope(number)
        self._window.mark(number)
        return plaintext

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PairSeal holds keys and counters and is neither copied nor pickled")


def _direction_keys(shared: bytes, secret: bytes | None, info: bytes) -> tuple[bytes, bytes]:
    """Return what the lower peer id seals with and what the higher one does (HKDF, RFC 5869)."""
    material = framed(shared) if secret is None else framed(shared, secret)
    keys = HKDF(algorithm=SHA256(), length=2 * KEY_BYTES, salt=_SALT, info=info).derive(material)
    return keys[:KEY_BYTES], keys[KEY_BYTES:]
