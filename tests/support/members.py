"""Members of a room whose keys depend on a number only, so that a failing test fails again."""

import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from rtcmesh.signaling.identity import Identity, PeerId
from rtcmesh.signaling.prekey import LocalPrekey, Prekey
from rtcmesh.signaling.sealing import PairSeal


@dataclass(frozen=True, kw_only=True)
class Member:
    """One membership: the same number and room always give the same keys (a seal's salt is random)."""

    number: int
    room: str = "lobby"
    identity: Identity = field(init=False)
    local_prekey: LocalPrekey = field(init=False)

    def __post_init__(self) -> None:
        identity = Identity(Ed25519PrivateKey.from_private_bytes(_key(f"identity {self.number}")))
        prekey = X25519PrivateKey.from_private_bytes(_key(f"prekey {self.number}"))
        object.__setattr__(self, "identity", identity)
        object.__setattr__(self, "local_prekey", LocalPrekey(identity, self.room, prekey))

    @property
    def peer_id(self) -> PeerId:
        return self.identity.peer_id

    @property
    def prekey(self) -> Prekey:
        return self.local_prekey.public

    def seal_with(
        self, remote: "Member", *, secret: bytes | None = None, purpose: str = "signal"
    ) -> PairSeal:
        return PairSeal.derive(
            self.peer_id,
            self.local_prekey,
            remote.peer_id,
            remote.prekey,
            room=self.room,
            secret=secret,
            purpose=purpose,
        )


def pair_of_seals(*, secret: bytes | None = None, purpose: str = "signal") -> tuple[PairSeal, PairSeal]:
    """Return fresh seals of two members for each other."""
    one, two = Member(number=1), Member(number=2)
    to_two = one.seal_with(two, secret=secret, purpose=purpose)
    to_one = two.seal_with(one, secret=secret, purpose=purpose)
    return to_two, to_one


def _key(label: str) -> bytes:
    return hashlib.sha256(label.encode()).digest()
