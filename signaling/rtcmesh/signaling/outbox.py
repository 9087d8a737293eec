"""The signals of one peer that are not yet answered, and which of them to send.

submit ──▶ waiting ──window has room──▶ unacknowledged ──ack or nack──▶ settled
              └── withdraw ──▶ gone          └── replay: sent again after a resume, with the same id
"""

from dataclasses import dataclass

from .errors import ProtocolError
from .identity import PeerId
from .messages import Ack, Nack, SendSignal


@dataclass(frozen=True, slots=True)
class _Waiting:
    ticket: int
    to: PeerId
    sealed: bytes


class Outbox:
    """Every submitted signal goes out in order, at most a window of them unanswered; a ticket names each.

    The window is bounded in signals, as the server asks, and in sealed bytes; one signal always fits.
    """

    def __init__(self, *, window_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._unacknowledged_bytes = 0
        self._tickets = 0
        self._next_id = 1
        self._window = 0
        self._waiting: dict[int, _Waiting] = {}
        self._unacknowledged: dict[int, tuple[int, SendSignal]] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._unacknowledged)

    def submit(self, to: PeerId, sealed: bytes) -> int:
        """Take a signal and return its ticket."""
        self._tickets += 1
        self._waiting[self._tickets] = _Waiting(self._tickets, to, sealed)
        return self._tickets

    def withdraw(self, ticket: int) -> None:
        """Forget a signal that never went out; one that did stays, since only an answer settles it."""
        self._waiting.pop(ticket, None)

    def signals_to_send(self) -> list[SendSignal]:
        """Hand over the waiting signals for which the window has room."""
        signals: list[SendSignal] = []
        while self._waiting:
            waiting = next(iter(self._waiting.values()))
            if not self._has_room(len(waiting.sealed)):
                break
            del self._waiting[waiting.ticket]
            signal = SendSignal(to=waiting.to, id=self._next_id, sealed=waiting.sealed)
            self._unacknowledged[signal.id] = (waiting.ticket, signal)
            self._unacknowledged_bytes += len(signal.sealed)
            self._next_id += 1
            signals.append(signal)
        return signals

    def replay(self) -> list[SendSignal]:
        """Return the unanswered signals in order, to be sent again after a resume."""
        return [signal for _, signal in self._unacknowledged.values()]

    def settle(self, answer: Ack | Nack) -> int:
        """Return the ticket of the signal that was answered; raise `ProtocolError` if there is none."""
        try:
            ticket, signal = self._unacknowledged.pop(answer.id)
        except KeyError:
            raise ProtocolError(f"an answer to signal {answer.id}, which waits for none") from None
        self._unacknowledged_bytes -= len(signal.sealed)
        return ticket

    def restart(self, window: int) -> list[int]:
        """Begin a new membership with ids from 1; return the tickets of all signals that are given up."""
        tickets = [ticket for ticket, _ in self._unacknowledged.values()]
        tickets.extend(self._waiting)
        self._unacknowledged.clear()
        self._waiting.clear()
        self._next_id, self._window, self._unacknowledged_bytes = 1, window, 0
        return tickets

    def _has_room(self, size_bytes: int) -> bool:
        if not self._unacknowledged:
            return True
        fits = self._unacknowledged_bytes + size_bytes <= self._window_bytes
        return fits and len(self._unacknowledged) < self._window
