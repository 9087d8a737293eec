"""The stream of what happened in a room: each event at an offset, and the newest of them kept for who resumes."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from .identity import PeerId
from .messages import RoomEvent, encode

ENTRY_OVERHEAD_BYTES = 1024
"""What an event of the history takes at most besides its encoding and its content."""


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One event of the stream with its encoding, which is made once for all who get it."""

    event: RoomEvent
    frame: bytes
    receiver: PeerId | None
    """The one member it is for; None: all but the subject."""
    subject: PeerId
    """The member it is about."""

    def concerns(self, peer_id: PeerId) -> bool:
        """Whether this member is to see it."""
        return peer_id == self.receiver if self.receiver is not None else peer_id != self.subject


class RoomStream:
    """Numbers events from 1 on, and keeps as many of the newest as both bounds allow."""

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self.offset = 0
        """That of the newest event, 0 before the first."""
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._history: deque[StreamEntry] = deque()
        self._history_bytes = 0

    @property
    def history_bytes(self) -> int:
        """What the history holds, as bytes in memory."""
        # The event holds the sealed bytes, or the presence, once more beside the frame.
        return 2 * self._history_bytes + ENTRY_OVERHEAD_BYTES * len(self._history)

    @property
    def complete_from(self) -> int:
        """The oldest offset after which nothing is missing in the history."""
        return self.offset - len(self._history)

    def append(self, event: RoomEvent, *, about: PeerId, receiver: PeerId | None) -> StreamEntry:
        """Take the event of the next offset, and let go of the oldest ones that have no room beside it."""
        entry = StreamEntry(event, encode(event), receiver, about)
        self.offset = event.offset
        self._history.append(entry)
        self._history_bytes += len(entry.frame)
        while len(self._history) > self._max_events or self._history_bytes > self._max_bytes:
            self._history_bytes -= len(self._history.popleft().frame)
        return entry

    def since(self, offset: int, peer_id: PeerId) -> Iterable[StreamEntry]:
        """Return the events after an offset that concern a member."""
        return (entry for entry in self._history if entry.event.offset > offset and entry.concerns(peer_id))

    def forget(self) -> None:
        """Keep no event of the past."""
        self._history.clear()
        self._history_bytes = 0
