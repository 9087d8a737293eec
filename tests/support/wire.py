"""A peer that speaks the wire by hand, to say what no link would."""

from dataclasses import dataclass

import msgspec

from rtcmesh.signaling.messages import (
    Challenge,
    Join,
    PeerMessage,
    Presence,
    Refused,
    Resume,
    ServerMessage,
    Welcome,
    decode_server,
    encode,
)
from rtcmesh.signaling.prekey import sign_join
from rtcmesh.signaling.text_socket import SocketClosed, TextSocket

from .members import Member


@dataclass
class RawPeer:
    """Sends any text, and joins in an orderly way when asked to."""

    socket: TextSocket
    member: Member

    async def send(self, message: PeerMessage | ServerMessage) -> None:
        await self.socket.send(encode(message))

    async def receive(self) -> ServerMessage:
        return decode_server(await self.socket.receive())

    async def join(self, *, presence: Presence | None = None, resume: Resume | None = None) -> Welcome:
        challenge = await self.receive()
        assert isinstance(challenge, Challenge)
        await self.send(proved_join(self.member, challenge.nonce, presence=presence, resume=resume))
        welcome = await self.receive()
        assert isinstance(welcome, Welcome), welcome
        return welcome

    def proved(self, challenge: Challenge) -> Join:
        """Return the join that answers a challenge."""
        return proved_join(self.member, challenge.nonce)

    async def last_words(self) -> tuple[Refused | None, int]:
        """Read to the end; return the refusal, if there was one, and the close code."""
        refused: Refused | None = None
        while True:
            try:
                message = await self.receive()
            except SocketClosed as closed:
                return refused, closed.code
            if isinstance(message, Refused):
                refused = message


def proved_join(
    member: Member, nonce: bytes, *, presence: Presence | None = None, resume: Resume | None = None
) -> Join:
    proof = sign_join(member.identity, nonce=nonce, room=member.room, prekey=member.prekey)
    return Join(
        room=member.room,
        peer_id=member.peer_id,
        prekey=member.prekey,
        proof=proof,
        presence=presence,
        resume=resume,
    )


def as_json(message: PeerMessage | ServerMessage) -> dict[str, object]:
    """Return a message as its JSON object, to be changed at will."""
    return msgspec.json.decode(encode(message), type=dict[str, object])
