"""The room: its members and the stream of what happened, each event at an offset of one epoch.

    connected ──suspend──▶ suspended ──resume window over──▶ left (expired)
        ▲                      │
        └──────── join ────────┘            leave, or a join with another prekey: left at once

The machine decides; its owner carries out the effects in order. A member that is connected is known by its
*attachment*, a number that each join makes anew, so that a connection that was displaced can do no harm.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from .codes import LeaveReason, NackCode, RefusalCode
from .errors import InvalidPresence, JoinRefused, SignalingError
from .identity import PeerId
from .messages import (
    MAX_SIGNAL_WINDOW,
    Ack,
    Join,
    Member,
    Nack,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerSuspended,
    Presence,
    PresenceChanged,
    RelayChanged,
    Resume,
    RoomEvent,
    SendSignal,
    Signal,
    presence_bytes,
)
from .prekey import Prekey
from .resume_token import ResumeKey
from .room_stream import RoomStream, StreamEntry


@dataclass(frozen=True, kw_only=True)
class RoomLimits:
    """What one room holds."""

    max_members: int = 256
    """Members at once, suspended ones included."""
    max_presence_bytes: int = 2048
    """The size of one presence as JSON."""
    max_signal_bytes: int = 32_768
    """The size of one sealed signal before base64."""
    max_unacknowledged_signals: int = 64
    """Signals that one member may have on the way; the answers to as many are remembered for a resume."""
    resume_window: float = 30.0
    """Seconds that a member without a connection stays suspended before it has left."""
    history_events: int = 4096
    """Events kept for members that resume; one that missed more gets a snapshot."""
    history_bytes: int = 524_288
    """The same bound in encoded bytes."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        counts = (self.max_members, self.max_signal_bytes, self.max_unacknowledged_signals)
        if min(counts) < 1 or min(self.max_presence_bytes, self.history_events, self.history_bytes) < 2:
            raise ValueError("the limits of a room must be positive, and hold at least an empty presence")
        if self.max_unacknowledged_signals > MAX_SIGNAL_WINDOW:
            raise ValueError(
                f"max_unacknowledged_signals must be at most {MAX_SIGNAL_WINDOW:,}, or no client takes it"
            )
        if self.resume_window < 0:
            raise ValueError("resume_window must not be negative")


