"""Work on files beside the event loop."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

BLOCK_BYTES = 1024 * 1024
"""How much is read or hashed at a time: constant memory, and a cancellation does not wait long."""


class Digest(Protocol):
    """A hash that can be fed."""

    def update(self, data: bytes, /) -> None:
        """Take more."""
        ...


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread. A cancellation waits for its end, for no file may be closed under a thread."""
    job = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        raise


async def hash_file(path: Path) -> tuple[int, str]:
    """Return size and SHA-256 of a file. Raises `OSError`."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        size = await hash_rest(file, digest)
    return size, digest.hexdigest()


async def hash_rest(file: FileIO, digest: Digest) -> int:
    """Put the rest of an open file into a digest; return how much that was. Raises `OSError`."""

    def hash_block() -> int:
        block = file.read(BLOCK_BYTES)
        digest.update(block)
        return len(block)

    size = 0
    while read := await in_thread(hash_block):
        size += read
    return size
