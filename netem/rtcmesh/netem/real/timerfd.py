"""A timer that wakes a selector at a point in time, to the microsecond: event loops round to the millisecond."""

from __future__ import annotations

import ctypes
import os

_CLOCK_MONOTONIC = 1
_NONBLOCK = 0o4000
_CLOEXEC = 0o2000000
_ABSOLUTE = 1

_NEVER = 1e9
"""Seconds after which nobody waits any more; infinity, for a packet on a link that is nearly still, is no number."""


class _Spec(ctypes.Structure):
    """`struct itimerspec`."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Timer:
    """One absolute timer on the clock of `time.monotonic`; Python has `os.timerfd_create` from 3.13 on."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK | _CLOEXEC)
        """Readable from the moment set until it is set again."""
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._at: float | None = None

    def set(self, at: float | None) -> None:
        """Expire at this time; None: not at all."""
        if at == self._at:
            return
        self._at = at
        # All zero would disarm it.
        nanoseconds = 0 if at is None or at > _NEVER else max(1, int(at * 1_000_000_000))
        spec = _Spec(0, 0, *divmod(nanoseconds, 1_000_000_000))
        if self._libc.timerfd_settime(self.fd, _ABSOLUTE, ctypes.byref(spec), None):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
