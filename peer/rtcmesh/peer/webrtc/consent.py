"""Whether the other end still agrees to be sent to (RFC 7675): asked every 5 s or so, withdrawn by 30 s of silence."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from .binding import TRANSACTION_ID_BYTES, Bindings, transaction_id_of

MIN_INTERVAL, MAX_INTERVAL = 4.0, 6.0
"""What a request follows the one before after, by chance, so that not all ask at once."""

DOUBT_INTERVAL = 1.0
"""The same once a request was not answered by the time of the next one: where half of the answers are lost, as over a
TURN server with a bad line at both ends, six requests in 30 s are all in vain now and then, and twenty never."""

TICK = 0.25
"""Requests leave just after multiples of this on the clock: those of many connections share what waking up costs."""

STAGGER = 1e-4
"""By how much at most, so that timers of equal times do not leave it to the event loop which goes first."""

LIFETIME = 30.0
"""For how long an answer is good."""

MAX_UNANSWERED = 32
"""More requests do not fit into a lifetime."""

STOPPED = 1.0
"""Who looks at the clock so much too late was stopped, and has no right to say that nobody answered meanwhile."""


class Consent:
    """Asks one remote address. Each request is sent once and has an id of its own that nobody can guess.

    An answer counts for as long as consent lasts, however slow the path: which of the requests it answers is all one
    (section 5.1). What `new_id` returns, so many bytes, must be foretold by nobody; `uniform` spreads the requests.
    """

    def __init__(
        self,
        bindings: Bindings,
        now: float,
        *,
        new_id: Callable[[int], bytes],
        uniform: Callable[[float, float], float],
    ) -> None:
        self.expired = False
        """Whether nothing may be sent any more. It stays so."""
        self._bindings = bindings
        self._new_id, self._uniform = new_id, uniform
        self._unanswered: list[bytes] = []
        self._answered = True
        """Whether there was an answer since the last request; the check that found the address was one."""
        self._expires_at = now + LIFETIME
        self._ask_at = self._next(now)

    def deadline(self) -> float:
        """When `handle_timeout` is due, until consent has expired."""
        return min(self._ask_at, self._expires_at)

    def handle_timeout(self, now: float, *, is_controlling: bool) -> bytes:
        """Return the request that is due, or nothing."""
        late = now - self.deadline()
        if late > STOPPED:
            self._expires_at += late
        if now >= self._expires_at:
            self.expired = True
        if self.expired or now < self._ask_at:
            return b""
        self._ask_at = self._next(now) if self._answered else _tick_after(now + DOUBT_INTERVAL)
        self._answered = False
        transaction_id = self._new_id(TRANSACTION_ID_BYTES)
        self._unanswered = [*self._unanswered[1 - MAX_UNANSWERED :], transaction_id]
        return self._bindings.request(transaction_id, is_controlling=is_controlling)

    def receive(self, message: bytes, now: float) -> bool:
        """Take a message from the remote address; return whether it answers one of the requests."""
        transaction_id = transaction_id_of(message)
        if transaction_id not in self._unanswered or not self._bindings.is_response(message):
            return False
        self._unanswered.remove(transaction_id)  # what repeats it proves nothing
        self._answered = True
        self._expires_at = now + LIFETIME
        return True

    def _next(self, now: float) -> float:
        earliest = now + self._uniform(MIN_INTERVAL, MAX_INTERVAL - TICK - STAGGER)
        return _tick_after(earliest) + self._uniform(0, STAGGER)


def _tick_after(earliest: float) -> float:
    return ceil(earliest / TICK) * TICK
