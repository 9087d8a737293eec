"""A join under way: what the store is asked, and the membership that its answer makes."""

import asyncio
import logging
from asyncio import Future
from typing import TypeAlias, cast

from rtcmesh.signaling.codes import RefusalCode
from rtcmesh.signaling.errors import JoinRefused, SignalingError, StoreFull
from rtcmesh.signaling.messages import Join
from rtcmesh.signaling.registry import Sink
from rtcmesh.signaling.resume_token import ResumeKey
from rtcmesh.signaling.room import Admission
from rtcmesh.signaling.room_stream import StreamEntry

from .hosted_room import LocalMember, Position
from .lane import Outcome
from .redis_attachment import Home, RedisAttachment
from .scripts import Script
from .store_connection import Argument
from .stream_codec import (
    CorruptStore,
    RawEntry,
    StreamId,
    decode_entry,
    decode_members,
    encode_prekey,
    encode_presence,
)

_Admitted: TypeAlias = tuple[
    bytes, int, bytes, int, int, bytes, int, list[RawEntry], list[bytes], list[bytes]
]


_logger = logging.getLogger(__name__)

_REFUSALS = {
    b"room_full": RefusalCode.ROOM_FULL,
    b"replaced": RefusalCode.REPLACED,
    b"late": RefusalCode.UNAVAILABLE,
    b"lapsed": RefusalCode.UNAVAILABLE,
}


class Joining:
    """Settles `answer` once. If nobody waits for it any more, the membership that came about is suspended."""

    def __init__(self, home: Home, join: Join, sink: Sink, key: ResumeKey) -> None:
        self.answer: Future[RedisAttachment] = asyncio.get_running_loop().create_future()
        """The attachment, or `JoinRefused`."""
        self._home = home
        self._join = join
        self._sink = sink
        self._key = key

    def begin(self) -> None:
        """Ask the store."""
        home = self._home
        home.room.joining += 1
        home.store.call(
            home.partition,
            Script.JOIN,
            (self._join.room, self._join.peer_id),
            self._arguments(),
            self._settle,
            patience=home.store.config.join_patience,
        )

    def _arguments(self) -> tuple[Argument, ...]:
        join, store = self._join, self._home.store
        token, epoch, offset = 0, "", 0
        if join.resume is not None:
            epoch, offset = join.resume.epoch, join.resume.offset
            proved = self._key.verify(join.resume.token, room=join.room, epoch=epoch, peer_id=join.peer_id)
            token = 0 if proved is None else proved
        return (
            store.node,
            encode_prekey(join.prekey),
            encode_presence(join.presence),
            join.relay or "",
            f"{store.random.getrandbits(128):032x}",
            int(join.resume is not None),
            token,
            epoch,
            offset,
        )

    def _settle(self, outcome: Outcome) -> None:
        home = self._home
        home.room.joining -= 1
        try:
            if isinstance(outcome, SignalingError):
                home.keeper.note_outcome(outcome)
                full = isinstance(outcome, StoreFull)
                self._refuse(RefusalCode.SERVER_FULL if full else RefusalCode.UNAVAILABLE)
            elif (status := cast("list[bytes]", outcome)[0]) == b"ok":
                self._admit(cast("_Admitted", outcome))
            else:
                self._refuse(_REFUSALS[status])
        finally:
            home.reader.forget_if_idle(home.partition, home.room)

    def _refuse(self, code: RefusalCode) -> None:
        if not self.answer.done():
            self.answer.set_exception(JoinRefused(code))

    def _admit(self, outcome: _Admitted) -> None:
        _, attachment, epoch, _, resumed, newest, sequence, *_ = outcome
        room, place = self._home.room, StreamId.parse(newest)
        member = LocalMember(self._join.peer_id, attachment, self._sink, since=place.offset)
        if self.answer.done():
            self._home.depart(member, "suspend")
            return
        try:
            admission = self._admission(outcome)
        except CorruptStore:
            _logger.exception("a room cannot be read")
            self._home.depart(member, "suspend")
            self._refuse(RefusalCode.INTERNAL)
            return
        displaced = room.add(member, Position(epoch, place, sequence), resumed=bool(resumed))
        self._home.store.stats.evictions["trimmed"] += displaced
        self._sink.welcome(admission)
        self.answer.set_result(RedisAttachment(self._home, member))
        if room.has_news:
            self._home.reader.read(self._home.partition, room)

    def _admission(self, outcome: _Admitted) -> Admission:
        _, attachment, raw_epoch, offset, resumed, _, _, missed, public, standing = outcome
        epoch, peer_id = raw_epoch.decode(), self._join.peer_id
        replay = (decode_entry(raw)[1] for raw in missed)
        return Admission(
            attachment=attachment,
            epoch=epoch,
            offset=offset,
            resumed=bool(resumed),
            members=decode_members(public, standing, but=peer_id),
            resume_token=self._key.issue(
                room=self._join.room, epoch=epoch, peer_id=peer_id, attachment=attachment
            ),
            replay=tuple(entry for entry in replay if isinstance(entry, StreamEntry)),
        )
