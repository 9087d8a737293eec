"""The same work on python-socketio with its Redis manager: a server that passes signals on, and a peer for it."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing.connection import Connection as Pipe
from typing import Any

import aiohttp
from aiohttp import web

from .errors import MissingExtra
from .load import SEALED_BYTES, SIGNAL_WINDOW, STAMP, Tally, running
from .usage import report_usage

_CONNECT = "40"
_EVENT = "42"
_ACK = "43"


def serve_socketio(pipe: Pipe, store: str) -> None:
    """Run the server until the pipe is closed."""
    try:
        import socketio  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise MissingExtra("dev") from error

    server: Any = socketio.AsyncServer(async_mode="aiohttp", client_manager=socketio.AsyncRedisManager(store))

    async def join(sid: str, room: str) -> str:
        await server.enter_room(sid, room)
        await server.emit("peer_joined", sid, room=room, skip_sid=sid)
        return sid

    async def signal(sid: str, message: dict[str, Any]) -> int:
        await server.emit("signal", {"from": sid, "sealed": message["sealed"]}, to=message["to"])
        return int(message["id"])

    async def presence(sid: str, message: dict[str, Any]) -> None:
        await server.emit("presence_changed", message["presence"], room=message["room"], skip_sid=sid)

    for handler in (join, signal, presence):
        server.on(handler.__name__, handler)

    async def main() -> None:
        application = web.Application()
        server.attach(application)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await report_usage(pipe)
        await runner.cleanup()

    asyncio.run(main())


class SocketIoPeer:
    """What `LoadPeer` is for ours, with Engine.IO 4 and Socket.IO 5 spoken by hand."""

    def __init__(self, url: str, room: str, tally: Tally) -> None:
        self.peer_id = ""
        self._url = url
        self._room = room
        self._tally = tally
        self._next_id = 1
        self._under_way = 0
        self._acknowledged = asyncio.Event()
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    def companion(self) -> "SocketIoPeer":
        """See `LoadPeer.companion`."""
        return SocketIoPeer(self._url, self._room, self._tally)

    @asynccontextmanager
    async def joined(self, *, reads: bool = True) -> AsyncGenerator[None, None]:
        """See `LoadPeer.joined`."""
        started_at = time.perf_counter()
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            url = f"{self._url}/socket.io/?EIO=4&transport=websocket"
            socket = await stack.enter_async_context(session.ws_connect(url, compress=0))
            await socket.receive_str()
            await socket.send_str(_CONNECT)
            await socket.receive_str()
            await self._emit(socket, "join", self._room, 0)
            while not (text := await socket.receive_str()).startswith(_ACK):
                pass
            self.peer_id = json.loads(text.removeprefix(_ACK + "0"))[0]
            self._tally.joins.append(time.perf_counter() - started_at)
            self._socket = socket
            if reads:
                await stack.enter_async_context(running(self._read(socket)))
            try:
                yield
            finally:
                self._socket = None

    async def signal(self, to: str) -> None:
        """See `LoadPeer.signal`."""
        while self._under_way >= SIGNAL_WINDOW:
            self._acknowledged.clear()
            await self._acknowledged.wait()
        sealed = base64.b64encode(STAMP.pack(time.perf_counter()).ljust(SEALED_BYTES, b"\0")).decode()
        id_ = self._next_id
        self._next_id += 1
        self._under_way += 1
        if self._socket is not None:
            await self._emit(self._socket, "signal", {"to": to, "id": id_, "sealed": sealed}, id_)

    async def set_presence(self, number: int) -> None:
        """See `LoadPeer.set_presence`."""
        if self._socket is not None:
            await self._emit(self._socket, "presence", {"room": self._room, "presence": {"n": number}})

    @staticmethod
    async def _emit(
        socket: aiohttp.ClientWebSocketResponse, event: str, message: object, id_: int | None = None
    ) -> None:
        await socket.send_str(f"{_EVENT}{'' if id_ is None else id_}{json.dumps([event, message])}")

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            text = str(message.data)
            if text == "2":
                await socket.send_str("3")
            elif text.startswith(_ACK):
                self._under_way -= 1
                self._acknowledged.set()
            elif text.startswith(f'{_EVENT}["signal"'):
                sealed = base64.b64decode(json.loads(text.removeprefix(_EVENT))[1]["sealed"])
                self._tally.deliveries.append(time.perf_counter() - STAMP.unpack_from(sealed)[0])
            elif text.startswith(_EVENT):
                self._tally.events += 1
