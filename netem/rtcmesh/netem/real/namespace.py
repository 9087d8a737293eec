"""Linux network namespaces without names: held by a descriptor, they end with the process that holds them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from .errors import LaboratoryUnavailable
from .syscalls import CLONE_NEWNET, CLONE_NEWUSER, TOOL_PATH, unshare

_THREAD_NAMESPACE = "/proc/thread-self/ns/net"
_PR_SET_PDEATHSIG = 1

# Runs in the namespace at a path, and dies with whoever started it. Not a module of ours: it is there in a few
# milliseconds, since it imports nothing but what the interpreter has loaded anyway.
_ENTER = f"""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
parent, user, namespace = sys.argv[1:4]
# Both are opened first: whoever is in the user namespace may not look at our process any more.
kinds = (user, {CLONE_NEWUSER}), (namespace, {CLONE_NEWNET})
for fd, kind in [(os.open(path, os.O_RDONLY), kind) for path, kind in kinds if path]:
    if libc.setns(fd, kind):
        sys.exit(os.strerror(ctypes.get_errno()))
libc.prctl({_PR_SET_PDEATHSIG}, 9)
if os.getppid() != int(parent):
    sys.exit("the parent is gone already")
os.execvp(sys.argv[4], sys.argv[4:])
"""


class Namespace:
    """A network namespace. It is there until `close`, and then as long as a process or a descriptor is in it."""

    def __init__(self, fd: int, user: str = "") -> None:
        self.fd = fd
        """A descriptor of it."""
        self._user = user
        """The path of the user namespace it belongs to, where that is not ours."""

    @classmethod
    def create(cls) -> Namespace:
        """Make one, with nothing in it but a loopback interface that is up. Needs root.

        Raises `LaboratoryUnavailable` where the system or the user's rights do not allow it.
        """
        if not sys.platform.startswith("linux"):
            raise LaboratoryUnavailable("network namespaces exist on Linux only")
        outcome: list[int | OSError] = []

        def leave() -> None:
            try:
                unshare(CLONE_NEWNET)
                outcome.append(os.open(_THREAD_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                outcome.append(error)

        # In a thread, which leaves the namespace by ending; ours is not touched.
        thread = threading.Thread(target=leave)
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
        """Return what runs a program inside, killed with the thread that starts it; only this process can start it."""
        inside = f"/proc/{os.getpid()}/fd/{self.fd}"
        return [sys.executable, "-I", "-S", "-c", _ENTER, str(os.getpid()), self._user, inside, *argv]

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
                check=True,
                env={**os.environ, "PATH": TOOL_PATH},
            )
        except subprocess.CalledProcessError as error:
            what = " / ".join(str(error.stderr).split("\n")).strip(" /") or f"exit status {error.returncode}"
            raise LaboratoryUnavailable(f"{' '.join(argv)}: {what}") from error
        return done.stdout
