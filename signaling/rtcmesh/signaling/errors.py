"""What can go wrong in signaling, split by who is at fault."""

from .codes import NackCode, RefusalCode


class SignalingError(Exception):
    """Every error of this package derives from this one."""


class ProtocolError(SignalingError):
    """The other side sent bytes, or a message at a moment, that the protocol does not allow."""


class InvalidPresence(SignalingError):
    """A presence that is no JSON object, or is nested too deep."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"not a presence: {self.reason}"


class PresenceTooLarge(SignalingError):
    """The presence is larger than the server accepts; nothing was changed or sent."""

    def __init__(self, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(size_bytes, limit_bytes)
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return f"a presence of {self.size_bytes} bytes is larger than the limit of {self.limit_bytes} bytes"


class JoinRefused(SignalingError):
    """The server refuses this membership, at the join or later, and trying again would not change that."""

    def __init__(self, code: RefusalCode, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"the signaling server refused: {self.message or self.code.meaning} ({self.code.value})"


class SignalRefused(SignalingError):
    """The signal was not accepted for delivery, or (`epoch_changed`) nobody can say whether it was."""

    def __init__(self, code: NackCode) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"the signal was refused: {self.code.meaning} ({self.code.value})"


class SignalingUnreachable(SignalingError):
    """No welcome came within `connect_timeout`; `__cause__` is the last failure that was seen."""

    def __init__(self, url: str, after: float) -> None:
        super().__init__(url, after)
        self.url = url
        self.after = after

    def __str__(self) -> str:
        return f"no signaling server welcomed us at {self.url} within {self.after:g} s"


class MissingExtra(SignalingError):
    """A part of the package needs a dependency that is not installed."""

    def __init__(self, extra: str) -> None:
        super().__init__(extra)
        self.extra = extra

    def __str__(self) -> str:
        return f"this needs more than the base install: pip install 'rtcmesh[{self.extra}]'"


class Closed(SignalingError):
    """The link was closed by this program, so the call can no longer be carried out."""

    def __str__(self) -> str:
        return "the signaling link is closed"


class StoreUnreachable(SignalingError):
    """The shared store did not answer, or is not the server that may be written to; trying again may help."""


class StoreFull(SignalingError):
    """The shared store has no memory left; nothing was changed."""


class StoreFailed(SignalingError):
    """The shared store refused a command for a reason that trying again does not change."""
