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
from typing import Any

from OpenSSL import SSL

logger = logging.getLogger(__name__)

MAX_PLAINTEXT_BYTES = 16_384

_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)


class _Scratch(threading.local):
    """What a record is decrypted into: calls of OpenSSL release the interpreter's lock."""

    def __init__(self) -> None:
        self.buffer = _ffi.new("char[]", MAX_PLAINTEXT_BYTES)


@functools.cache
def is_fast() -> bool:
    """Tell whether pyOpenSSL has the names that make records cheap; warns if not."""
    probe = SSL.Connection(SSL.Context(SSL.DTLS_METHOD))
    fast = (
        all(hasattr(_lib, name) for name in ("SSL_read", "SSL_write"))
        and all(hasattr(_ffi, name) for name in ("new", "buffer"))
        and "_ssl" in vars(probe)
    )
    if not fast:
        logger.warning(
            "the installed pyOpenSSL is not as expected: its public interface is used, which is slower"
        )
    return fast


_scratch = _Scratch() if _ffi is not None else None


def write_records(connection: SSL.Connection, packets: Sequence[bytes]) -> None:
    """Encrypt packets, each into a record of its own. Raises `SSL.Error`."""
    if not is_fast():
        for packet in packets:
            connection.send(packet)
        return
    write, handle = _lib.SSL_write, vars(connection)["_ssl"]
    for packet in packets:
        if write(handle, packet, len(packet)) <= 0:
            connection.send(packet)  # says what is wrong


def read_records(connection: SSL.Connection, packets: list[bytes]) -> None:
    """Decrypt all records that were written, and append what is in them; always ends with an `SSL.Error`.

    `SSL.WantReadError` is the normal end. Records that are not authentic are dropped in here.
    """
    if _scratch is not None and is_fast():
        read, handle, buffer, contents = _lib.SSL_read, vars(connection)["_ssl"], _scratch.buffer, _ffi.buffer
        while (size := read(handle, buffer, MAX_PLAINTEXT_BYTES)) > 0:
            packets.append(contents(buffer, size)[:])
    while True:
        packets.append(connection.recv(MAX_PLAINTEXT_BYTES))
