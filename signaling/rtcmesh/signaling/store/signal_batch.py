"""Signals to the members of one room that wait for the store, and go there together."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from rtcmesh.signaling.errors import SignalingError

from .lane import Command, Outcome

MAX_SIGNALS = 64
"""In one batch; the store does nothing else meanwhile."""

MAX_BYTES = 32_768
"""In one batch, unless it is a single signal: a small part of what a stream holds, so that it is read in time."""

MAX_AGE = 0.25
"""Seconds for which a batch is added to, as it is given up together, with its first signal."""

Answered: TypeAlias = Callable[[int, bytes | SignalingError], None]
"""Called with the id of a signal, and the status that the script returned, or the error instead of one."""


@dataclass(slots=True, eq=False)
class SignalBatch:
    """What of one room waits in the queue of its lane; `settle` is told what became of it."""

    command: Command
    opened_at: float
    waiting: list[tuple[Answered, int]] = field(default_factory=list[tuple[Answered, int]])

    def takes(self, size_bytes: int, now: float) -> bool:
        """Whether one more signal may be added."""
        return (
            not self.command.is_sealed
            and len(self.waiting) < MAX_SIGNALS
            and self.command.size_bytes + size_bytes <= MAX_BYTES
            and now - self.opened_at <= MAX_AGE
        )

    def settle(self, outcome: Outcome) -> None:
        """Tell each sender."""
        if isinstance(outcome, SignalingError):
            for answered, id_ in self.waiting:
                answered(id_, outcome)
        else:
            statuses = cast("list[bytes]", outcome)
            for (answered, id_), status in zip(self.waiting, statuses, strict=True):
                answered(id_, status)
