"""The same work on python-socketio with its Redis manager: a server that passes signals on, and a peer for it."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection as Pipe
from typing import Any

from aiohttp import web

from rtcmesh.signaling.errors import MissingExtra

from .load import TalkingPeer, Tally, age_of
from .load_socket import load_socket
from .usage import report_usage

_PING, _PONG = b"2", b"3"
_CONNECT = b"40"
_EVENT = b"42"
_ACK = b"43"
_SIGNAL = b'42["signal"'


def serve_socketio(pipe: Pipe, store: str) -> None:
    """Run the server until the pipe is closed."""
    try:
        import socketio  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise MissingExtra("dev") from error

    # With redis-py's own 100 connections it loses messages as soon as more are published at once.
    manager = socketio.AsyncRedisManager(store, redis_options={"max_connections": 8192})
    server: Any = socketio.AsyncServer(async_mode="aiohttp", client_manager=manager)

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


class SocketIoPeer(TalkingPeer):
    """What `LoadPeer` is for ours, with Engine.IO 4 and Socket.IO 5 spoken by hand."""

    def __init__(self, url: str, room: str, tally: Tally) -> None:
        super().__init__(tally)
        self.peer_id = ""
        self._url = url
        self._room = room

    def companion(self) -> "SocketIoPeer":
        """See `LoadPeer.companion`."""
        return SocketIoPeer(self._url, self._room, self._tally)

    @asynccontextmanager
    async def joined(self, *, reads: bool = True) -> AsyncGenerator[None, None]:
        """See `LoadPeer.joined`."""
        started_at = time.perf_counter()
        async with load_socket(self._url, "/socket.io/?EIO=4&transport=websocket") as socket:
            await socket.receive()
            socket.send(_CONNECT)
            await socket.receive()
            socket.send(_event("join", self._room, 0))
            while not (text := await socket.receive()).startswith(_ACK):
                pass
            self.peer_id = str(json.loads(text.removeprefix(_ACK + b"0"))[0])
            with self._member_on(socket, started_at, _encode_signal, reads=reads):
                yield
                self._tally.lost += socket.ended.is_set()

    def set_presence(self, number: int) -> None:
        """See `LoadPeer.set_presence`."""
        if self._socket is not None:
            self._socket.send(_event("presence", {"room": self._room, "presence": {"n": number}}))

    def _is_answer(self, message: bytes) -> bool:
        if message.startswith(_ACK):
            return True
        if message.startswith(_SIGNAL):
            self._tally.deliveries.append(age_of(message))
        elif message.startswith(_EVENT):
            self._tally.events += 1
        elif message == _PING and self._socket is not None:
            self._socket.send(_PONG)
        return False


def _event(name: str, message: object, id_: int | None = None) -> bytes:
    number = b"" if id_ is None else str(id_).encode()
    return _EVENT + number + json.dumps([name, message], separators=(",", ":")).encode()


def _encode_signal(to: str, id_: int, sealed: bytes) -> bytes:
    return b'42%d["signal",{"to":"%s","id":%d,"sealed":"%s"}]' % (id_, to.encode(), id_, sealed)
