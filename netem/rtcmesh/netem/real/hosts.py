"""A host of a real laboratory: a namespace in which programs run."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress

from .namespace import Namespace
from .spawned import Spawned

LINE_BYTES = 64 * 1024
"""How long a line may be that a stream of a program gives."""

SIGNALS = {"pause": signal.SIGSTOP, "resume": signal.SIGCONT, "kill": signal.SIGKILL}


class RealHost:
    """A namespace with an interface, in which programs run."""

    def __init__(
        self,
        name: str,
        namespace: Namespace,
        programs: list[Spawned],
        *,
        address: str,
        address6: str = "",
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.address = address
        """Its IPv4 address now."""
        self.address6 = address6
        """Its IPv6 address; empty where it has none, as behind a gateway."""
        self._programs = programs
        self._named: dict[str, Spawned] = {}

    def command(self, *argv: str | os.PathLike[str]) -> list[str]:
        """Return the command that runs this one here, for what starts programs in a way of its own.

        Only this process can run it, and it is killed with the thread that does.
        """
        return self.namespace.command([os.fspath(word) for word in argv])

    async def spawn(
        self,
        *argv: str | os.PathLike[str],
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        limit: int = LINE_BYTES,
    ) -> Spawned:
        """Start a program here, as asyncio does; it is killed with the laboratory, or with us.

        `name` is what a `Signal` calls it. Raises ValueError when a program of that name is still running here.
        """
        if name is not None and self.runs(name):
            raise ValueError(f"a program called {name!r} is running on {self.name!r} already")
        process = await Spawned.start(
            *self.command(*argv), env=env, stdin=stdin, stdout=stdout, stderr=stderr, limit=limit
        )
        self._programs.append(process)
        if name is not None:
            self._named[name] = process
        return process

    def runs(self, name: str) -> bool:
        """Whether a program that was started under this name has not ended."""
        process = self._named.get(name)
        return process is not None and process.returncode is None

    def signal(self, name: str, word: str) -> None:
        """Pause, resume or kill the program of this name. Raises KeyError when there is none."""
        with suppress(ProcessLookupError):  # it ended just now
            self._named[name].send_signal(SIGNALS[word])
