"""A room as one server of many sees it: the members that are connected here, and how far its stream was read."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.registry import Sink
from rtcmesh.signaling.room_stream import StreamEntry

from .stream_codec import START, AttachmentsEnded, Nudge, RawEntry, StreamId, decode_entry, receiver_of


class Position(NamedTuple):
    """Where a room was when somebody joined it."""

    epoch: bytes
    """A room that has ended and begun again has another."""
    newest: StreamId
    sequence: int
    """The number of the nudge that told of the join; those before it speak of the past, or of an earlier epoch."""


@dataclass(slots=True, eq=False)
class LocalMember:
    """One attachment at this server."""

    peer_id: PeerId
    attachment: int
    sink: Sink
    since: int
    """Events up to this offset are none of its business: it has them, or its snapshot does."""
    unanswered: int = 0
    """Its signals that wait for the store."""
    changes: int = 0
    """How many changes of presence and relay it has asked for."""
    ended: bool = False
    """Whether its sink was told the end, or it left or was suspended here."""


@dataclass(slots=True, eq=False)
class HostedRoom:
    """Hands every entry of the stream to whom it concerns here, once and in order, or gives the members up."""

    name: str
    position: StreamId | None = None
    """How far the stream was read; None until the first join is answered."""
    wanted: StreamId = START
    """The newest place that a nudge has named."""
    wanted_by: int = 0
    """The number of that nudge."""
    epoch: bytes = b""
    """What the position belongs to."""
    since: int = 0
    """The number of the nudge up to which they have nothing to say here."""
    joining: int = 0
    """Joins that wait for the store."""
    reading: bool = False
    """Whether a read is on its way."""
    read_again: bool = False
    """Whether another one is to follow it, whatever was nudged."""
    _members: dict[PeerId, LocalMember] = field(default_factory=dict[PeerId, LocalMember])

    def __len__(self) -> int:
        return len(self._members)

    @property
    def is_idle(self) -> bool:
        """Whether nobody here needs it any more."""
        return not self._members and not self.joining

    @property
    def has_news(self) -> bool:
        """Whether the stream holds what was not read."""
        return self.position is not None and self.wanted > self.position

    @property
    def is_in_step(self) -> bool:
        """Whether everything that nudges have told of was read."""
        return self.position is not None and not self.reading and not self.has_news

    def note(self, nudge: Nudge) -> bool:
        """Note what a nudge says is new; return False for one of the past."""
        if nudge.place is None or nudge.sequence <= self.since:
            return False
        self.wanted, self.wanted_by = nudge.place, nudge.sequence
        return True

    def is_next(self, place: StreamId) -> bool:
        """Whether it is the place of the event behind the last one."""
        return self.position is not None and place == StreamId(self.position.offset + 1, 0)

    def add(self, member: LocalMember, found: Position, *, resumed: bool) -> int:
        """Take a member whose admission is up to date there; return how many others were given up.

        Those are whoever is left of an earlier epoch, which has ended with its last member: they hear nothing more.
        """
        left_over = 0
        if found.epoch != self.epoch:
            left_over = self._end(list(self._members.values()), RefusalCode.EPOCH_CHANGED)
            self.position = None
        before = self._members.get(member.peer_id)
        if before is not None:
            # The stream says so too, but nothing may reach the old connection after the new one's welcome.
            self.end(before, None if resumed else RefusalCode.REPLACED)
        self._members[member.peer_id] = member
        if self.position is None:
            self.position, self.epoch, self.since = found.newest, found.epoch, found.sequence
            if self.wanted_by <= found.sequence:
                self.wanted = START
        return left_over

    def remove(self, member: LocalMember) -> None:
        """Forget a member that left or was suspended here, without telling it."""
        member.ended = True
        if self._members.get(member.peer_id) is member:
            del self._members[member.peer_id]

    def end(self, member: LocalMember, code: RefusalCode | None, message: str = "") -> None:
        """Give a member up and tell it so."""
        if not member.ended:
            self.remove(member)
            member.sink.end(code, message)

    def end_all(self, code: RefusalCode) -> int:
        """Give every member up, and with them the place in the stream; return how many there were."""
        self.position, self.epoch, self.since = None, b"", 0
        self.wanted, self.wanted_by = START, 0
        return self._end(list(self._members.values()), code)

    def take(self, entries: Iterable[RawEntry]) -> int:
        """Take the next entries of the stream; return how many members were given up because some are missing.

        Those are whose snapshot is older than what is missing. Raises `CorruptStore`.
        """
        given_up = 0
        for raw in entries:
            place = StreamId.parse(raw[0])
            assert self.position is not None
            if place.offset > self.position.offset + 1:
                # Who came at this offset or later has missed nothing, notes that follow the event of its join included.
                late = [member for member in self._members.values() if member.since < place.offset]
                given_up += self._end(late, RefusalCode.EPOCH_CHANGED)
            if place <= self.position:
                continue
            self._pass_on(raw, place)
            self.position = place
        return given_up

    def _pass_on(self, raw: RawEntry, place: StreamId) -> None:
        receiver = receiver_of(raw)
        if receiver and receiver.decode() not in self._members:
            return
        _, entry = decode_entry(raw, place)
        if isinstance(entry, StreamEntry):
            self._deliver(entry)
        else:
            self._displace(entry)

    def _end(self, members: list[LocalMember], code: RefusalCode) -> int:
        for member in members:
            self.end(member, code)
        return len(members)

    def _deliver(self, entry: StreamEntry) -> None:
        if entry.receiver is not None:
            receiver = self._members.get(entry.receiver)
            members = [] if receiver is None else [receiver]
        else:
            members = list(self._members.values())
        for member in members:
            if entry.event.offset > member.since and entry.concerns(member.peer_id):
                member.sink.deliver(entry)

    def _displace(self, note: AttachmentsEnded) -> None:
        member = self._members.get(note.peer_id)
        if member is not None and member.attachment < note.below:
            self.end(member, note.code)
