"""The processes in namespaces, whoever started them: what a program that was killed has left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_ROUNDS = 10
"""What forks while the list is read may get away, so it is read again; who was killed has no more children."""


def kill_inhabitants(namespaces: Collection[int]) -> None:
    """Kill every process in one of these namespaces, given by descriptors, but the caller."""
    keys = {_key(os.fstat(fd)) for fd in namespaces}
    for _ in range(_ROUNDS):
        found = [pid for pid in _others() if _namespace_of(pid) in keys]
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _others() -> list[int]:
    me = os.getpid()
    return [
        int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and int(path.name) != me
    ]


def _namespace_of(pid: int) -> tuple[int, int] | None:
    try:
        return _key(Path(f"/proc/{pid}/ns/net").stat())
    except OSError:
        return None


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
