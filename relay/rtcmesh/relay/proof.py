"""The proof of a join: the holder of an identity wants this connection, with this ticket, now."""

from rtcmesh.signaling.identity import Identity, PeerId, verify

_CONTEXT = "rtcmesh v1 relay join"


def sign_join(identity: Identity, *, nonce: bytes, ticket: str, number: int) -> bytes:
    """Return the proof; the nonce is the relay's challenge."""
    return identity.sign(_CONTEXT, nonce, ticket.encode(), number.to_bytes(8))


def verify_join(peer_id: PeerId, proof: bytes, *, nonce: bytes, ticket: str, number: int) -> None:
    """Return if this peer signed exactly this; raise `InvalidSignature` if not.

    The nonce must be fresh and used once: nothing else keeps an old proof from being shown again.
    """
    verify(peer_id, proof, _CONTEXT, nonce, ticket.encode(), number.to_bytes(8))
