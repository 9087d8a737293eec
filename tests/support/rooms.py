"""A room with its peers and its network in one object: what they say, what gets lost, and what must come out.

The model keeps its own log of what happened, by the rules and not by looking at the room, and holds every peer's
view against it.
"""

from dataclasses import dataclass, field

from rtcmesh.signaling.codes import LeaveReason
from rtcmesh.signaling.errors import JoinRefused
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.messages import (
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
    Resume,
    RoomEvent,
    SendSignal,
    Signal,
)
from rtcmesh.signaling.prekey import Prekey
from rtcmesh.signaling.resume_token import ResumeKey
from rtcmesh.signaling.room import Admission, Deliver, Detached, Displace, Room, RoomLimits
from rtcmesh.signaling.room_stream import StreamEntry

NAMES = tuple(PeerId(letter * 51 + "a") for letter in "bcdef")


@dataclass
class View:
    """What one peer knows. `pipe` is on its way to it and lost when the connection is."""

    peer_id: PeerId
    prekey: Prekey
    position: Resume | None = None
    began_at: int = 0
    events: list[RoomEvent] = field(default_factory=list[RoomEvent])
    pipe: list[Admission | StreamEntry] = field(default_factory=list[Admission | StreamEntry])
    last_id: int = 0
    answers: dict[int, Ack | Nack] = field(default_factory=dict[int, Ack | Nack])

    def read(self, item: Admission | StreamEntry) -> None:
        if isinstance(item, StreamEntry):
            assert self.position is not None
            assert item.event.offset > self.position.offset, "an event was repeated"
            self.events.append(item.event)
            self.position = Resume(
                epoch=self.position.epoch, offset=item.event.offset, token=self.position.token
            )
            return
        position = Resume(epoch=item.epoch, offset=item.offset, token=item.resume_token)
        if item.resumed:
            before, self.position = self.position, position
            assert before is not None
            assert (before.epoch, before.offset) == (position.epoch, position.offset), "a resume continues"
        else:
            self.position, self.began_at, self.events = position, item.offset, []


@dataclass
class Standing:
    """A member as the model has it."""

    prekey: Prekey
    presence: Presence
    began_at: int
    attachment: int
    tokens: list[str] = field(default_factory=list[str])
    """Those that may be presented: of this membership, and not before one that was."""
    expires_at: float | None = None


