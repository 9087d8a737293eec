"""Linux network namespaces without names: held by a descriptor, they end with the process that holds them."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from .errors import LaboratoryUnavailable

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_THREAD_NAMESPACE = "/proc/thread-self/ns/net"

# Runs in the namespace whose descriptor it is given, and dies with whoever started it. Not a module of ours: it is
# there in a few milliseconds, since it imports nothing but what the interpreter has loaded anyway.
_ENTER = f"""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
parent, namespace = int(sys.argv[1]), int(sys.argv[2])
if libc.setns(namespace, {_CLONE_NEWNET}) or libc.prctl({_PR_SET_PDEATHSIG}, 9):
    sys.exit(os.strerror(ctypes.get_errno()))
if os.getppid() != parent:
    sys.exit("the parent is gone already")
os.close(namespace)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Namespace:
    """A network namespace. It is there until `close`, and then as long as a process or a descriptor is in it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        """A descriptor of it, to be inherited by what `command` runs."""

    @classmethod
    def create(cls) -> Namespace:
        """Make one, with nothing in it but a loopback interface that is up.

        Raises `LaboratoryUnavailable` where the system or the user's rights do not allow it.
        """
        if not sys.platform.startswith("linux"):
            raise LaboratoryUnavailable("network namespaces exist on Linux only")
        outcome: list[int | OSError] = []

        def unshare() -> None:
            try:
                _call("unshare", _CLONE_NEWNET)
                outcome.append(os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                outcome.append(error)

        # In a thread, which leaves the namespace by ending; ours is not touched.
        thread = threading.Thread(target=unshare)
        thread.start()
        thread.join()
        match outcome[0]:
            case OSError() as error if error.errno == errno.EPERM:
                raise LaboratoryUnavailable("making a network namespace needs root") from error
            case OSError() as error:
                raise LaboratoryUnavailable(f"no network namespace can be made: {error}") from error
            case fd:
                namespace = cls(fd)
        namespace.configure(["link set dev lo up"])
        return namespace

    def close(self) -> None:
        """Let go of it. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return what runs a program inside, killed with the thread that starts it; pass it the descriptor `fd`."""
        return [sys.executable, "-I", "-S", "-c", _ENTER, str(os.getpid()), str(self.fd), *argv]

    def configure(self, lines: Sequence[str]) -> None:
        """Let iproute2 carry out these lines inside, all or up to the first that fails.

        Raises `LaboratoryUnavailable` with what `ip` says.
        """
        self.run(["ip", "-batch", "-"], stdin="\n".join(lines) + "\n")

    def run(self, argv: Sequence[str], *, stdin: str = "") -> str:
        """Run a short program inside to its end, and return what it prints. Raises `LaboratoryUnavailable`."""
        try:
            done = subprocess.run(  # noqa: S603  (the caller's own words)
                self.command(argv),
                input=stdin,
                capture_output=True,
                text=True,
                pass_fds=(self.fd,),
                check=True,
            )
        except subprocess.CalledProcessError as error:
            what = " / ".join(str(error.stderr).split("\n")).strip(" /") or f"exit status {error.returncode}"
            raise LaboratoryUnavailable(f"{' '.join(argv)}: {what}") from error
        return done.stdout

    @contextmanager
    def entered(self) -> Generator[None]:
        """Have the calling thread stand inside during the block, which must not await: to open sockets there."""
        outside = os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self.fd, _CLONE_NEWNET)
            try:
                yield
            finally:
                _call("setns", outside, _CLONE_NEWNET)
        finally:
            with suppress(OSError):
                os.close(outside)


def _call(name: str, *arguments: int) -> None:
    """Call a function of the C library; raises OSError. Python has `os.unshare` and `os.setns` from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
