"""What can go wrong on the relay path, split by who is at fault."""


class RelayError(Exception):
    """Every error of this package derives from this one."""


class ProtocolError(RelayError):
    """The other side sent bytes, or a frame at a moment, that the protocol does not allow."""


class OlderConnection(RelayError):
    """This peer is connected with a connection that has a greater number, so this one is out of date."""

    def __str__(self) -> str:
        return "this peer has a newer connection"


class SocketClosed(RelayError):
    """The connection has ended: the other side closed it with this code, or it broke (1006)."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection has ended ({self.code} {self.reason})".replace(" )", ")")


class DialFailed(RelayError):
    """No connection came about; `__cause__` is what the network said."""
