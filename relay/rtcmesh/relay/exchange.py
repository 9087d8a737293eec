"""The switch on the running loop: whoever puts something in wakes the connections for which something came out."""

import asyncio
from collections.abc import Callable

from .codes import GoneReason
from .frames import PeerKey, Send
from .stats import SwitchStats
from .switch import Seat, Switch, SwitchLimits


class Exchange:
    """The switch's owner. `wake` of a place is called, soon, when `take` has something for it again."""

    def __init__(self, limits: SwitchLimits) -> None:
        self._switch = Switch(limits)
        self._ends: dict[Seat, tuple[Callable[[], None], Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def stats(self) -> SwitchStats:
        """What became of the frames."""
        return self._switch.stats

    @property
    def queued_bytes(self) -> int:
        """The cost of all that is waiting."""
        return self._switch.queued_bytes

    @property
    def rooms(self) -> int:
        """How many rooms have somebody connected."""
        return self._switch.rooms

    @property
    def peers(self) -> int:
        """How many peers are connected."""
        return self._switch.peers

    def join(
        self,
        room: str,
        key: PeerKey,
        number: int,
        *,
        max_queue_bytes: int | None,
        wake: Callable[[], None],
        replace: Callable[[], None],
    ) -> Seat:
        """Take a place; `replace` of the one that it takes over is called. Raises `OlderConnection`."""
        seat, old = self._switch.join(room, key, number, max_queue_bytes=max_queue_bytes)
        self._ends[seat] = wake, replace
        if old is not None:
            _, replace_old = self._ends.pop(old)
            replace_old()
        self._drain()
        return seat

    def leave(self, seat: Seat, reason: GoneReason) -> None:
        """Give a place up, if it was not taken over."""
        self._ends.pop(seat, None)
        self._switch.leave(seat, reason, _now())
        self._drain()

    def send(self, seat: Seat, send: Send) -> None:
        """Forward what a connection sent."""
        self._switch.send(seat, send, _now())
        self._drain()

    def take(self, seat: Seat) -> bytes | None:
        """Return the next frame for a connection, or None."""
        return self._switch.take(seat)

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()

    def _drain(self) -> None:
        for seat in self._switch.awakened():
            if seat in self._ends:
                wake, _ = self._ends[seat]
                wake()
        deadline = self._switch.deadline()
        if deadline is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._switch.handle_timeout(_now())
        self._drain()


def _now() -> float:
    return asyncio.get_running_loop().time()