class RoomModel:
    """Drives a room and says after each step whether every view is exactly the stream."""

    def __init__(self, *, history_events: int, max_members: int = 4) -> None:
        self.limits = RoomLimits(
            max_members=max_members,
            history_events=history_events,
            max_unacknowledged_signals=4,
            max_signal_bytes=8,
            resume_window=10.0,
        )
        self.room = Room("r", epoch="e", limits=self.limits, key=ResumeKey.create())
        self.now = 0.0
        self.views = {name: View(name, Prekey(b"0", b"")) for name in NAMES}
        self.standing: dict[PeerId, Standing] = {}
        self.log: list[tuple[RoomEvent, PeerId | None, PeerId]] = []
        self.pipes: dict[int, tuple[View, list[Admission | StreamEntry]]] = {}
        self.displaced: dict[int, bool] = {}

    def join(self, peer_id: PeerId, *, new_prekey: bool, presence: Presence | None, resume: bool) -> None:
        view = self.views[peer_id]
        if new_prekey:
            view.prekey, view.position = Prekey(view.prekey.key + b"1", b""), None
        position = view.position if resume else None
        join = Join(
            room="r", peer_id=peer_id, prekey=view.prekey, proof=b"", presence=presence, resume=position
        )
        self._expire()
        view.pipe = []
        if peer_id not in self.standing and len(self.standing) >= self.limits.max_members:
            try:
                self.room.join(join, self.now)
            except JoinRefused:
                self._carry_out()
                return
            raise AssertionError("a full room let a peer in")
        standing = self.standing.get(peer_id)
        same = standing is not None and standing.prekey == view.prekey
        can_resume = (
            standing is not None
            and same
            and position is not None
            and position.token in standing.tokens
            and position.offset >= max(standing.began_at, len(self.log) - self.limits.history_events)
        )
        admission = self.room.join(join, self.now)
        assert admission.resumed == can_resume
        if can_resume:
            assert standing is not None
            assert position is not None
            del standing.tokens[: standing.tokens.index(position.token)]
        else:
            view.last_id, view.answers = 0, {}
        self._note_join(peer_id, view, admission, presence)
        self.standing[peer_id].tokens.append(admission.resume_token)
        view.pipe = [admission, *admission.replay]
        self.pipes[admission.attachment] = (view, view.pipe)
        self._carry_out()
        if not admission.resumed:
            self._check_snapshot(peer_id, admission)

    def lose(self, peer_id: PeerId) -> None:
        """Let the connection fail on the peer's side; the server has not noticed."""
        self.views[peer_id].pipe = []

    def suspend(self, peer_id: PeerId) -> None:
        """Let the server notice."""
        self.lose(peer_id)
        self._expire()
        standing = self.standing.get(peer_id)
        if standing is None:
            return
        for _ in range(2):
            self.room.suspend(standing.attachment, self.now)
        if standing.expires_at is None:
            standing.expires_at = self.now + self.limits.resume_window
            # Who was suspended first expires first, also within one moment.
            self.standing[peer_id] = self.standing.pop(peer_id)
            self._log(PeerSuspended(offset=len(self.log) + 1, peer_id=peer_id), None, peer_id)
        self._carry_out()

    def leave(self, peer_id: PeerId) -> None:
        standing = self.standing.get(peer_id)
        if standing is None or standing.expires_at is not None:
            return
        for _ in range(2):
            self.room.leave(standing.attachment)
        self._note_left(peer_id, LeaveReason.LEFT)
        self.lose(peer_id)
        self._carry_out()

    def set_presence(self, peer_id: PeerId, presence: Presence) -> None:
        standing = self.standing.get(peer_id)
        if standing is None or standing.expires_at is not None:
            return
        self.room.set_presence(standing.attachment, presence)
        standing.presence = presence
        event = PresenceChanged(offset=len(self.log) + 1, peer_id=peer_id, presence=presence)
        self._log(event, None, peer_id)
        self._carry_out()

    def signal(self, sender: PeerId, to: PeerId, sealed: bytes, *, repeat: int) -> None:
        """Send a signal, or one of the last four again."""
        standing, view = self.standing.get(sender), self.views[sender]
        if standing is None or standing.expires_at is not None:
            return
        id_ = max(1, view.last_id + 1 - repeat)
        answer = self.room.signal(standing.attachment, SendSignal(to=to, id=id_, sealed=sealed))
        if id_ <= view.last_id:
            assert answer == view.answers[id_], "a repeated signal got another answer"
        else:
            expected = to in self.standing and len(sealed) <= self.limits.max_signal_bytes
            assert isinstance(answer, Ack) == expected
            view.last_id, view.answers[id_] = id_, answer
            if expected:
                event = Signal(offset=len(self.log) + 1, sender=sender, id=id_, sealed=sealed)
                self._log(event, to, sender)
        self._carry_out()

    def deliver(self, peer_id: PeerId, count: int) -> None:
        view = self.views[peer_id]
        for _ in range(min(count, len(view.pipe))):
            view.read(view.pipe.pop(0))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.room.handle_timeout(self.now)
        self._expire()
        self._carry_out()

    def use_stale_attachments(self) -> None:
        """A connection that was displaced, or whose member left, changes nothing."""
        current = {s.attachment for s in self.standing.values() if s.expires_at is None}
        for attachment in set(self.pipes) - current:
            self.room.leave(attachment)
            self.room.suspend(attachment, self.now)
            try:
                self.room.signal(attachment, SendSignal(to=NAMES[0], id=999, sealed=b""))
            except Detached:
                continue
            raise AssertionError("a stale attachment was listened to")
        assert self.room.effects() == []

    def check(self) -> None:
        assert self.room.offset == len(self.log)
        assert len(self.room) == len(self.standing)
        expiries = [s.expires_at for s in self.standing.values() if s.expires_at is not None]
        assert self.room.deadline() == min(expiries, default=None)
        for view in self.views.values():
            self._check_view(view)

    def converge(self) -> None:
        """Let everybody be connected and read all: then every view is the whole stream since its snapshot."""
        for peer_id in list(self.standing):
            self.join(peer_id, new_prekey=False, presence=None, resume=True)
        for peer_id in self.standing:
            view = self.views[peer_id]
            self.deliver(peer_id, len(view.pipe))
            assert view.events == self._seen_by(peer_id, view.began_at, len(self.log))
        self.check()

    def _check_view(self, view: View) -> None:
        if view.position is not None:
            expected = self._seen_by(view.peer_id, view.began_at, view.position.offset)
            assert view.events == expected, "a view is not the stream"

    def _seen_by(self, peer_id: PeerId, after: int, until: int) -> list[RoomEvent]:
        return [
            event
            for event, receiver, subject in self.log[after:until]
            if (receiver == peer_id if receiver is not None else subject != peer_id)
        ]

    def _check_snapshot(self, peer_id: PeerId, admission: Admission) -> None:
        assert admission.offset == len(self.log)
        assert admission.replay == ()
        expected = {
            name: Member(
                peer_id=name,
                prekey=standing.prekey,
                presence=standing.presence,
                suspended=standing.expires_at is not None,
            )
            for name, standing in self.standing.items()
            if name != peer_id
        }
        assert {member.peer_id: member for member in admission.members} == expected

    def _note_join(
        self, peer_id: PeerId, view: View, admission: Admission, presence: Presence | None
    ) -> None:
        standing = self.standing.get(peer_id)
        if standing is not None and standing.prekey != view.prekey:
            self._note_left(peer_id, LeaveReason.REPLACED)
            standing = None
        if standing is None:
            member = Member(peer_id=peer_id, prekey=view.prekey, presence=presence or {})
            self._log(PeerJoined(offset=len(self.log) + 1, member=member), None, peer_id)
            self.standing[peer_id] = Standing(
                view.prekey, presence or {}, len(self.log), admission.attachment
            )
            return
        if not admission.resumed:
            standing.began_at, standing.tokens = len(self.log), []
        if standing.expires_at is not None or not admission.resumed:
            resumed = PeerResumed(offset=len(self.log) + 1, peer_id=peer_id, anew=not admission.resumed)
            self._log(resumed, None, peer_id)
        if presence is not None and presence != standing.presence:
            standing.presence = presence
            event = PresenceChanged(offset=len(self.log) + 1, peer_id=peer_id, presence=presence)
            self._log(event, None, peer_id)
        standing.expires_at, standing.attachment = None, admission.attachment

    def _note_left(self, peer_id: PeerId, reason: LeaveReason) -> None:
        del self.standing[peer_id]
        self._log(PeerLeft(offset=len(self.log) + 1, peer_id=peer_id, reason=reason), None, peer_id)

    def _expire(self) -> None:
        due = [(s.expires_at, name) for name, s in self.standing.items() if s.expires_at is not None]
        self.room.handle_timeout(self.now)
        for expires_at, name in sorted(due, key=lambda item: item[0]):
            if expires_at <= self.now:
                self._note_left(name, LeaveReason.EXPIRED)

    def _log(self, event: RoomEvent, receiver: PeerId | None, subject: PeerId) -> None:
        self.log.append((event, receiver, subject))

    def _carry_out(self) -> None:
        for effect in self.room.effects():
            match effect:
                case Deliver(attachment, entry):
                    assert attachment not in self.displaced
                    view, pipe = self.pipes[attachment]
                    if view.pipe is pipe:
                        pipe.append(entry)
                case Displace(attachment, replaced):
                    self.displaced[attachment] = replaced
