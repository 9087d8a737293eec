"""Sealed envelopes between two members of a room: private, authentic, each opened at most once.

The construction, its byte layout and its threat model are in docs/sealing.md.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------------------------------------------------------+
    |                          salt (128)                           |
    +---------------------------------------------------------------+
    |                    counter (64, big-endian)                   |
    +---------------------------------------------------------------+
    |            ciphertext (as long as the plaintext) ...          |
    +---------------------------------------------------------------+
    |                        Poly1305 tag (128)                     |
    +---------------------------------------------------------------+
"""

import os
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import SignalingError
from .identity import PeerId, framed
from .prekey import KEY_BYTES, InvalidPrekey, LocalPrekey, Prekey

SALT_BYTES = 16
COUNTER_BYTES = 8
TAG_BYTES = 16
OVERHEAD_BYTES = SALT_BYTES + COUNTER_BYTES + TAG_BYTES
"""How much longer a sealed envelope is than its plaintext."""

WINDOW_WIDTH = 1024
"""An envelope is accepted if fewer than this many counters lie between it and the newest one opened."""

MAX_REMOTE_INSTANCES = 64
"""Of how many instances of the remote member's seal a local one opens envelopes, and remembers which it opened."""

_HEADER_BYTES = SALT_BYTES + COUNTER_BYTES
_LAST_COUNTER = 2 ** (8 * COUNTER_BYTES) - 1
_NONCE_PREFIX = bytes(4)
_DIRECTION_SALT = b"rtcmesh v1 seal"
_INSTANCE_INFO = b"rtcmesh v1 instance"


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


class TooManyInstances(SealError):
    """The remote peer did seal this, but with more instances of its seal than a local one opens envelopes of."""

    def __str__(self) -> str:
        return f"the envelope is of instance {MAX_REMOTE_INSTANCES + 1} of the remote seal, or a later one"


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


class _RemoteInstance:
    """One of the seals that the remote member derived: what opens its envelopes, and which were opened."""

    __slots__ = ("cipher", "window")

    def __init__(self, cipher: ChaCha20Poly1305) -> None:
        self.cipher = cipher
        self.window = ReplayWindow()


class PairSeal:
    """Seals envelopes for one remote member and opens the ones it sealed for us.

    What `open` returns was sealed by the holder of the remote prekey, for us, for this room and purpose, with the
    same room secret and associated data, and this object returns it once. Envelopes may be lost, and arrive in any
    order within a window of 1,024. Deriving a seal again, at either end, is safe: each instance has a random salt
    and with it a key of its own. Copying or pickling raises `TypeError`; only one thread may use it.
    """

    __slots__ = ("_next_counter", "_opening_secret", "_remote_instances", "_salt", "_sealing")

    def __init__(self, *, sealing_secret: bytes, opening_secret: bytes, salt: bytes) -> None:
        self._sealing = _cipher(sealing_secret, salt)
        self._opening_secret = opening_secret
        self._salt = salt
        self._next_counter = 0
        # By salt, in the order in which they were first authenticated. None is ever forgotten: it could be replayed.
        self._remote_instances: dict[bytes, _RemoteInstance] = {}

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
        salt: bytes | None = None,
    ) -> "PairSeal":
        """Return a seal that fits the ones which the remote member derives from the other halves.

        Two fit only if both sides agree on both peer ids, both prekeys, the room, the purpose and the room secret
        (or on having none). A secret must be as hard to guess as a key: see docs/sealing.md. The salt is for known
        answers alone; without one it is random, and only then may a seal be derived again.

        Raises `InvalidPrekey` if the remote prekey is not one of this peer for this room, or the remote peer is the
        local one, and `ValueError` for an empty secret or a salt that is not 16 bytes long.
        """
        if secret is not None and not secret:
            raise ValueError("a room secret must not be empty; None means that there is none")
        if salt is not None and len(salt) != SALT_BYTES:
            raise ValueError(f"a salt must be {SALT_BYTES} bytes long")
        if remote_peer_id == local_peer_id:
            raise InvalidPrekey(remote_peer_id, "belongs to the local peer itself")
        shared = local_prekey.agree(remote_peer_id, remote_prekey, room)
        material = framed(shared) if secret is None else framed(shared, secret)
        context = (purpose.encode(), room.encode())
        local = (local_peer_id.encode(), local_prekey.public.key)
        remote = (remote_peer_id.encode(), remote_prekey.key)
        return cls(
            sealing_secret=_hkdf(material, _DIRECTION_SALT, framed(*context, *local, *remote)),
            opening_secret=_hkdf(material, _DIRECTION_SALT, framed(*context, *remote, *local)),
            salt=os.urandom(SALT_BYTES) if salt is None else salt,
        )

    @property
    def remote_salt(self) -> bytes | None:
        """The salt of the remote instance that appeared last, by its first opened envelope; None before the first.

        It changes when the remote member derived its seal again, and so forgot what was said before. A late envelope
        of an instance that appeared earlier does not change it.
        """
        return next(reversed(self._remote_instances), None)

    def seal(self, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        """Return the plaintext sealed for the remote member, `OVERHEAD_BYTES` longer.

        The associated data is not in the envelope, but `open` needs the same. No counter is used twice: after 2**64
        envelopes it raises `SealExhausted`.
        """
        if self._next_counter > _LAST_COUNTER:
            raise SealExhausted
        counter = self._next_counter.to_bytes(COUNTER_BYTES, "big")
        self._next_counter += 1
        ciphertext = self._sealing.encrypt(_NONCE_PREFIX + counter, plaintext, associated_data)
        return self._salt + counter + ciphertext

    def open(self, sealed: bytes, associated_data: bytes = b"") -> bytes:
        """Return the plaintext that the remote member sealed, the first time it is seen.

        Raises `ForgedEnvelope` for any other bytes. For an authentic envelope it raises `ReplayedEnvelope` if it was
        opened before or is older than the window, and `TooManyInstances` if it is of one instance more than
        `MAX_REMOTE_INSTANCES`. A refused envelope changes nothing.
        """
        if len(sealed) < OVERHEAD_BYTES:
            raise ForgedEnvelope
        salt, counter = sealed[:SALT_BYTES], sealed[SALT_BYTES:_HEADER_BYTES]
        known = self._remote_instances.get(salt)
        instance = known or _RemoteInstance(_cipher(self._opening_secret, salt))
        try:
            plaintext = instance.cipher.decrypt(
                _NONCE_PREFIX + counter, sealed[_HEADER_BYTES:], associated_data
            )
        except InvalidTag:
            raise ForgedEnvelope from None
        number = int.from_bytes(counter, "big")
        if not instance.window.is_new(number):
            raise ReplayedEnvelope(number)
        if known is None and len(self._remote_instances) >= MAX_REMOTE_INSTANCES:
            raise TooManyInstances
        instance.window.mark(number)
        self._remote_instances[salt] = instance
        return plaintext

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PairSeal holds keys and counters and is neither copied nor pickled")


def _cipher(direction_secret: bytes, salt: bytes) -> ChaCha20Poly1305:
    """Return what the instance with this salt seals with in this direction."""
    return ChaCha20Poly1305(_hkdf(direction_secret, salt, _INSTANCE_INFO))


def _hkdf(material: bytes, salt: bytes, info: bytes) -> bytes:
    """Return a key (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(material)
