"""The few calls of the C library that Python offers too late, or not at all."""

from __future__ import annotations

import ctypes
import os

TOOL_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Where programs for networks are; users who are not root do not look there by themselves."""

CLONE_NEWNET = 0x40000000
CLONE_NEWUSER = 0x10000000


def unshare(flags: int) -> None:
    """Leave a namespace for a new one; `os.unshare` is there from Python 3.12 on. Raises OSError."""
    _call("unshare", flags)


def setns(fd: int, flags: int) -> None:
    """Enter a namespace; `os.setns` is there from Python 3.12 on. Raises OSError."""
    _call("setns", fd, flags)


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
