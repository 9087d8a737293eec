"""An outbox in a file: SQLite, behind the five things that an outbox needs of it.

    owner     one row: whose outbox it is, the outbox's own number, the greatest number given to a message
    message   number, payload as it goes to the session
    pending   which receiver waits for which message, on which channel
    taken     through which number the application has what others' outboxes sent

The file has one user at a time, which holds its lock as long as it is open; the operating system releases it when the
process dies. The log is written ahead (WAL) and not synced with each transaction: what was committed survives the death
of the process in any way; after a power failure, the last transactions may be missing, and the file is consistent.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rtcmesh.peer.errors import OutboxFailed, OutboxInUse, OutboxMismatch
from rtcmesh.signaling.identity import PeerId, short

from .outbox import Entry, Line
from .stamps import Receipt

_APPLICATION_ID = 0x7274_6D4F
_VERSION = 1

_SCHEMA = """
CREATE TABLE owner (peer_id TEXT NOT NULL, outbox INTEGER NOT NULL, last_number INTEGER NOT NULL);
CREATE TABLE message (number INTEGER PRIMARY KEY, payload BLOB NOT NULL);
CREATE TABLE pending (
    receiver TEXT NOT NULL, label TEXT NOT NULL, number INTEGER NOT NULL REFERENCES message,
    PRIMARY KEY (receiver, label, number)
) WITHOUT ROWID;
CREATE TABLE taken (
    label TEXT NOT NULL, sender TEXT NOT NULL, outbox INTEGER NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (label, sender, outbox)
) WITHOUT ROWID;
"""


@dataclass(slots=True)
class Changes:
    """What one transaction writes."""

    last_number: int
    messages: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    pending: list[tuple[Line, int]] = field(default_factory=list[tuple[Line, int]])
    settled: dict[Line, int] = field(default_factory=dict[Line, int])
    """Through which number nothing is pending any more."""
    unneeded: list[int] = field(default_factory=list[int])
    """Messages that nobody waits for."""
    taken: dict[tuple[PeerId, str, int], int] = field(default_factory=dict[tuple[PeerId, str, int], int])
    """By sender, label and outbox."""
    forgotten: list[tuple[PeerId, str, int]] = field(default_factory=list[tuple[PeerId, str, int]])
    """Of which senders, labels and outboxes nothing need be known any more."""

    def __bool__(self) -> bool:
        return bool(self.messages or self.settled or self.taken or self.forgotten)


class OutboxFile:
    """The tables of one outbox. Every call is one transaction, done when it returns.

    Raises `OutboxFailed` for what the file or the disk does not do; then nothing was changed.
    """

    def __init__(self, path: Path, peer_id: PeerId) -> None:
        """Open the file, or make it, for its owner alone to read (mode 0600).

        Raises `OutboxInUse`, `OutboxMismatch` or `OutboxFailed`.
        """
        self.path = path
        with self._translated():
            # A file that is there is not opened here: closing it would drop the locks that this process has on it.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            with self._translated():
                self.outbox, self.last_number = self._open(peer_id)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Release the file."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def entries(self) -> Iterator[Entry]:
        """Return what is pending, in the order of the numbers."""
        with self._translated():
            rows = self._database.execute(
                "SELECT receiver, label, number, length(payload) FROM pending JOIN message USING (number)"
                " ORDER BY number"
            )
            for receiver, label, number, size in rows:
                yield Entry(Line(receiver, label), number, size)

    def taken(self, label: str) -> Iterator[tuple[PeerId, Receipt]]:
        """Return what the application has taken on a channel, by sender."""
        with self._translated():
            rows = self._database.execute(
                "SELECT sender, outbox, number FROM taken WHERE label = ?", (label,)
            )
            for sender, outbox, number in rows:
                yield sender, Receipt(label, outbox, number)

    def payload(self, number: int) -> bytes:
        """Return a message that is pending."""
        with self._translated():
            row = self._database.execute("SELECT payload FROM message WHERE number = ?", (number,)).fetchone()
            if row is None:
                raise sqlite3.DatabaseError(f"message {number} is missing")
            payload: bytes = row[0]
            return payload

    def write(self, changes: Changes) -> None:
        """Write all of it, or nothing."""
        execute, executemany = self._database.execute, self._database.executemany
        with self._translated(), self._transaction():
            if changes.messages:
                execute("UPDATE owner SET last_number = ?", (changes.last_number,))
                executemany("INSERT INTO message VALUES (?, ?)", changes.messages)
                executemany(
                    "INSERT INTO pending VALUES (?, ?, ?)", ((*line, n) for line, n in changes.pending)
                )
            if changes.settled:
                executemany(
                    "DELETE FROM pending WHERE receiver = ? AND label = ? AND number <= ?",
                    ((*line, through) for line, through in changes.settled.items()),
                )
                executemany(
                    "DELETE FROM message WHERE number = ?", ((number,) for number in changes.unneeded)
                )
            if changes.taken:
                executemany(
                    "INSERT OR REPLACE INTO taken (sender, label, outbox, number) VALUES (?, ?, ?, ?)",
                    ((*key, number) for key, number in changes.taken.items()),
                )
            if changes.forgotten:
                executemany(
                    "DELETE FROM taken WHERE sender = ? AND label = ? AND outbox = ?", changes.forgotten
                )

    def _open(self, peer_id: PeerId) -> tuple[int, int]:
        """Take the lock, make or check what is there, and return the outbox's number and the last of a message."""
        execute = self._database.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            (application,) = execute("PRAGMA application_id").fetchone()
            (version,) = execute("PRAGMA user_version").fetchone()
            (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:
                self._make(peer_id)
            elif application != _APPLICATION_ID:
                raise OutboxMismatch(self.path, "is a database of something else")
            elif version != _VERSION:
                raise OutboxMismatch(
                    self.path, f"has version {version}; this rtcmesh reads version {_VERSION}"
                )
            owner, outbox, last_number = execute("SELECT peer_id, outbox, last_number FROM owner").fetchone()
        if owner != peer_id:
            raise OutboxMismatch(
                self.path, f"belongs to {short(owner)}, and the mesh was joined as {short(peer_id)}"
            )
        return outbox, last_number

    def _make(self, peer_id: PeerId) -> None:
        execute = self._database.execute
        for statement in _SCHEMA.split(";"):
            execute(statement)
        execute("INSERT INTO owner VALUES (?, ?, 0)", (peer_id, secrets.randbits(63)))
        execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        execute(f"PRAGMA user_version = {_VERSION}")

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            # A full disk makes SQLite roll back by itself.
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            match getattr(error, "sqlite_errorcode", 0) & 0xFF:
                case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                    raise OutboxInUse(self.path) from error
                case sqlite3.SQLITE_NOTADB:
                    raise OutboxMismatch(self.path, "is no database") from error
                case _:
                    raise OutboxFailed(self.path) from error
        except (OSError, sqlite3.Error) as error:
            raise OutboxFailed(self.path) from error
