"""The seal of what is relayed to and from one remote peer."""

from __future__ import annotations

from collections.abc import Callable

from rtcmesh.signaling.messages import Member
from rtcmesh.signaling.sealing import PairSeal, SealError, TooManyInstances

_PURPOSE = "relay"


class RelaySeal:
    """Seals and opens with the keys of the peer's newest membership.

    A membership whose prekey cannot be verified leaves the keys of the one before in use.
    """

    def __init__(self, member: Member, derive: Callable[[Member, str], PairSeal | None]) -> None:
        self._derive = derive
        self._member = member
        self._seal = derive(member, _PURPOSE)

    @property
    def has_key(self) -> bool:
        """Whether anything can be sealed."""
        return self._seal is not None

    def rekey(self, member: Member) -> None:
        """Take the keys of another membership."""
        self._member = member
        self._seal = self._derive(member, _PURPOSE) or self._seal

    def seal(self, packet: bytes) -> bytes:
        """Seal a packet. Raises `SealExhausted`; call it only while there is a key."""
        assert self._seal is not None, "seal() without a key"
        return self._seal.seal(packet)

    def open(self, sealed: bytes) -> bytes:
        """Open what the remote peer sealed. Raises `SealError` for anything else."""
        if self._seal is None:
            raise SealError("no key")
        try:
            return self._seal.open(sealed)
        except TooManyInstances:
            # The remote end has forgotten us so often. What a relay now repeats to us, the session knows already.
            self.rekey(self._member)
            return self._seal.open(sealed)
