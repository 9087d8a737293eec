"""DTLS 1.2 records, without anything true in them."""

CLIENT_HELLO, SERVER_HELLO, HELLO_VERIFY, NEW_TICKET = 1, 2, 3, 4
CERTIFICATE, SERVER_HELLO_DONE, CLIENT_KEY_EXCHANGE = 11, 14, 16


def record(kind: int, body: bytes, *, epoch: int = 0) -> bytes:
    """Make a record."""
    return bytes([kind]) + b"\xfe\xfd" + epoch.to_bytes(2) + bytes(6) + len(body).to_bytes(2) + body


def message(kind: int, number: int, *, size: int = 20, offset: int = 0, of: int | None = None) -> bytes:
    """Make a handshake message, or the fragment of one."""
    total = size if of is None else of
    header = bytes([kind]) + total.to_bytes(3) + number.to_bytes(2) + offset.to_bytes(3) + size.to_bytes(3)
    return header + bytes(size)


def handshake(*messages: tuple[int, int]) -> bytes:
    """Make a datagram with a record for each (type, number)."""
    return b"".join(record(22, message(kind, number)) for kind, number in messages)


CHANGE_CIPHER = record(20, b"\x01")
FINISHED = record(22, bytes(40), epoch=1)
ALERT = record(21, bytes(2))
DATA = record(23, bytes(100), epoch=1)