class Detached(SignalingError):
    """This attachment no longer stands for a member: it left, was suspended, or was displaced."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a join resulted in: the content of the welcome, and what to send right after it."""

    attachment: int
    epoch: str
    offset: int
    resumed: bool
    members: tuple[Member, ...]
    resume_token: str
    replay: tuple[StreamEntry, ...]


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send this entry on that attachment."""

    attachment: int
    entry: StreamEntry


@dataclass(frozen=True, slots=True)
class Displace:
    """Drop that attachment: for another membership (tell it `replaced`), or its own return (say nothing)."""

    attachment: int
    replaced: bool


Effect: TypeAlias = Deliver | Displace


@dataclass(slots=True)
class _Membership:
    prekey: Prekey
    presence: Presence
    relay: str | None
    began_at: int
    attachment: int | None = None
    newest_token: int = 0
    """The attachment of the newest token that was presented, or of the first one of this membership."""
    newest_attachment: int = 0
    last_signal_id: int = 0
    nacks: dict[int, NackCode] = field(default_factory=dict[int, NackCode])


def check_presence(presence: Presence, limits: RoomLimits) -> None:
    """Raise `JoinRefused` (`protocol_violation`, `message_too_large`) for a presence that no room takes."""
    try:
        size_bytes = presence_bytes(presence)
    except InvalidPresence as error:
        raise JoinRefused(RefusalCode.PROTOCOL_VIOLATION, str(error)) from error
    if size_bytes > limits.max_presence_bytes:
        raise JoinRefused(RefusalCode.MESSAGE_TOO_LARGE, "the presence is larger than the limit")


class Room:
    """Every member sees every event that concerns it once and in order, or a snapshot that says so."""

    def __init__(self, name: str, *, epoch: str, limits: RoomLimits, key: ResumeKey) -> None:
        self.epoch = epoch
        self._name = name
        self._limits = limits
        self._key = key
        self._stream = RoomStream(max_events=limits.history_events, max_bytes=limits.history_bytes)
        self._members: dict[PeerId, _Membership] = {}
        self._attached: dict[int, PeerId] = {}
        # In the order of suspension, which is that of expiry, since the window is the same for all.
        self._expires_at: dict[PeerId, float] = {}
        self._attachments = 0
        self._effects: list[Effect] = []

    @property
    def offset(self) -> int:
        """The offset of the newest event, 0 before the first."""
        return self._stream.offset

    @property
    def history_bytes(self) -> int:
        """What the history holds, as bytes in memory."""
        return self._stream.history_bytes

    @property
    def suspended(self) -> int:
        """How many members are suspended."""
        return len(self._expires_at)

    def __len__(self) -> int:
        return len(self._members)

    def join(self, join: Join, now: float) -> Admission:
        """Admit a peer whose identity was proved: as a resume, as the same membership anew, or as a new one.

        Raises `JoinRefused` (`room_full`, `replaced`, `message_too_large`, `protocol_violation`), which admits nobody.
        """
        self.handle_timeout(now)
        if join.presence is not None:
            check_presence(join.presence, self._limits)
        member = self._members.get(join.peer_id)
        if member is None and len(self._members) >= self._limits.max_members:
            raise JoinRefused(RefusalCode.ROOM_FULL)
        if member is not None and member.prekey != join.prekey:
            if join.resume is not None:
                # It was a member before and comes back to find another in its place: the older of the two gives way,
                # or they would replace each other for ever.
                raise JoinRefused(RefusalCode.REPLACED)
            self._remove(join.peer_id, LeaveReason.REPLACED)
            member = None
        if member is None:
            return self._admit(join)
        return self._readmit(join, member)

    def leave(self, attachment: int) -> None:
        """End the membership at once; without effect when the attachment is no longer current."""
        peer_id = self._attached.get(attachment)
        if peer_id is not None:
            self._remove(peer_id, LeaveReason.LEFT)

    def suspend(self, attachment: int, now: float) -> None:
        """Keep the membership without a connection; no effect when the attachment is no longer current."""
        peer_id = self._attached.pop(attachment, None)
        if peer_id is not None:
            member = self._members[peer_id]
            member.attachment = None
            self._expires_at[peer_id] = now + self._limits.resume_window
            self._append(PeerSuspended(offset=self.offset + 1, peer_id=peer_id), about=peer_id)

    def set_presence(self, attachment: int, presence: Presence) -> None:
        """Change a member's presence; raises `JoinRefused` as `join` does, and `Detached`."""
        peer_id = self._peer(attachment)
        check_presence(presence, self._limits)
        self._change_presence(peer_id, presence)

    def set_relay(self, attachment: int, relay: str | None) -> None:
        """Change a member's home relay; raises `Detached`."""
        self._change_relay(self._peer(attachment), relay)

    def signal(self, attachment: int, signal: SendSignal) -> Ack | Nack:
        """Take a signal for delivery, or say why not; a repeated id gets the same answer and no delivery.

        An id that skips others refuses those for ever (`unavailable`): whoever served the peer has answered them so.
        Raises `Detached`, and `JoinRefused` (`protocol_violation`) for an id that skips a whole window, or is so old
        that its answer is forgotten: any answer to it might be false.
        """
        sender = self._peer(attachment)
        member = self._members[sender]
        window = self._limits.max_unacknowledged_signals
        if not -window < signal.id - member.last_signal_id <= window:
            raise JoinRefused(RefusalCode.PROTOCOL_VIOLATION, f"signal {signal.id} is out of turn")
        if signal.id <= member.last_signal_id:
            code = member.nacks.get(signal.id)
            return Ack(id=signal.id) if code is None else Nack(id=signal.id, code=code)
        skipped = range(member.last_signal_id + 1, signal.id)
        member.last_signal_id = signal.id
        if skipped or member.nacks:
            member.nacks.update(dict.fromkeys(skipped, NackCode.UNAVAILABLE))
            oldest = signal.id - window
            member.nacks = {id_: code for id_, code in member.nacks.items() if id_ > oldest}
        refusal = self._refusal(signal)
        if refusal is not None:
            member.nacks[signal.id] = refusal
            return Nack(id=signal.id, code=refusal)
        event = Signal(offset=self.offset + 1, sender=sender, id=signal.id, sealed=signal.sealed)
        self._append(event, about=sender, receiver=signal.to)
        return Ack(id=signal.id)

    def handle_timeout(self, now: float) -> None:
        """Let suspended members expire whose resume window is over."""
        for peer_id in [peer_id for peer_id, at in self._expires_at.items() if at <= now]:
            self._remove(peer_id, LeaveReason.EXPIRED)

    @property
    def newest_expiry(self) -> float:
        """When the member expires that was suspended last; 0 if none is."""
        return next(reversed(self._expires_at.values()), 0.0)

    def expire_oldest(self) -> None:
        """Let the member expire that has been suspended for longest, if there is one: its place is needed."""
        if self._expires_at:
            self._remove(next(iter(self._expires_at)), LeaveReason.EXPIRED)

    def forget_history(self) -> None:
        """Keep no event of the past; members that are away now will get a snapshot."""
        self._stream.forget()

    def deadline(self) -> float | None:
        """Return when the next suspended member expires."""
        return next(iter(self._expires_at.values()), None)

    def effects(self) -> list[Effect]:
        """Hand over what is to be done, in order, and forget it."""
        effects, self._effects = self._effects, []
        return effects

    def _admit(self, join: Join) -> Admission:
        presence = join.presence or {}
        member = _Membership(join.prekey, presence, join.relay, self.offset + 1)
        self._members[join.peer_id] = member
        joined = PeerJoined(offset=self.offset + 1, member=self._describe(join.peer_id, member))
        self._append(joined, about=join.peer_id)
        return self._attach(join.peer_id, member)

    def _readmit(self, join: Join, member: _Membership) -> Admission:
        resume = join.resume if join.resume is not None and self._can_resume(join, member) else None
        # Taken now, because the events of the return itself may push the oldest of them out of the history.
        missed = () if resume is None else tuple(self._stream.since(resume.offset, join.peer_id))
        if member.attachment is not None:
            del self._attached[member.attachment]
            self._effects.append(Displace(member.attachment, replaced=resume is None))
        if resume is None:
            member.began_at = self.offset + 1
            member.last_signal_id, member.nacks = 0, {}
        if self._expires_at.pop(join.peer_id, None) is not None or resume is None:
            resumed = PeerResumed(offset=self.offset + 1, peer_id=join.peer_id, anew=resume is None)
            self._append(resumed, about=join.peer_id)
        if join.presence is not None and join.presence != member.presence:
            self._change_presence(join.peer_id, join.presence)
        self._change_relay(join.peer_id, join.relay)
        return self._attach(join.peer_id, member, resume=resume, missed=missed)

    def _attach(
        self,
        peer_id: PeerId,
        member: _Membership,
        *,
        resume: Resume | None = None,
        missed: tuple[StreamEntry, ...] = (),
    ) -> Admission:
        self._attachments += 1
        member.attachment = member.newest_attachment = self._attachments
        if resume is None:
            member.newest_token = self._attachments
        self._attached[self._attachments] = peer_id
        return Admission(
            attachment=self._attachments,
            epoch=self.epoch,
            offset=self.offset if resume is None else resume.offset,
            resumed=resume is not None,
            members=self._others(peer_id) if resume is None else (),
            resume_token=self._key.issue(
                room=self._name, epoch=self.epoch, peer_id=peer_id, attachment=self._attachments
            ),
            replay=missed,
        )

    def _can_resume(self, join: Join, member: _Membership) -> bool:
        assert join.resume is not None
        token = self._key.verify(join.resume.token, room=self._name, epoch=self.epoch, peer_id=join.peer_id)
        if token is None or not member.newest_token <= token <= member.newest_attachment:
            return False
        oldest = max(self._stream.complete_from, member.began_at - 1)
        if join.resume.epoch != self.epoch or not oldest <= join.resume.offset <= self.offset:
            return False
        member.newest_token = token
        return True

    def _others(self, peer_id: PeerId) -> tuple[Member, ...]:
        return tuple(self._describe(id_, member) for id_, member in self._members.items() if id_ != peer_id)

    def _describe(self, peer_id: PeerId, member: _Membership) -> Member:
        return Member(
            peer_id=peer_id,
            prekey=member.prekey,
            presence=member.presence,
            suspended=peer_id in self._expires_at,
            relay=member.relay,
        )

    def _change_presence(self, peer_id: PeerId, presence: Presence) -> None:
        self._members[peer_id].presence = presence
        event = PresenceChanged(offset=self.offset + 1, peer_id=peer_id, presence=presence)
        self._append(event, about=peer_id)

    def _change_relay(self, peer_id: PeerId, relay: str | None) -> None:
        member = self._members[peer_id]
        if relay != member.relay:
            member.relay = relay
            self._append(RelayChanged(offset=self.offset + 1, peer_id=peer_id, relay=relay), about=peer_id)

    def _remove(self, peer_id: PeerId, reason: LeaveReason) -> None:
        member = self._members.pop(peer_id)
        self._expires_at.pop(peer_id, None)
        if member.attachment is not None:
            del self._attached[member.attachment]
            if reason is LeaveReason.REPLACED:
                self._effects.append(Displace(member.attachment, replaced=True))
        self._append(PeerLeft(offset=self.offset + 1, peer_id=peer_id, reason=reason), about=peer_id)

    def _append(self, event: RoomEvent, *, about: PeerId, receiver: PeerId | None = None) -> None:
        entry = self._stream.append(event, about=about, receiver=receiver)
        if receiver is None:
            self._effects.extend(
                Deliver(attachment, entry) for attachment, id_ in self._attached.items() if id_ != about
            )
        elif (attachment := self._members[receiver].attachment) is not None:
            self._effects.append(Deliver(attachment, entry))

    def _peer(self, attachment: int) -> PeerId:
        try:
            return self._attached[attachment]
        except KeyError:
            raise Detached from None

    def _refusal(self, signal: SendSignal) -> NackCode | None:
        if len(signal.sealed) > self._limits.max_signal_bytes:
            return NackCode.TOO_LARGE
        return None if signal.to in self._members else NackCode.UNKNOWN_PEER
