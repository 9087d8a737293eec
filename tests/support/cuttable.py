"""A way to a store that can be cut: what was sent goes nowhere, and nothing says so."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from rtcmesh.signaling.store_url import StoreUrl


class CuttableWay:
    """Forwards connections to a store on loopback."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._is_whole = asyncio.Event()
        self._is_whole.set()
        self._nudges_pass = asyncio.Event()
        self._nudges_pass.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> StoreUrl:
        return StoreUrl.parse(f"redis://127.0.0.1:{self.port}")

    def cut(self) -> None:
        self._is_whole.clear()

    def mend(self) -> None:
        self._is_whole.set()

    def deafen(self) -> None:
        """Let nudges go nowhere, on the subscriptions of now."""
        self._nudges_pass.clear()
        self._nudges_pass = asyncio.Event()
        self._nudges_pass.set()

    async def forward(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._is_whole.wait()
            store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self._target)
            subscribed = asyncio.Event()
            try:
                await asyncio.gather(
                    self._pass_on(reader, store_writer, subscribed),
                    self._pass_back(store_reader, writer, subscribed),
                )
            finally:
                store_writer.close()
        except OSError:
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter, subscribed: asyncio.Event) -> None:
        while data := await reader.read(65_536):
            if b"SSUBSCRIBE" in data:
                subscribed.set()
            await self._is_whole.wait()
            writer.write(data)
        writer.close()

    async def _pass_back(self, reader: StreamReader, writer: StreamWriter, subscribed: asyncio.Event) -> None:
        nudges_pass = self._nudges_pass
        while data := await reader.read(65_536):
            await self._is_whole.wait()
            if subscribed.is_set():
                await nudges_pass.wait()
            writer.write(data)
        writer.close()

    async def aclose(self) -> None:
        for task in list(self._tasks):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def cuttable_way(target: int) -> AsyncGenerator[CuttableWay]:
    """Give a way to the store on that port."""
    way = CuttableWay(target)
    server = await asyncio.start_server(way.forward, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()
        await way.aclose()
