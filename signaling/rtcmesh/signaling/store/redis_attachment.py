"""One connection's hold on a membership that is kept in the shared store."""

from dataclasses import dataclass
from functools import partial

from rtcmesh.signaling.codes import NackCode, RefusalCode
from rtcmesh.signaling.errors import JoinRefused, SignalingError, StoreFull
from rtcmesh.signaling.messages import Ack, Nack, Presence, SendSignal
from rtcmesh.signaling.room import check_presence

from .hosted_room import HostedRoom, LocalMember
from .keeper import Keeper
from .lane import Outcome
from .partition import Partition
from .room_reader import RoomReader
from .scripts import Script
from .store import Store
from .stream_codec import encode_presence

_NACKS = {code.value.encode(): code for code in NackCode}


@dataclass(frozen=True, slots=True)
class Home:
    """Where a membership is: the store, and the room as this server sees it."""

    store: Store
    reader: RoomReader
    keeper: Keeper
    partition: Partition
    room: HostedRoom

    def depart(self, member: LocalMember, how: str) -> None:
        """Tell the store that an attachment is over, for as long as it takes."""
        self.store.call(
            self.partition,
            Script.DEPART,
            (self.room.name, member.peer_id),
            (member.attachment, self.store.node, how),
            self.keeper.note_outcome,
        )


class RedisAttachment:
    """See `Attachment`."""

    def __init__(self, home: Home, member: LocalMember) -> None:
        self._home = home
        self._member = member
        self._departed = False
        self._changing: set[str] = set()
        self._next_change: dict[str, bytes] = {}

    def signal(self, signal: SendSignal) -> None:
        """See `Attachment.signal`."""
        member, store = self._member, self._home.store
        if member.ended:
            return
        if member.unanswered >= store.limits.max_unacknowledged_signals:
            self._end(RefusalCode.PROTOCOL_VIOLATION, "more signals than may be unanswered")
            return
        if store.pending_bytes + len(signal.sealed) > store.config.max_pending_bytes:
            member.sink.answer(Nack(id=signal.id, code=NackCode.UNAVAILABLE))
            return
        member.unanswered += 1
        too_large = len(signal.sealed) > store.limits.max_signal_bytes
        sealed = b"" if too_large else signal.sealed
        refusal = NackCode.TOO_LARGE.value if too_large else ""
        store.signal(
            self._home.partition,
            self._home.room.name,
            (member.peer_id, member.attachment, signal.id, signal.to, sealed, refusal),
            self._answered,
            signal.id,
            size_bytes=len(sealed),
        )

    def set_presence(self, presence: Presence) -> None:
        """See `Attachment.set_presence`."""
        if self._member.ended:
            return
        try:
            check_presence(presence, self._home.store.limits)
        except JoinRefused as refusal:
            self._end(refusal.code, refusal.message)
        else:
            self._change("presence", encode_presence(presence))

    def set_relay(self, relay: str | None) -> None:
        """See `Attachment.set_relay`."""
        if not self._member.ended:
            self._change("relay", (relay or "").encode())

    def leave(self) -> None:
        """See `Attachment.leave`."""
        self._depart("leave")

    def suspend(self) -> None:
        """See `Attachment.suspend`."""
        self._depart("suspend")

    def _depart(self, how: str) -> None:
        if not self._departed:
            self._departed = True
            self._home.room.remove(self._member)
            self._home.reader.forget_if_idle(self._home.partition, self._home.room)
            self._home.depart(self._member, how)

    def _change(self, what: str, value: bytes) -> None:
        """Ask for a change; while one is under way, the newest of its kind waits in place of all before it."""
        if what in self._changing:
            self._next_change[what] = value
            return
        self._changing.add(what)
        self._member.changes += 1
        self._home.store.call(
            self._home.partition,
            Script.CHANGE,
            (self._home.room.name, self._member.peer_id),
            (self._member.attachment, self._member.changes, what, value),
            partial(self._changed, what),
        )

    def _changed(self, what: str, outcome: Outcome) -> None:
        self._home.keeper.note_outcome(outcome)
        self._changing.discard(what)
        value = self._next_change.pop(what, None)
        if value is not None and not self._member.ended:
            self._change(what, value)

    def _answered(self, id_: int, outcome: bytes | SignalingError) -> None:
        member = self._member
        member.unanswered -= 1
        if member.ended:
            return
        if isinstance(outcome, SignalingError):
            self._home.keeper.note_outcome(outcome)
            full = isinstance(outcome, StoreFull)
            member.sink.answer(Nack(id=id_, code=NackCode.SERVER_FULL if full else NackCode.UNAVAILABLE))
            return
        match outcome:
            case b"ack":
                member.sink.answer(Ack(id=id_))
            case b"late":
                member.sink.answer(Nack(id=id_, code=NackCode.UNAVAILABLE))
            case b"detached":
                # The stream says why; what was nudged may be under way.
                self._home.reader.read(self._home.partition, self._home.room)
            case b"out_of_turn":
                self._end(RefusalCode.PROTOCOL_VIOLATION, f"signal {id_} is out of turn")
            case code:
                member.sink.answer(Nack(id=id_, code=_NACKS[code]))

    def _end(self, code: RefusalCode, message: str) -> None:
        self._home.room.end(self._member, code, message)
