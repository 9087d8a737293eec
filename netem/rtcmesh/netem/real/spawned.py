"""A process as asyncio has it, of which one can let go."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import SubprocessStreamProtocol
from typing import Any, Self

from rtcmesh.netem.starting import start_process


class Spawned(asyncio.subprocess.Process):
    """What `asyncio.create_subprocess_exec` returns, with a way not to wait for who else holds its pipes."""

    def __init__(
        self,
        transport: asyncio.SubprocessTransport,
        protocol: SubprocessStreamProtocol,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(transport, protocol, loop)
        self.__transport = transport

    @classmethod
    async def start(cls, *argv: str, limit: int, **options: Any) -> Self:  # noqa: ANN401  (those of asyncio)
        """Start a program."""
        loop = asyncio.get_running_loop()

        async def undo(transport: asyncio.SubprocessTransport, protocol: SubprocessStreamProtocol) -> None:
            process = cls(transport, protocol, loop)
            process.abandon()
            await process.wait()

        transport, protocol = await start_process(
            lambda: SubprocessStreamProtocol(limit, loop), *argv, undo=undo, **options
        )
        return cls(transport, protocol, loop)

    def abandon(self) -> None:
        """Kill it if it has not ended, and close our ends of its pipes. Idempotent.

        `wait` returns only when they are closed at one end, and the other one may be held by what it has started.
        """
        self.__transport.close()
