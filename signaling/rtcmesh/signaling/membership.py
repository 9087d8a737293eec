"""A membership as its own peer keeps it: how far it has read the room, what it said, what is unanswered."""

from .errors import ProtocolError
from .identity import Identity
from .messages import (
    Challenge,
    Join,
    Limits,
    PeerMessage,
    Presence,
    Resume,
    RoomEvent,
    SetPresence,
    SetRelay,
    Welcome,
)
from .outbox import Outbox
from .prekey import Prekey, sign_join


class Membership:
    """Outlives connections: each one is joined with `join`, and `welcomed` says what to say again on it."""

    def __init__(
        self,
        *,
        room: str,
        identity: Identity,
        prekey: Prekey,
        presence: Presence | None,
        token: str | None,
        use_relays: bool,
        window_bytes: int,
    ) -> None:
        self._room = room
        self._identity = identity
        self._prekey = prekey
        self._token = token
        self._presence = presence
        self._joined_with: Presence | None = None
        self._use_relays = use_relays
        self._joined_relay: str | None = None
        self.relays: tuple[str, ...] = ()
        """Where this peer may be at home, as the server said last."""
        self.home_relay: str | None = None
        """Where it is at home; None without relays."""
        self._resume: Resume | None = None
        self._limits: Limits | None = None
        self.outbox = Outbox(window_bytes=window_bytes)
        """The signals of this membership."""

    @property
    def limits(self) -> Limits:
        """What the server accepts; known from the first challenge on."""
        assert self._limits is not None
        return self._limits

    def join(self, challenge: Challenge) -> Join:
        """Answer a challenge: resume the membership if there is one, with the newest presence."""
        self._limits = challenge.limits
        self.relays = challenge.relays if self._use_relays else ()
        if self.home_relay not in self.relays:
            self.home_relay = self.relays[0] if self.relays else None
        self._joined_relay = self.home_relay
        self._joined_with = self._presence
        return Join(
            room=self._room,
            peer_id=self._identity.peer_id,
            prekey=self._prekey,
            proof=sign_join(self._identity, nonce=challenge.nonce, room=self._room, prekey=self._prekey),
            token=self._token,
            presence=self._presence,
            relay=self.home_relay,
            resume=self._resume,
        )

    def welcomed(self, welcome: Welcome) -> list[int]:
        """Take the answer to the join; return the tickets of signals that a new membership gives up.

        Raises `ProtocolError` if the server claims to resume something else than was asked for.
        """
        position = Resume(epoch=welcome.epoch, offset=welcome.offset, token=welcome.resume_token)
        if welcome.resumed and (self._resume is None or not _continues(position, self._resume)):
            raise ProtocolError("the server resumed another membership than this one")
        self._resume = position
        return [] if welcome.resumed else self.outbox.restart(self.limits.max_unacknowledged_signals)

    def messages_after_welcome(self) -> list[PeerMessage]:
        """Return what the server may not have heard: unanswered signals, and a presence set during the join."""
        messages: list[PeerMessage] = [*self.outbox.replay()]
        if self._presence is not None and self._presence is not self._joined_with:
            messages.append(SetPresence(presence=self._presence))
        if self.home_relay != self._joined_relay:
            messages.append(SetRelay(relay=self.home_relay))
        return messages

    def set_relay(self, relay: str) -> SetRelay:
        """Note the home relay for this and every later connection to a server that knows it."""
        self.home_relay = relay
        return SetRelay(relay=relay)

    def set_presence(self, presence: Presence) -> SetPresence:
        """Note the presence for this and every later connection."""
        self._presence = presence
        return SetPresence(presence=presence)

    def advance(self, event: RoomEvent) -> None:
        """Note an event as read; raise `ProtocolError` if it was read before."""
        assert self._resume is not None
        if event.offset <= self._resume.offset:
            raise ProtocolError(f"event {event.offset} came after event {self._resume.offset}")
        self._resume = Resume(epoch=self._resume.epoch, offset=event.offset, token=self._resume.token)


def _continues(position: Resume, before: Resume) -> bool:
    return (position.epoch, position.offset) == (before.epoch, before.offset)
