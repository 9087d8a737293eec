"""A file that is being received. It gets its name when it is whole and right, and not before."""

from __future__ import annotations

import fcntl
import hashlib
import os
from io import FileIO
from pathlib import Path

from rtcmesh.peer.errors import MeshError

from .disk import hash_file, hash_rest, in_thread
from .messages import FileInfo


class CannotReceive(MeshError):
    """A file cannot be taken or kept; the text is for the people at both ends."""


class PartialFile:
    """Takes the data of one file in order, under a hidden name that tells the content it shall have.

    Guarantees: nothing that exists is touched without `force`; what is under the file's own name has the announced
    SHA-256. What was received of a file stays when the transfer breaks off, and the next one goes on from there; what
    turns out to be wrong is removed. The caller ends it with `close`.
    """

    def __init__(self, directory: Path, info: FileInfo, *, force: bool) -> None:
        """Prepare it; use `open` instead."""
        self.info = info
        self.received = 0
        """How many bytes of the file are here."""
        self._target = directory / info.name
        self._partial = directory / f".{info.name}.{info.sha256[:16]}.part"
        self._force = force
        self._digest = hashlib.sha256()
        self._file: FileIO | None = None

    @property
    def is_whole(self) -> bool:
        """Whether as much is here as was announced."""
        return self.received == self.info.size

    @classmethod
    async def open(cls, directory: Path, info: FileInfo, *, force: bool) -> PartialFile:
        """Find out what is here already. Raises `CannotReceive`."""
        partial = cls(directory, info, force=force)
        try:
            await partial._open()
        except OSError as error:
            partial.close()
            raise CannotReceive(f"{info.name}: {error.strerror}") from error
        except BaseException:
            partial.close()
            raise
        return partial

    async def write(self, data: bytes) -> None:
        """Append. Raises `CannotReceive`."""
        if self.received + len(data) > self.info.size:
            raise CannotReceive(f"{self.info.name}: more came than was announced")
        if not data:
            return  # a file that was here already is not open
        try:
            await in_thread(self._append, data)
        except OSError as error:
            raise CannotReceive(f"{self.info.name}: {error.strerror}") from error
        self.received += len(data)

    async def place(self) -> None:
        """Verify the whole file and give it its name. Raises `CannotReceive`."""
        if self._file is None:
            return  # it was there
        if self._digest.hexdigest() != self.info.sha256:
            self._partial.unlink(missing_ok=True)
            raise CannotReceive(f"{self.info.name}: its SHA-256 is not the one that was announced")
        try:
            await in_thread(self._sync_and_rename)
        except FileExistsError:
            raise CannotReceive(_exists(self.info)) from None
        except OSError as error:
            raise CannotReceive(f"{self.info.name}: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the file; one that has nothing in it is not kept. Idempotent."""
        if self._file is None or self._file.closed:
            return
        if not self.received:
            self._partial.unlink(missing_ok=True)
        self._file.close()

    async def _open(self) -> None:
        if self._is_taken():
            if await self._is_here_already():
                self.received = self.info.size
                return
            if not self._force:
                raise CannotReceive(_exists(self.info))
            if self._target.is_dir():
                raise CannotReceive(f"{self.info.name}: a directory is in the way")
        self._file = self._open_partial()
        self._file.seek(0)
        size = await hash_rest(self._file, self._digest)
        if size > self.info.size:
            self._file.truncate(0)
            self._digest, size = hashlib.sha256(), 0
        self.received = size

    def _open_partial(self) -> FileIO:
        file = FileIO(self._partial, "ab+", opener=_open_without_following)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise CannotReceive(f"{self.info.name}: is being received already") from None
        return file

    def _is_taken(self) -> bool:
        return self._target.is_symlink() or self._target.exists()

    async def _is_here_already(self) -> bool:
        if not self._target.is_file() or self._target.stat().st_size != self.info.size:
            return False
        return (await hash_file(self._target))[1] == self.info.sha256

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._digest.update(data)

    def _sync_and_rename(self) -> None:
        assert self._file is not None
        os.fsync(self._file.fileno())
        if not self._force:
            # Whoever has made a file of this name meanwhile keeps it.
            self._target.open("xb").close()
        self._partial.replace(self._target)


def _open_without_following(path: str, flags: int) -> int:
    """Open no file elsewhere that a link of this name points to."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _exists(info: FileInfo) -> str:
    return f"{info.name}: exists already; --force overwrites it"
