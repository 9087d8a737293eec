"""Which transport a link uses: WebSocket wherever it works, plain HTTP where something on the way blocks it."""


class TransportChoice:
    """Remembers where WebSockets were blocked: they are tried again after `retry_after`, not at each attempt.

    They count as blocked only when HTTP got through where they did not: a server that is down blocks nothing.
    """

    def __init__(self, *, retry_after: float) -> None:
        self._retry_after = retry_after
        self._blocked_until: float | None = None

    def tries_websocket(self, now: float) -> bool:
        """Whether a WebSocket is to be tried first."""
        return self._blocked_until is None or now >= self._blocked_until

    def retry_at(self) -> float | None:
        """Return when a WebSocket is to be tried again beside HTTP; None while it is not blocked."""
        return self._blocked_until

    def websocket_worked(self) -> None:
        """Note that a WebSocket carried a frame."""
        self._blocked_until = None

    def websocket_was_blocked(self, now: float) -> None:
        """Note that HTTP works where a WebSocket did not."""
        self._blocked_until = now + self._retry_after
