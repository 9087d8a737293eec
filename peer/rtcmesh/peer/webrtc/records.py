"""DTLS records in and out of OpenSSL, many at a time. The only module that touches private names of pyOpenSSL.

pyOpenSSL spends as much on each call as OpenSSL on the cryptography of a packet: it copies, allocates and looks at the
error queue. Where its private names are as expected, records are written and read without that; whatever is not plain
success is left to its public interface, which knows how to say what happened.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from OpenSSL import SSL

logger = logging.getLogger(__name__)

MAX_PLAINTEXT_BYTES = 16_384
MAX_OUTPUT_BYTES = 1 << 17
"""More than a run of datagrams ever has, with what DTLS adds to each."""

_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)


class _Scratch(threading.local):
    """What OpenSSL writes into: its calls release the interpreter's lock."""

    def __init__(self) -> None:
        self.plaintext = _ffi.new("char[]", MAX_PLAINTEXT_BYTES)
        self.output = _ffi.new("char[]", MAX_OUTPUT_BYTES)
        self.plaintext_bytes = _ffi.buffer(self.plaintext)
        """The same as `plaintext`, for Python: to make it for each record would cost as much as to copy one."""
        self.output_bytes = _ffi.buffer(self.output)


@functools.cache
def is_fast() -> bool:
    """Tell whether pyOpenSSL has the names that make records cheap; warns if not."""
    probe = SSL.Connection(SSL.Context(SSL.DTLS_METHOD))
    names = ("SSL_read", "SSL_write", "SSL_get_error", "SSL_ERROR_WANT_READ", "BIO_read", "BIO_write")
    fast = (
        all(hasattr(_lib, name) for name in names)
        and all(hasattr(_ffi, name) for name in ("new", "buffer", "from_buffer"))
        and vars(probe).keys() >= {"_ssl", "_into_ssl", "_from_ssl"}
    )
    if not fast:
        logger.warning(
            "the installed pyOpenSSL is not as expected: its public interface is used, which is slower"
        )
    return fast


_scratch = _Scratch() if _ffi is not None else None


def seal_records(connection: SSL.Connection, packets: Sequence[bytes]) -> bytes:
    """Encrypt packets, each into a record of its own, and return all records. Raises `SSL.Error`."""
    if _scratch is None or not is_fast():
        for packet in packets:
            connection.send(packet)
        return connection.bio_read(MAX_OUTPUT_BYTES)
    private = vars(connection)
    write, handle = _lib.SSL_write, private["_ssl"]
    for packet in packets:
        if write(handle, packet, len(packet)) <= 0:
            connection.send(packet)  # says what is wrong
    size = _lib.BIO_read(private["_from_ssl"], _scratch.output, MAX_OUTPUT_BYTES)
    return _scratch.output_bytes[:size] if size > 0 else connection.bio_read(MAX_OUTPUT_BYTES)


def open_records(connection: SSL.Connection, data: bytes | memoryview, packets: list[bytes]) -> None:
    """Decrypt records, at least one byte of them, and append what is in them. Raises `SSL.Error`.

    Records that are not authentic are dropped in here.
    """
    if not is_fast():
        connection.bio_write(data)
    elif _lib.BIO_write(vars(connection)["_into_ssl"], _ffi.from_buffer(data), len(data)) <= 0:
        connection.bio_write(data)  # says what is wrong
    read_records(connection, packets)


def read_records(connection: SSL.Connection, packets: list[bytes]) -> None:
    """Decrypt what has been written already, and append what is in it. Raises `SSL.Error`."""
    if _scratch is not None and is_fast():
        read, handle, plaintext, contents = (
            _lib.SSL_read,
            vars(connection)["_ssl"],
            _scratch.plaintext,
            _scratch.plaintext_bytes,
        )
        while (size := read(handle, plaintext, MAX_PLAINTEXT_BYTES)) > 0:
            packets.append(contents[:size])
        if _lib.SSL_get_error(handle, size) == _lib.SSL_ERROR_WANT_READ:
            return
    with suppress(SSL.WantReadError):
        while True:
            packets.append(connection.recv(MAX_PLAINTEXT_BYTES))
