"""A room as one server of many sees it: the members that are connected here, and how far its stream was read."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.identity import PeerId
from rtcmesh.signaling.registry import Sink
from rtcmesh.signaling.room import StreamEntry

from .stream_codec import START, AttachmentsEnded, RawEntry, StreamId, decode_entry, receiver_of


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

    def add(self, member: LocalMember, newest: StreamId, *, resumed: bool) -> None:
        """Take a member whose admission is up to date with the stream at `newest`."""
        before = self._members.get(member.peer_id)
        if before is not None:
            # The stream says so too, but nothing may reach the old connection after the new one's welcome.
            self.end(before, None if resumed else RefusalCode.REPLACED)
        self._members[member.peer_id] = member
        if self.position is None:
            self.position = newest

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
        self.position, self.wanted = None, START
        members = list(self._members.values())
        for member in members:
            self.end(member, code)
        return len(members)

    def take(self, entries: Iterable[RawEntry]) -> bool:
        """Take the next entries of the stream; return False if some before them are missing."""
        for raw in entries:
            place = StreamId.parse(raw[0])
            assert self.position is not None
            if place.offset > self.position.offset + 1:
                return False
            if place <= self.position:
                continue
            self.position = place
            receiver = receiver_of(raw)
            if receiver and receiver.decode() not in self._members:
                continue
            _, entry = decode_entry(raw, place)
            if isinstance(entry, StreamEntry):
                self._deliver(entry)
            else:
                self._displace(entry)
        return True

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
