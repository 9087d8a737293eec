"""The shell around one outbox: what its file keeps goes into the conversations with those for whom it is.

What happens within one turn of the event loop is one transaction. A message goes to a session when it is stored, and
not before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rtcmesh.peer.conversation import Conversation, Outgoing
from rtcmesh.peer.delivery import Delivery, Priority
from rtcmesh.peer.errors import Closed, MeshError, OutboxError, OutboxFull, PeerUnreachable
from rtcmesh.signaling.identity import PeerId

from .outbox import Line, Outbox, Settled, message_cost
from .outbox_file import Changes, OutboxFile
from .stamps import Receipt, Stamp, stamped

logger = logging.getLogger(__name__)


class DispatchOwner(Protocol):
    """What the shell needs of its surroundings."""

    def conversation(self, peer_id: PeerId) -> Conversation | None:
        """Return the conversation with a peer that is in the mesh."""
        ...

    def schedule(self) -> None:
        """Have `commit` called in the next turn of the event loop."""
        ...

    def wall_clock(self) -> float:
        """Return the seconds since 1970."""
        ...


@dataclass(slots=True)
class _Sending:
    """A message on its way into the file."""

    payload: bytes
    lines: tuple[Line, ...]
    done: asyncio.Future[int]
    number: int = 0


class Dispatch:
    """Stores messages, hands them to sessions in order, and forgets them when their receivers' applications have them.

    Guarantees: what `send` has returned for is in the file until it is settled. Those who wait for room are served in
    the order in which they came, or fail with `OutboxFull` when nobody is in the mesh who could make some.
    """

    def __init__(self, path: Path, peer_id: PeerId, owner: DispatchOwner, *, max_bytes: int) -> None:
        """Open the file. Raises `OutboxInUse`, `OutboxMismatch` or `OutboxFailed`."""
        self._file = OutboxFile(path, peer_id)
        try:
            self._outbox = Outbox(
                max_bytes=max_bytes, last_number=self._file.last_number, entries=self._file.entries()
            )
        except BaseException:
            self._file.close()
            raise
        self._owner = owner
        self._channels: dict[str, Priority] = {}
        self._accepted: list[_Sending] = []
        self._full: deque[_Sending] = deque()
        """Those that wait for room."""
        self._changes = Changes(last_number=0)
        self._waiting: dict[Line, asyncio.Future[int]] = {}
        """What waits for room in a conversation."""
        self._recent: dict[int, bytes] = {}
        """What was written in this turn, so that it need not be read."""
        self._unconfirmed: defaultdict[Line, dict[asyncio.Future[None], int]] = defaultdict(dict)
        self._error: MeshError | None = None

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._file.path

    @property
    def outbox(self) -> int:
        """The number that its messages bear."""
        return self._file.outbox

    def waiting(self, label: str) -> dict[PeerId, int]:
        """Return how many messages of a channel wait for whom."""
        return {
            line.receiver: self._outbox.waiting(line) for line in self._outbox.lines() if line.label == label
        }

    # Channels

    def open_channel(self, label: str, priority: Priority) -> list[tuple[PeerId, Receipt]]:
        """Begin to send what waits on a channel. Returns what the application had taken there, by sender.

        Raises `OutboxFailed`.
        """
        if self._error is not None:
            raise self._error
        taken = list(self._file.taken(label))
        self._channels[label] = priority
        for line in list(self._outbox.lines()):
            self._hand_over(line)
        return taken

    # Sending

    def send(self, label: str, payload: bytes, receivers: Iterable[PeerId]) -> asyncio.Future[int]:
        """Store a message, and return its number when it is. Cancelling it while it waits for room withdraws it."""
        lines = tuple(Line(receiver, label) for receiver in receivers)
        sending = _Sending(payload, lines, asyncio.get_running_loop().create_future())
        self._full.append(sending)
        self._serve()
        if self._full:
            sending.done.add_done_callback(lambda done: self._serve() if done.cancelled() else None)
        return sending.done

    def send_nowait(self, label: str, payload: bytes, receivers: Iterable[PeerId]) -> None:
        """Store a message at once. Raises `OutboxFull`, though others may make room, or `OutboxFailed`."""
        receivers = list(receivers)
        if self._full or not self._outbox.fits(len(payload), len(receivers)):
            raise self._no_room()
        sent = self.send(label, payload, receivers)
        self.commit()
        sent.result()

    def confirmed(self, label: str, receiver: PeerId, number: int | None = None) -> asyncio.Future[None]:
        """Return what is done when the receiver's application has this message, or all that is stored for it by now.

        It fails with `PeerUnreachable` when messages are discarded or expire.
        """
        line = Line(receiver, label)
        number = self._outbox.last_number if number is None else number
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._outbox.is_settled(line, number):
            future.set_result(None)
        elif self._error is not None:
            future.set_exception(self._error)
        else:
            self._unconfirmed[line][future] = number
            future.add_done_callback(self._unconfirmed[line].pop)
        return future

    def discard(self, label: str, receiver: PeerId) -> int:
        """Forget what waits for a receiver on a channel. Returns how many messages that were."""
        settled = self._outbox.settle(Line(receiver, label), self._outbox.last_number)
        self._settled(settled, PeerUnreachable([receiver]))
        return settled.total if settled else 0

    def expire(self, max_age: float) -> list[Settled]:
        """Forget what is older, and return what that was."""
        expired = self._outbox.expire(_micros(self._owner.wall_clock() - max_age))
        for settled in expired:
            self._settled(settled, PeerUnreachable([settled.line.receiver]))
        return expired

    # Receivers

    def began(self, peer_id: PeerId) -> None:
        """Send a peer, whose session is a new one, everything that waits for it."""
        self._outbox.begin(peer_id)
        for line in [line for line in self._waiting if line.receiver == peer_id]:
            del self._waiting[line]
        for label in self._channels:
            self._hand_over(Line(peer_id, label))

    def receivers_changed(self) -> None:
        """Give up waiting for room if nobody is left who could make some."""
        self._serve()

    def receipt(self, sender: PeerId, receipt: Receipt) -> None:
        """Forget what a receiver's application has."""
        self._settled(self._outbox.settle(Line(sender, receipt.label), receipt.through))

    def is_empty_for(self, receivers: Iterable[PeerId]) -> bool:
        """Whether nothing waits for these peers on any channel that is open."""
        return not any(
            self._outbox.waiting(Line(receiver, label)) for receiver in receivers for label in self._channels
        )

    # What the application takes

    def taken(self, sender: PeerId, receipt: Receipt) -> None:
        """Note in the file that the application has taken a message."""
        self._changes.taken[sender, receipt.label, receipt.outbox] = receipt.through
        self._owner.schedule()

    def forget_taken(self, key: tuple[PeerId, str, int]) -> None:
        """Drop what the file says of a sender, label and outbox."""
        if self._changes.taken.pop(key, None) is None:
            self._changes.forgotten.append(key)
            self._owner.schedule()

    # The file

    def commit(self) -> None:
        """Write what has changed, and hand over what is stored.

        A message that cannot be written fails; what was settled and taken is written with the next transaction.
        """
        accepted, self._accepted = self._accepted, []
        if not accepted and not self._changes:
            return
        self._changes.last_number = self._outbox.last_number
        self._changes.messages = [(sending.number, sending.payload) for sending in accepted]
        self._changes.pending = [(line, sending.number) for sending in accepted for line in sending.lines]
        try:
            self._file.write(self._changes)
        except OutboxError as error:
            logger.warning("%s: %s", error, error.__cause__)
            self._changes.messages, self._changes.pending, self._changes.forgotten = [], [], []
            self._not_stored(accepted, error)
            return
        self._changes = Changes(last_number=0)
        self._are_stored(accepted)

    def close(self) -> None:
        """Write what has changed, let go of everybody who waits, and release the file."""
        self.commit()
        self._fail(Closed())
        self._file.close()

    def _are_stored(self, accepted: list[_Sending]) -> None:
        self._recent = {sending.number: sending.payload for sending in accepted}
        lines: dict[Line, None] = {}
        for sending in accepted:
            lines.update(dict.fromkeys(self._outbox.stored(sending.number)))
            if not sending.done.done():
                sending.done.set_result(sending.number)
        for line in lines:
            self._hand_over(line)
        self._recent = {}
        self._serve()

    def _not_stored(self, accepted: list[_Sending], error: OutboxError) -> None:
        for sending in accepted:
            self._outbox.withdraw(sending.number)
            if not sending.done.done():
                sending.done.set_exception(error)
        self._serve()

    def _serve(self) -> None:
        """Let those that wait have what room there is."""
        while self._full:
            sending = self._full[0]
            if not sending.done.done():
                if self._error is not None:
                    sending.done.set_exception(self._error)
                elif self._outbox.fits(len(sending.payload), len(sending.lines)):
                    self._accept(sending)
                elif self._may_get_room(sending):
                    return
                else:
                    sending.done.set_exception(self._no_room())
            self._full.popleft()

    def _accept(self, sending: _Sending) -> None:
        now = _micros(self._owner.wall_clock())
        sending.number = self._outbox.accept(len(sending.payload), sending.lines, at_least=now)
        sending.payload = stamped(Stamp(self.outbox, sending.number), sending.payload)
        self._accepted.append(sending)
        self._owner.schedule()

    def _may_get_room(self, sending: _Sending) -> bool:
        """Whether somebody is in the mesh whose receipts may make room."""
        if message_cost(len(sending.payload), len(sending.lines)) > self._outbox.max_bytes:
            return False
        return bool(self._accepted) or any(
            line.label in self._channels and self._owner.conversation(line.receiver) is not None
            for line in self._outbox.lines()
        )

    def _no_room(self) -> OutboxFull:
        waiting: defaultdict[PeerId, int] = defaultdict(int)
        for line in self._outbox.lines():
            waiting[line.receiver] += self._outbox.waiting(line)
        return OutboxFull(self.path, self._outbox.max_bytes, waiting)

    def _settled(self, settled: Settled | None, error: MeshError | None = None) -> None:
        """Have the file forget what is settled, and tell those who wait for that."""
        if settled is None:
            return
        self._changes.settled[settled.line] = settled.through
        self._changes.unneeded += settled.unneeded
        self._owner.schedule()
        for future, number in self._unconfirmed.get(settled.line, {}).items():
            if self._outbox.is_settled(settled.line, number):
                _finish(future, error)
        self._serve()

    # Into the conversations

    def _hand_over(self, line: Line) -> None:
        """Give a receiver's conversation what it takes."""
        conversation = self._owner.conversation(line.receiver)
        priority = self._channels.get(line.label)
        if (
            conversation is None
            or conversation.ended
            or priority is None
            or line in self._waiting
            or self._error
        ):
            return
        while (number := self._outbox.hand_over(line)) is not None:
            try:
                payload = self._recent.get(number) or self._file.payload(number)
            except OutboxError as error:
                logger.exception("nothing is sent any more from the outbox %s", self.path)
                self._fail(error)
                return
            message = Outgoing(line.label, payload, Delivery.RELIABLE, priority, stored=True)
            result = conversation.send(message)
            if not isinstance(result, int):
                self._waiting[line] = result
                result.add_done_callback(lambda future: self._took(line, future))
                return

    def _took(self, line: Line, future: asyncio.Future[int]) -> None:
        """Go on when there is room in a conversation, unless it has ended."""
        went_on = not future.cancelled() and future.exception() is None
        if self._waiting.get(line) is future:
            del self._waiting[line]
            if went_on:
                self._hand_over(line)

    def _fail(self, error: MeshError) -> None:
        """Take nothing more, and let go of everybody who waits."""
        self._error = error
        self._serve()
        for unconfirmed in self._unconfirmed.values():
            for future in unconfirmed:
                _finish(future, error)


def _finish(future: asyncio.Future[None], error: MeshError | None) -> None:
    if not future.done():
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
