"""What can go wrong in an association, split by culprit: the caller, the remote end, the network."""

from __future__ import annotations


class SctpError(Exception):
    """Base of every error of this package."""


class NotEstablished(SctpError):
    """The association takes no data: it is shutting down or over."""


class ChannelNotOpen(SctpError):
    """No data channel with this id takes data: it was never opened, or it is closing."""

    def __init__(self, channel_id: int) -> None:
        self.channel_id = channel_id
        super().__init__(f"data channel {channel_id} is not open")


class ChannelIdTaken(SctpError):
    """The id is in use, out of range, or its last user is not quite gone."""

    def __init__(self, channel_id: int) -> None:
        self.channel_id = channel_id
        super().__init__(f"data channel id {channel_id} cannot be used")


class NoChannelIdLeft(SctpError):
    """Every stream that the remote end accepts is in use."""


class MessageTooLarge(SctpError):
    """The remote end does not take messages of this size. Nothing was queued."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(f"a message of {size_bytes} bytes exceeds the limit of {limit_bytes} bytes")


class BufferFull(SctpError):
    """What waits to be sent has reached `SctpConfig.max_buffered_bytes`. Nothing was queued."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"{limit_bytes} bytes wait to be sent already")


class ProtocolError(SctpError):
    """The remote end sent what no correct one sends. The association is aborted with this cause."""

    def __init__(self, cause: int, detail: str) -> None:
        self.cause = cause
        """The error cause code of RFC 9260 section 3.3.10."""
        self.detail = detail
        super().__init__(f"{detail} (cause {cause})")
